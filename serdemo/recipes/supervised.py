"""Recipe `supervised`: cross-entropy with a supervised contrastive term, all corpora at once.

| paper says | here | why |
|---|---|---|
| SupCon (arXiv 2004.11362): contrast first, classify afterwards | both losses at once, weighted | one stage; the two agree on what an embedding should be |
| positives share the label | the same, whatever the corpus and the language | so that an emotion is one place, not one per corpus |
| batches drawn at random | balanced over emotion and, in part, over corpus | the corpora differ six-fold in size and hold other emotions |
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from serdemo import encoders, losses
from serdemo.augment import AugmentOptions
from serdemo.batches import (
    Batch,
    BatchOptions,
    Clips,
    balanced_weights,
    draws,
    training_batches,
)
from serdemo.checkpoint import Description
from serdemo.encoders.options import EncoderOptions
from serdemo.model import HeadOptions, Model, Output
from serdemo.options import Options, option
from serdemo.processes import gathered
from serdemo.recipes import Recipe, Stage, Validation, general
from serdemo.recipes.general import GeneralOptions
from serdemo.recipes.scoring import ClassOptions, validate
from serdemo.splits import Split


@dataclass(frozen=True)
class SupervisedOptions(Options):
    """What the recipe itself weighs."""

    epochs: int = option(45, "passes over the training clips", low=1, high=10_000, advanced=False)
    learning_rate: float = option(5e-4, "peak learning rate", low=1e-7, high=1.0, advanced=False)
    contrastive: float = option(0.5, "weight of the contrastive term", low=0.0, high=10.0)
    contrastive_temperature: float = option(0.1, "its temperature", low=0.01, high=1.0)
    smoothing: float = option(0.1, "label smoothing", low=0.0, high=0.5)


class SupervisedStage(Stage):
    """The one stage: every parameter, both losses."""

    name = "supervised"

    def __init__(self, recipe: Supervised, model: Model, split: Split, seed: int) -> None:
        self.model, self.seed = model, seed
        self.options: SupervisedOptions = recipe.of(SupervisedOptions)
        self.batching: BatchOptions = recipe.of(BatchOptions)
        self.augmentation: AugmentOptions = recipe.of(AugmentOptions)
        self.rates: EncoderOptions = recipe.of(EncoderOptions)
        self.epochs = self.options.epochs
        memory = self.batching.memory_gb
        self.train = Clips(recipe.of(ClassOptions).classes(split.train), model.labels, memory * 0.8)
        known = recipe.of(ClassOptions).known(split.valid, model.labels)
        self.valid = Clips(known, model.labels, memory * 0.2)
        self.weights = balanced_weights(self.train.utterances, self.batching.balance)
        self.steps_per_epoch = len(draws(self.weights, self.batching, seed, 0))
        self.general: GeneralOptions = recipe.of(GeneralOptions)
        self.prior = general.priors(self.train, self.weights, len(model.labels))
        self.extra = nn.ModuleDict()
        head = general.adversary(self.general, self.train, model.options.embedding)
        if head is not None:
            self.extra["adversary"] = head.to(next(model.parameters()).device)

    def parameter_groups(self) -> list[dict[str, Any]]:
        encoder = self.model.encoder.trainable()  # type: ignore[operator]
        taken = {id(parameter) for parameter in self.model.encoder.parameters()}
        heads = [p for p in self.model.parameters() if id(p) not in taken]
        rate = self.options.learning_rate
        return [
            {"params": encoder, "lr": self.rates.rate(rate)},
            {"params": [*heads, *self.extra.parameters()], "lr": rate},
        ]

    def batches(self, epoch: int, start: int) -> Iterable[Batch]:
        plan = draws(self.weights, self.batching, self.seed, epoch)[start:]
        return training_batches(self.train, plan, self.batching.workers, self.augmentation)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        if not self.general.mixup:
            return self.by_labels(self.model(batch.wave, batch.lengths), batch)
        batch, shares = general.mixed(batch, self.general.mixup, len(self.model.labels))
        return self.by_labels(self.model(batch.wave, batch.lengths), batch, shares)

    def by_labels(
        self, output: Output, batch: Batch, shares: Tensor | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """The losses on what the model said of a batch, whose labels may be (B, C) `shares`."""
        projection, whole = gathered(output.projection, batch)
        logits, _ = gathered(output.logits, batch)
        if self.general.priors:
            logits = losses.without_prior(logits, whole.corpus, self.prior.to(logits.device))
        labels = whole.emotion if shares is None else gathered(shares, batch)[0]
        classify = losses.cross_entropy(logits, labels, self.options.smoothing)
        across = self.general.positives == "across" and len(self.prior) > 1
        contrast = losses.supervised_contrastive(
            projection,
            whole.emotion,
            self.options.contrastive_temperature,
            whole.corpus if across else None,
        )
        parts = {"cross_entropy": classify.item(), "contrastive": contrast.item()}
        total = classify + self.options.contrastive * contrast
        if "adversary" in self.extra:
            embedding, _ = gathered(output.embedding, batch)
            hidden = general.hidden_from(self.extra["adversary"], self.general, embedding, whole)
            parts["adversary"] = hidden.item()
            total = total + hidden
        return total, parts

    def validate(self, model: Model) -> Validation | None:
        return validate(model, self.valid, self.batching.batch_size)


class Supervised(Recipe):
    """The recipe of the table."""

    name: ClassVar[str] = "supervised"
    summary: ClassVar[str] = (
        "Cross-entropy with supervised contrastive loss over all corpora at once."
    )
    groups: ClassVar[tuple[type[Options], ...]] = (
        SupervisedOptions,
        GeneralOptions,
        ClassOptions,
        BatchOptions,
        AugmentOptions,
        *encoders.GROUPS,
        HeadOptions,
    )

    def describe(self, split: Split) -> Description:
        encoder, encoder_options, config = encoders.describe(self.of)
        return Description(
            labels=self.of(ClassOptions).labels(split.train),
            encoder=encoder,
            encoder_options=encoder_options,
            encoder_config=config,
            head_options=self.of(HeadOptions).to_json(),
        )

    def stages(self, model: Model, split: Split, seed: int) -> list[Stage]:
        return [SupervisedStage(self, model, split, seed)]
