"""Recipe `supervised`: cross-entropy with a supervised contrastive term, all corpora at once.

| paper says | here | why |
|---|---|---|
| SupCon (arXiv 2004.11362): contrast first, classify afterwards | both losses at once, weighted | one stage; the two agree on what an embedding should be |
| positives share the label | the same, whatever the corpus and the language; with `--cross-corpus-positives` only across corpora | so that an emotion is one place, not one per corpus |
| batches drawn at random | balanced over emotion and, in part, over corpus | the corpora differ six-fold in size and hold other emotions |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from serdemo.data.array_cache import CacheOptions
from serdemo.data.dataset import Batch
from serdemo.data.splits import Split
from serdemo.nn import losses
from serdemo.nn.model import Model, Output
from serdemo.schema.options import Options, option
from serdemo.training.distributed import all_gather_with_grad
from serdemo.training.recipes.base import Recipe, Stage, Validation
from serdemo.training.recipes.frozen_features import FrozenOptions
from serdemo.training.recipes.stages import ENCODER_GROUPS, ClipsStage, labelled_clips
from serdemo.training.recipes.validation import ClassOptions, validate


@dataclass(frozen=True)
class SupervisedOptions(Options):
    """Options of the recipe itself."""

    epochs: int = option(45, "passes over the training clips", low=1, high=10_000, advanced=False)
    learning_rate: float = option(5e-4, "peak learning rate", low=1e-7, high=1.0, advanced=False)
    contrastive: float = option(0.5, "weight of the contrastive term", low=0.0, high=10.0)
    contrastive_temperature: float = option(0.1, "its temperature", low=0.01, high=1.0)
    cross_corpus_positives: bool = option(
        False, "only pairs of different corpora are positives of the contrastive term"
    )
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
        self.is_cross_corpus = len(set(self.train.corpus.tolist())) > 1

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The encoder, and all that stands on it."""
        encoder = {id(parameter) for parameter in self.model.encoder.parameters()}
        heads = [p for p in self.model.parameters() if id(p) not in encoder]
        own = {"params": [*heads, *self.extra.parameters()], "lr": self.learning_rate}
        return [self.encoder_group(), own]

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The weighted sum of both losses."""
        return self.label_losses(self.forward(batch), batch)

    def forward(self, batch: Batch) -> Output:
        """The model's output for this process's clips of a batch."""
        return self.model.forward_frames(*self.model.encode_batch(batch))

    def label_losses(self, output: Output, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy and contrast by the labels of a batch, weighted, and both terms."""
        options = self.options
        projection, whole = all_gather_with_grad(output.projection, batch)
        logits, _ = all_gather_with_grad(output.logits, batch)
        classify = losses.cross_entropy(logits, whole.emotion, options.smoothing)
        across = options.cross_corpus_positives and self.is_cross_corpus
        contrast = losses.supervised_contrastive(
            projection,
            whole.emotion,
            options.contrastive_temperature,
            whole.corpus if across else None,
        )
        parts = {"cross_entropy": classify.item(), "contrastive": contrast.item()}
        return classify + options.contrastive * contrast, parts

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
        *ENCODER_GROUPS,
        FrozenOptions,
        CacheOptions,
    )

    def labels(self, split: Split) -> tuple[str, ...]:
        """The classes of the training clips."""
        return self.options(ClassOptions).labels(split.train)

    def stages(self, model: Model, split: Split, seed: int) -> list[Stage]:
        """The one stage."""
        return [SupervisedStage(self, model, split, seed)]
