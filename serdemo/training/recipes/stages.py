"""Base classes of the stages: clips drawn in batches, and the fine-tuning of a classifier."""

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
from serdemo.data.splits import Split
from serdemo.nn import encoders, losses
from serdemo.nn.encoders.options import EncoderOptions
from serdemo.nn.model import HeadOptions, Model
from serdemo.nn.pooling import MeanDeviationPooling, mean_and_deviation
from serdemo.schema.options import Options, option
from serdemo.schema.types import Utterance
from serdemo.training.distributed import all_gather_with_grad, shard
from serdemo.training.recipes.base import Recipe, Stage, Validation
from serdemo.training.recipes.cached_clips import CachedClips
from serdemo.training.recipes.frozen_features import FrozenOptions, Views, feature_cache
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


ENCODER_GROUPS: tuple[type[Options], ...] = (
    ClassOptions,
    BatchOptions,
    AugmentOptions,
    *encoders.OPTION_GROUPS,
    HeadOptions,
)
STANDARDISE_CLIPS = 128  # whose features scale those of all


class ClipsStage(Stage):
    """Base of the stages: training and validation clips, batches drawn from them, learning rates.

    `memory_share` is the part of `--memory-gb` that its clips may take; `labels` are the emotions it
    learns to tell apart, where they are not the model's.
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
        memory_share: float = 1.0,
        labels: Sequence[str] | None = None,
    ) -> None:
        self.recipe, self.model, self.seed = recipe, model, seed
        self.labels = model.labels if labels is None else tuple(labels)
        self.learning_rate = learning_rate
        self.caches_features = recipe.caches_features
        self.extra = nn.Module()
        self.batching = recipe.options(BatchOptions)
        memory_gb = self.batching.memory_gb * memory_share
        self.train = ClipDataset(train, self.labels, memory_gb * 0.8)
        self.valid = ClipDataset(valid, self.labels, memory_gb * 0.2)
        if self.caches_features:
            count = recipe.options(FrozenOptions).views
            views = Views(count, self.batching, recipe.options(AugmentOptions))
            cache = feature_cache(model, recipe.options(CacheOptions), views)
            self.train = CachedClips(self.train, cache)
            self.valid = CachedClips(self.valid, cache)
        self.n_clips = len(self.train)
        self.steps_per_epoch = len(self.plan(0))

    @cached_property
    def weights(self) -> np.ndarray:
        """Expected draws of each clip, (N,) summing to 1: emotions in balance."""
        return sampling_weights(self.train.utterances, self.batching.balance)

    def plan(self, epoch: int) -> list[list[SampledCrop]]:
        """The crops of an epoch's batches: a function of seed and epoch."""
        return sample_epoch(self.weights, self.batching, self.seed, epoch)

    def batches(self, epoch: int, start: int) -> Iterable[Batch]:
        """The batches of an epoch from number `start` on."""
        plan = self.plan(epoch)
        if not epoch and not start:
            self.standardise()
        if isinstance(self.train, CachedClips):
            return self.train.batches(plan, start, self.valid)
        augmentation = self.recipe.options(AugmentOptions)
        shards = [batch[shard(len(batch))] for batch in plan[start:]]
        return training_batches(self.train, shards, self.batching.workers, augmentation)

    def standardise(self) -> None:
        """Give the pooling `mean-std` of a new model the statistics of some training clips."""
        pooling, model = self.model.pooling, self.model
        if not isinstance(pooling, MeanDeviationPooling) or pooling.is_standardised:
            return
        count = min(STANDARDISE_CLIPS, len(self.train))
        rng = np.random.default_rng(self.seed)
        chosen = rng.choice(len(self.train), count, replace=False, p=self.weights).tolist()
        device, was_training = pooling.shift.device, model.training
        model.eval()
        with torch.no_grad():
            rows = [
                mean_and_deviation(
                    *model.encode_batch(self.train.starts(chosen[at : at + 16], 6.0).to(device))
                )
                for at in range(0, count, 16)
            ]
            pooling.standardise(torch.cat(rows))
        model.train(was_training)

    def encoder_group(self) -> dict[str, Any]:
        """The encoder's trainable parameters with their learning rate."""
        rate = self.recipe.options(EncoderOptions).rate(self.learning_rate)
        return {"params": self.model.encoder.trainable(), "lr": rate}  # type: ignore[operator]

    def group(self, *modules: nn.Module) -> dict[str, Any]:
        """The parameters of whole modules at the recipe's own learning rate."""
        parameters = [p for module in modules for p in module.parameters()]
        return {"params": parameters, "lr": self.learning_rate}

    def embedding_groups(self) -> list[dict[str, Any]]:
        """All that an embedding depends on, and `extra`."""
        own = self.group(self.model.pooling, self.model.embedding, self.extra)
        return [self.encoder_group(), own]

    def embed(self, batch: Batch) -> tuple[Tensor, Batch]:
        """Embeddings (B, E) of the whole batch, of all processes, and the batch with its labels."""
        return all_gather_with_grad(self.model.embed_batch(batch), batch)


