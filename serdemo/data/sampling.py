"""Which clips, and which crops of them, make up an epoch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serdemo.schema.options import Options, option
from serdemo.schema.types import Utterance

SampledCrop = tuple[int, float, int]  # clip, longest length in seconds, seed


@dataclass(frozen=True)
class BatchOptions(Options):
    """How clips become batches."""

    batch_size: int = option(48, "clips in a batch", low=1, high=4096)
    min_crop: float = option(1.5, "shortest crop, in seconds", low=0.1, high=60.0)
    max_crop: float = option(4.0, "longest crop, in seconds", low=0.1, high=60.0)
    balance: float = option(
        0.5,
        "how far rare corpora are lifted: 0 draws clips as they come, 1 every corpus of an"
        " emotion alike; emotions are always alike",
        low=0.0,
        high=1.0,
    )
    workers: int = option(2, "processes that prepare batches; 0 for none", low=0, high=64)
    memory_gb: float = option(8.0, "memory for decoded clips, in GB", low=0.0, high=1024.0)


def sampling_weights(utterances: Sequence[Utterance], balance: float) -> np.ndarray:
    """How often each clip is drawn, summing to 1: every emotion alike; within an emotion a corpus
    of n clips counts as n ** (1 - balance).
    """
    cells = Counter((u.emotion, u.corpus) for u in utterances)
    share = {cell: count ** (1 - balance) for cell, count in cells.items()}
    of_emotion: Counter[str] = Counter()
    for (emotion, _), weight in share.items():
        of_emotion[emotion] += weight
    weights = np.array(
        [
            share[u.emotion, u.corpus] / of_emotion[u.emotion] / cells[u.emotion, u.corpus]
            for u in utterances
        ]
    )
    return weights / weights.sum()


def sample_epoch(
    weights: np.ndarray, options: BatchOptions, seed: int, epoch: int
) -> list[list[SampledCrop]]:
    """An epoch's batches: as many clips as there are, drawn by weight with the least repetition.

    Systematic sampling: a clip of expected count c is drawn floor(c) or ceil(c) times.
    """
    rng = np.random.default_rng((seed, epoch))
    order = rng.permutation(len(weights))
    points = (np.arange(len(weights)) + rng.random()) / len(weights)
    chosen = order[np.searchsorted(np.cumsum(weights[order]), points).clip(max=len(weights) - 1)]
    return make_batches(rng.permutation(chosen), options, rng)


def make_batches(
    chosen: np.ndarray, options: BatchOptions, rng: np.random.Generator
) -> list[list[SampledCrop]]:
    """Clips (N,) in order as batches of one crop length each, so that little of them is padding."""
    batches = []
    for part in np.array_split(chosen, math.ceil(len(chosen) / options.batch_size)):
        crop = float(rng.uniform(options.min_crop, max(options.min_crop, options.max_crop)))
        batches.append([(int(i), crop, int(rng.integers(2**62))) for i in part])
    return batches


def crop(wave: np.ndarray, size: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """At most `size` samples of a clip, from a random place, and the first one's number."""
    start = int(rng.integers(max(1, len(wave) - size + 1)))
    return wave[start : start + size], start
