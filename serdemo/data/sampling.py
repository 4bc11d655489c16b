"""Balanced sampling of the clips and crops of an epoch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serdemo.schema.options import Options, option
from serdemo.schema.types import Utterance

SampledCrop = tuple[int, float, int]  # index of the clip, maximum length in seconds, seed


@dataclass(frozen=True)
class BatchOptions(Options):
    """Size, crops and balance of training batches."""

    batch_size: int = option(48, "clips in a batch", low=1, high=4096)
    min_crop: float = option(1.5, "shortest crop, in seconds", low=0.1, high=60.0)
    max_crop: float = option(4.0, "longest crop, in seconds", low=0.1, high=60.0)
    balance: float = option(
        0.5,
        "oversampling of small corpora within an emotion: 0 none, 1 all corpora equally often;"
        " emotions are always equally frequent",
        low=0.0,
        high=1.0,
    )
    workers: int = option(2, "processes that prepare batches; 0 for none", low=0, high=64)
    memory_gb: float = option(8.0, "memory for decoded clips, in GB", low=0.0, high=1024.0)


def sampling_weights(utterances: Sequence[Utterance], balance: float) -> np.ndarray:
    """Sampling probabilities (N,) of the clips.

    All emotions are equally probable; within an emotion, a corpus of n clips has a probability
    proportional to n ** (1 - balance).
    """
    cells = Counter((u.emotion, u.corpus) for u in utterances)
    share = {cell: count ** (1 - balance) for cell, count in cells.items()}
    of_emotion: Counter[str] = Counter()
    for (emotion, _), weight in share.items():
        of_emotion[emotion] += weight
    keys = [(u.emotion, u.corpus) for u in utterances]
    weights = np.array([share[key] / of_emotion[key[0]] / cells[key] for key in keys])
    return weights / weights.sum()


def sample_epoch(
    weights: np.ndarray, options: BatchOptions, seed: int, epoch: int
) -> list[list[SampledCrop]]:
    """The batches of an epoch: N draws by `weights` (N,), a function of `seed` and `epoch` alone.

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
    """Cut clip indices (N,) into batches, each of one random crop length to reduce padding."""
    batches = []
    for part in np.array_split(chosen, math.ceil(len(chosen) / options.batch_size)):
        crop = float(rng.uniform(options.min_crop, max(options.min_crop, options.max_crop)))
        batches.append([(int(i), crop, int(rng.integers(2**62))) for i in part])
    return batches


def crop(wave: np.ndarray, size: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Random crop of at most `size` samples of a clip, and the index of its first sample."""
    start = int(rng.integers(max(1, len(wave) - size + 1)))
    return wave[start : start + size], start
