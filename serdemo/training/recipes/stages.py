"""Stages that several recipes share: clips drawn in batches, and a classifier fine-tuned on them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from serdemo.audio.augmentation import AugmentOptions
from serdemo.data.array_cache import CacheOptions
from serdemo.data.dataset import Batch, ClipDataset
from serdemo.data.loader import training_batches
from serdemo.data.sampling import (
    BatchOptions,
    SampledCrop,
    make_batches,
    sample_epoch,
    sampling_weights,
)
from serdemo.nn import losses
from serdemo.nn.encoders.options import EncoderOptions
from serdemo.nn.model import Model
from serdemo.schema.options import Options, option
from serdemo.schema.types import Utterance
from serdemo.training.distributed import all_gather_with_grad, shard
from serdemo.training.recipes.base import Recipe, Stage, Validation
from serdemo.training.recipes.frozen_features import CachedClips, FrameCache, FrozenOptions
from serdemo.training.recipes.validation import ClassOptions, validate


@dataclass(frozen=True)
class TuneOptions(Options):
    """How the stage of the classifier is trained, after one without it."""

    epochs: int = option(
        20, "passes of stage 2; 0 for stage 1 alone", low=0, high=10_000, advanced=False
    )
    learning_rate: float = option(5e-4, "peak learning rate", low=1e-7, high=1.0, advanced=False)
    tune: str = option("all", "what stage 2 trains", choices=("head", "all"))
    smoothing: float = option(0.1, "label smoothing of stage 2", low=0.0, high=0.5)


class ClipsStage(Stage):
    """What stages share: their clips and the batches drawn from them, and who learns how fast.

    `share` is the part of the memory for clips that this stage may take, `labels` the emotions that
    it learns from where they are not those that the model answers. `keeps` is the recipe's.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: Model,
        train: Sequence[Utterance],
        valid: Sequence[Utterance],
        seed: int,
        *,
        learning_rate: float,
        share: float = 1.0,
        labels: Sequence[str] | None = None,
    ) -> None:
        self.recipe, self.model, self.seed = recipe, model, seed
        self.keeps = recipe.keeps
        self.labels = model.labels if labels is None else tuple(labels)
        self.learning_rate = learning_rate
        self.batching: BatchOptions = recipe.of(BatchOptions)
        memory = self.batching.memory_gb * share
        self.train: ClipDataset = ClipDataset(train, self.labels, memory * 0.8)
        self.valid: ClipDataset = ClipDataset(valid, self.labels, memory * 0.2)
        if recipe.of(FrozenOptions).cache_features:
            frames = FrameCache(model, recipe.of(CacheOptions))
            self.train, self.valid = (
                CachedClips(self.train, frames),
                CachedClips(self.valid, frames),
            )
        self.steps_per_epoch = len(self.plan(0))

    @cached_property
    def weights(self) -> np.ndarray:
        """How often each clip is drawn, (N,) summing to 1: emotions in balance."""
        return sampling_weights(self.train.utterances, self.batching.balance)

    def plan(self, epoch: int) -> list[list[SampledCrop]]:
        """What an epoch's batches hold, a function of seed and epoch."""
        return sample_epoch(self.weights, self.batching, self.seed, epoch)

    def batches(self, epoch: int, start: int) -> Iterable[Batch]:
        """An epoch's batches from number `start` on."""
        plan = self.plan(epoch)
        if isinstance(self.train, CachedClips) and isinstance(self.valid, CachedClips):
            return self.train.batches(plan, start, self.valid)
        augmentation: AugmentOptions = self.recipe.of(AugmentOptions)
        shards = [batch[shard(len(batch))] for batch in plan[start:]]
        return training_batches(self.train, shards, self.batching.workers, augmentation)

    def encoder_group(self) -> dict[str, Any]:
        """The encoder's trainable parameters with their rate."""
        rate = self.recipe.of(EncoderOptions).rate(self.learning_rate)
        return {"params": self.model.encoder.trainable(), "lr": rate}  # type: ignore[operator]

    def group(self, *parts: nn.Module) -> dict[str, Any]:
        """The parameters of whole modules, at the recipe's own rate."""
        parameters = [p for part in parts for p in part.parameters()]
        return {"params": parameters, "lr": self.learning_rate}


def unlabelled(utterance: Utterance) -> Utterance:
    """The clip without its emotion."""
    return replace(utterance, emotion="", native_label="")


def labelled(utterances: Sequence[Utterance], share: float, seed: int) -> tuple[Utterance, ...]:
    """A share in (0, 1] of the clips of every corpus and emotion, at least one of each, by `seed`."""
    if share == 1:
        return tuple(utterances)
    strata: dict[str, list[Utterance]] = {}
    for clip in sorted(utterances, key=lambda clip: (clip.speaker_key, clip.path.stem)):
        strata.setdefault(f"{clip.corpus}/{clip.emotion}", []).append(clip)
    return tuple(
        clip
        for name, clips in sorted(strata.items())
        for clip in random.Random(f"{seed}/{name}").sample(clips, max(1, round(share * len(clips))))
    )


def speaker_grouped_batches(
    speakers: np.ndarray, options: BatchOptions, each: int, seed: int, epoch: int
) -> list[list[SampledCrop]]:
    """An epoch's batches: every one of the N clips once, up to `each` of a speaker in a row.

    `speakers` (N,) whole numbers. The number of batches is the same in every epoch; a row may be
    cut by the end of a batch.
    """
    rng = np.random.default_rng((seed, epoch))
    rows: list[np.ndarray] = []
    for speaker in np.unique(speakers):
        own = rng.permutation(np.flatnonzero(speakers == speaker))
        rows += np.array_split(own, -(-len(own) // each))
    chosen = np.concatenate([rows[place] for place in rng.permutation(len(rows))])
    return make_batches(chosen, options, rng)


class ClassifyStage(ClipsStage):
    """The classifier on labelled clips, with or without all below it."""

    name = "classify"

    def __init__(
        self,
        recipe: Recipe,
        model: Model,
        train: Sequence[Utterance],
        valid: Sequence[Utterance],
        seed: int,
        share: float = 1.0,
    ) -> None:
        self.options: TuneOptions = recipe.of(TuneOptions)
        self.epochs = self.options.epochs
        counted: ClassOptions = recipe.of(ClassOptions)
        super().__init__(
            recipe,
            model,
            counted.classes(train),
            counted.known(valid, model.labels),
            seed,
            learning_rate=self.options.learning_rate,
            share=share,
        )

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The classifier; with `--tune all` the encoder, pooling and embedding besides."""
        if self.options.tune == "head":
            return [self.group(self.model.classifier)]
        own = self.group(self.model.pooling, self.model.embedding, self.model.classifier)
        return [self.encoder_group(), own]

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy."""
        alone = self.options.tune == "head"
        if alone:
            self.model.eval()  # what is not trained is heard without dropout
        with torch.no_grad() if alone else nullcontext():
            embedding = self.model.embed(batch.wave, batch.lengths)
        logits, batch = all_gather_with_grad(self.model.classify(embedding), batch)
        loss = losses.cross_entropy(logits, batch.emotion, self.options.smoothing)
        return loss, {"cross_entropy": loss.item()}

    def validate(self, model: Model) -> Validation | None:
        """The figures by which the model is chosen."""
        return validate(model, self.valid, self.batching.batch_size)
