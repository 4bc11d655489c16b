"""Recipe `supervised`: cross-entropy with a supervised contrastive term, all corpora at once.

| paper says | here | why |
|---|---|---|
| SupCon (arXiv 2004.11362): contrast first, classify afterwards | both losses at once, weighted | one stage; the two agree on what an embedding should be |
| positives share the label | the same, whatever the corpus and the language | so that an emotion is one place, not one per corpus |
| batches drawn at random | balanced over emotion and, in part, over corpus | the corpora differ six-fold in size and hold other emotions |
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from serdemo import calibration, losses, metrics
from serdemo.augment import AugmentOptions
from serdemo.batches import (
    Batch,
    BatchOptions,
    Clips,
    balanced_weights,
    draws,
    scoring_batches,
    training_batches,
)
from serdemo.checkpoint import Description
from serdemo.encoders.compact import CompactOptions
from serdemo.model import HeadOptions, Model
from serdemo.options import Options, option
from serdemo.recipes import Recipe, Stage, Validation
from serdemo.schema import EMOTIONS, UsageError, Utterance
from serdemo.splits import Split

SCORED_SECONDS = 6.0


@dataclass(frozen=True)
class SupervisedOptions(Options):
    """What the recipe itself weighs."""

    epochs: int = option(45, "passes over the training clips", low=1, high=10_000, advanced=False)
    learning_rate: float = option(5e-4, "peak learning rate", low=1e-7, high=1.0, advanced=False)
    contrastive: float = option(0.5, "weight of the contrastive term", low=0.0, high=10.0)
    contrastive_temperature: float = option(0.1, "its temperature", low=0.01, high=1.0)
    smoothing: float = option(0.1, "label smoothing", low=0.0, high=0.5)
    seven: bool = option(True, "seven classes: calm counts as neutral, boredom is left out")


class SupervisedStage(Stage):
    """The one stage: every parameter, both losses."""

    name = "supervised"

    def __init__(self, recipe: Supervised, model: Model, split: Split, seed: int) -> None:
        self.model, self.seed = model, seed
        self.options: SupervisedOptions = recipe.of(SupervisedOptions)
        self.batching: BatchOptions = recipe.of(BatchOptions)
        self.augmentation: AugmentOptions = recipe.of(AugmentOptions)
        self.epochs = self.options.epochs
        memory = self.batching.memory_gb
        self.train = Clips(recipe.classes(split.train), model.labels, memory * 0.8)
        known = [u for u in recipe.classes(split.valid) if u.emotion in model.labels]
        self.valid = Clips(known, model.labels, memory * 0.2)
        self.weights = balanced_weights(self.train.utterances, self.batching.balance)
        self.steps_per_epoch = len(draws(self.weights, self.batching, seed, 0))

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.model.parameters()), "lr": self.options.learning_rate}]

    def batches(self, epoch: int, start: int) -> Iterable[Batch]:
        plan = draws(self.weights, self.batching, self.seed, epoch)[start:]
        return training_batches(self.train, plan, self.batching.workers, self.augmentation)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        output = self.model(batch.wave, batch.lengths)
        classify = losses.cross_entropy(output.logits, batch.emotion, self.options.smoothing)
        contrast = losses.supervised_contrastive(
            output.projection, batch.emotion, self.options.contrastive_temperature
        )
        parts = {"cross_entropy": classify.item(), "contrastive": contrast.item()}
        return classify + self.options.contrastive * contrast, parts

    def validate(self, model: Model) -> Validation | None:
        return validate(model, self.valid, self.batching.batch_size)


@torch.inference_mode()
def validate(model: Model, clips: Clips, batch_size: int) -> Validation | None:
    """Score whole clips (their first 6 s). The score is the mean of the corpora's UAR."""
    if not len(clips):
        return None
    device = next(model.parameters()).device
    logits = torch.zeros(len(clips), len(model.labels))
    for batch in scoring_batches(clips, batch_size, SCORED_SECONDS):
        batch = batch.to(device)
        logits[batch.index.cpu()] = model.logits(batch.wave, batch.lengths).cpu()
    truth = clips.emotion.numpy()
    named = np.array(model.labels)
    guess = named[logits.argmax(1).numpy()]
    matrix = metrics.confusion(named[truth], guess, model.labels)
    corpus = np.array([u.corpus for u in clips.utterances])
    by_corpus = {
        f"uar_{name}": metrics.uar(
            metrics.confusion(named[truth][corpus == name], guess[corpus == name], model.labels)
        )
        for name in sorted(set(corpus))
    }
    figures = {"uar": float(np.mean(list(by_corpus.values()))), **by_corpus}
    temperature = calibration.fit_temperature(logits.numpy(), truth)
    confidence = (logits / temperature).softmax(1).amax(1).numpy()
    return Validation(
        score=figures["uar"],
        metrics=figures,
        confusion=tuple(tuple(int(n) for n in row) for row in matrix),
        temperature=temperature,
        unsure_below=calibration.threshold_for_coverage(confidence, calibration.COVERAGE),
    )


class Supervised(Recipe):
    """The recipe of the table."""

    name: ClassVar[str] = "supervised"
    summary: ClassVar[str] = (
        "Cross-entropy with supervised contrastive loss over all corpora at once."
    )
    groups: ClassVar[tuple[type[Options], ...]] = (
        SupervisedOptions,
        BatchOptions,
        AugmentOptions,
        CompactOptions,
        HeadOptions,
    )

    def classes(self, utterances: tuple[Utterance, ...]) -> tuple[Utterance, ...]:
        """The utterances with their class as the emotion; those without one are left out."""
        if not self.of(SupervisedOptions).seven:
            return utterances
        classes = [metrics.class_of(u.emotion, EMOTIONS) for u in utterances]
        return tuple(replace(u, emotion=c) for u, c in zip(utterances, classes, strict=True) if c)

    def describe(self, split: Split) -> Description:
        train = self.classes(split.train)
        found = {u.emotion for u in train}
        if len(found) < 2:
            raise UsageError(
                f"Training needs clips of at least two emotions; found {', '.join(found) or 'none'}."
            )
        seven = self.of(SupervisedOptions).seven
        return Description(
            labels=EMOTIONS if seven else tuple(sorted(found)),
            encoder="compact",
            encoder_options=asdict(self.of(CompactOptions)),
            head_options=asdict(self.of(HeadOptions)),
        )

    def stages(self, model: Model, split: Split, seed: int) -> list[Stage]:
        return [SupervisedStage(self, model, split, seed)]
