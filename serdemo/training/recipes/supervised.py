"""Recipe `supervised`: cross-entropy with a supervised contrastive term, all corpora at once.

| paper says | here | why |
|---|---|---|
| SupCon (arXiv 2004.11362): contrast first, classify afterwards | both losses at once, weighted | one stage; the two agree on what an embedding should be |
| positives share the label | the same, whatever the corpus and the language | so that an emotion is one place, not one per corpus |
| batches drawn at random | balanced over emotion and, in part, over corpus | the corpora differ six-fold in size and hold other emotions |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from serdemo.data.array_cache import CacheOptions
from serdemo.data.dataset import Batch
from serdemo.data.splits import Split
from serdemo.nn import losses
from serdemo.nn.model import Model, Output
from serdemo.schema.errors import UsageError
from serdemo.schema.options import Options, option
from serdemo.training.distributed import all_gather_with_grad
from serdemo.training.recipes import domain_generalization
from serdemo.training.recipes.base import Recipe, Stage, Validation
from serdemo.training.recipes.domain_generalization import GeneralOptions
from serdemo.training.recipes.frozen_features import FrozenOptions
from serdemo.training.recipes.stages import ENCODER_GROUPS, ClipsStage, labelled_clips
from serdemo.training.recipes.validation import ClassOptions, validate


@dataclass(frozen=True)
class SupervisedOptions(Options):
    """What the recipe itself weighs."""

    epochs: int = option(45, "passes over the training clips", low=1, high=10_000, advanced=False)
    learning_rate: float = option(5e-4, "peak learning rate", low=1e-7, high=1.0, advanced=False)
    contrastive: float = option(0.5, "weight of the contrastive term", low=0.0, high=10.0)
    contrastive_temperature: float = option(0.1, "its temperature", low=0.01, high=1.0)
    smoothing: float = option(0.1, "label smoothing", low=0.0, high=0.5)


class SupervisedStage(ClipsStage):
    """The one stage: every parameter, both losses."""

    name = "supervised"

    def __init__(self, recipe: Recipe, model: Model, split: Split, seed: int) -> None:
        self.options = recipe.options(SupervisedOptions)
        self.epochs = self.options.epochs
        train, valid = labelled_clips(recipe, split, model.labels)
        rate = self.options.learning_rate
        super().__init__(recipe, model, train, valid, seed, learning_rate=rate)
        self.general: GeneralOptions = recipe.options(GeneralOptions)
        self.prior = domain_generalization.priors(self.train, self.weights, len(model.labels))
        self.extra: nn.ModuleDict = nn.ModuleDict()
        head = domain_generalization.adversary(self.general, self.train, model.options.embedding)
        if head is not None:
            self.extra["adversary"] = head.to(next(model.parameters()).device)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The encoder, and all that stands on it."""
        encoder = {id(parameter) for parameter in self.model.encoder.parameters()}
        heads = [p for p in self.model.parameters() if id(p) not in encoder]
        own = {"params": [*heads, *self.extra.parameters()], "lr": self.learning_rate}
        return [self.encoder_group(), own]

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The weighted sum of both losses."""
        shares = None
        if self.general.mixup:
            batch, shares = domain_generalization.mixed(
                batch, self.general.mixup, len(self.model.labels)
            )
        return self.label_losses(self.forward(batch), batch, shares)

    def forward(self, batch: Batch) -> Output:
        """The model's output for this process's clips of a batch."""
        return self.model.forward_frames(*self.model.encode_batch(batch))

    def label_losses(
        self, output: Output, batch: Batch, shares: Tensor | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy and contrast by the labels of a batch, which may be (B, C) `shares`."""
        projection, whole = all_gather_with_grad(output.projection, batch)
        logits, _ = all_gather_with_grad(output.logits, batch)
        if self.general.priors:
            logits = losses.adjust_logits(logits, whole.corpus, self.prior.to(logits.device))
        labels = whole.emotion if shares is None else all_gather_with_grad(shares, batch)[0]
        classify = losses.cross_entropy(logits, labels, self.options.smoothing)
        across = self.general.cross_corpus_positives and len(self.prior) > 1
        contrast = losses.supervised_contrastive(
            projection,
            whole.emotion,
            self.options.contrastive_temperature,
            whole.corpus if across else None,
        )
        parts = {"cross_entropy": classify.item(), "contrastive": contrast.item()}
        total = classify + self.options.contrastive * contrast
        if "adversary" in self.extra:
            embedding, _ = all_gather_with_grad(output.embedding, batch)
            hidden = domain_generalization.hidden_from(
                self.extra["adversary"], self.general, embedding, whole
            )
            parts["adversary"] = hidden.item()
            total = total + hidden
        return total, parts

    def validate(self, model: Model) -> Validation | None:
        """Recall of the emotions on the validation speakers."""
        return validate(model, self.valid, self.batching.batch_size)


class Supervised(Recipe):
    """The recipe `supervised`."""

    name: ClassVar[str] = "supervised"
    summary: ClassVar[str] = (
        "Cross-entropy with supervised contrastive loss over all corpora at once."
    )
    groups: ClassVar[tuple[type[Options], ...]] = (
        SupervisedOptions,
        GeneralOptions,
        *ENCODER_GROUPS,
        FrozenOptions,
        CacheOptions,
    )

    def check(self, split: Split) -> None:
        """Raise UsageError for options that contradict each other."""
        super().check(split)
        if self.options(FrozenOptions).cache_features and self.options(GeneralOptions).mixup:
            raise UsageError(
                "--mixup mixes sounds, of which --cache-features keeps none: choose one."
            )

    def labels(self, split: Split) -> tuple[str, ...]:
        """The classes of the training clips."""
        return self.options(ClassOptions).labels(split.train)

    def stages(self, model: Model, split: Split, seed: int) -> list[Stage]:
        """The one stage."""
        return [SupervisedStage(self, model, split, seed)]