def prototypes(count: int, model: Model, seed: int) -> nn.ParameterDict:
    """Random class prototypes (count, E) to train beside the model, on its device."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(count, model.options.embedding, generator=generator)
    device = next(model.parameters()).device
    return nn.ParameterDict({"prototypes": nn.Parameter(start)}).to(device)


def without_emotions(utterances: Iterable[Utterance]) -> tuple[Utterance, ...]:
    """The clips without their emotions."""
    return tuple(replace(u, emotion="", native_label="") for u in utterances)


def labelled_clips(
    recipe: Recipe, split: Split, labels: Sequence[str]
) -> tuple[tuple[Utterance, ...], list[Utterance]]:
    """Training clips with a class as their emotion, and validation clips with one of `labels`."""
    classes = recipe.options(ClassOptions)
    return classes.classes(split.train), classes.known(split.valid, labels)


def stratified_sample(
    utterances: Sequence[Utterance], share: float, seed: int
) -> tuple[Utterance, ...]:
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
    speakers: np.ndarray, options: BatchOptions, group_size: int, seed: int, epoch: int
) -> list[list[SampledCrop]]:
    """Batches of an epoch in which each of N clips occurs once, grouped by speaker.

    `speakers` (N,) integer codes. Groups hold up to `group_size` clips of one speaker; the end of a
    batch may cut a group. The number of batches is the same in every epoch.
    """
    rng = np.random.default_rng((seed, epoch))
    groups: list[np.ndarray] = []
    for speaker in np.unique(speakers):
        indices = rng.permutation(np.flatnonzero(speakers == speaker))
        groups += np.array_split(indices, -(-len(indices) // group_size))
    order = np.concatenate([groups[number] for number in rng.permutation(len(groups))])
    return make_batches(order, options, rng)


class ClassifyStage(ClipsStage):
    """Fine-tuning of the classifier by cross-entropy, alone or with all that is below it."""

    name = "classify"

    def __init__(
        self, recipe: Recipe, model: Model, split: Split, seed: int, memory_share: float = 1.0
    ) -> None:
        self.options = recipe.options(TuneOptions)
        self.epochs = self.options.epochs
        train, valid = labelled_clips(recipe, split, model.labels)
        rate = self.options.learning_rate
        super().__init__(
            recipe, model, train, valid, seed, learning_rate=rate, memory_share=memory_share
        )

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The classifier; with `--tune all` the encoder, pooling and embedding besides."""
        if self.options.tune == "head":
            return [self.group(self.model.classifier)]
        own = self.group(self.model.pooling, self.model.embedding, self.model.classifier)
        return [self.encoder_group(), own]

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy."""
        head_only = self.options.tune == "head"
        if head_only:
            self.model.eval()  # no dropout in what is not trained
        with torch.no_grad() if head_only else nullcontext():
            embedding = self.model.embed_batch(batch)
        logits, batch = all_gather_with_grad(self.model.classify(embedding), batch)
        loss = losses.cross_entropy(logits, batch.emotion, self.options.smoothing)
        return loss, {"cross_entropy": loss.item()}

    def validate(self, model: Model) -> Validation | None:
        """Recall of the emotions on the validation speakers."""
        return validate(model, self.valid, self.batching.batch_size)
