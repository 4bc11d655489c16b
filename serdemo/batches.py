"""Clips to batches: decoded once, cropped, padded and masked, drawn in balance.

What an epoch holds is a function of (seed, epoch) alone, so a resumed run sees the same clips.
"""

from __future__ import annotations

import math
import signal
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from serdemo import audio, processes
from serdemo.augment import AugmentOptions, augment
from serdemo.options import Options, option
from serdemo.schema import SerdemoError, Utterance

Draw = tuple[int, float, int]  # clip, longest length in seconds, seed


@dataclass(frozen=True)
class BatchOptions(Options):
    """How clips become batches."""

    batch_size: int = option(48, "clips in a batch", low=1, high=4096)
    crop_low: float = option(1.5, "shortest crop, in seconds", low=0.1, high=60.0)
    crop_high: float = option(4.0, "longest crop, in seconds", low=0.1, high=60.0)
    balance: float = option(
        0.5,
        "how far rare corpora are lifted: 0 draws clips as they come, 1 every corpus of an"
        " emotion alike; emotions are always alike",
        low=0.0,
        high=1.0,
    )
    workers: int = option(2, "processes that prepare batches; 0 for none", low=0, high=64)
    memory_gb: float = option(8.0, "memory for decoded clips, in GB", low=0.0, high=1024.0)


@dataclass(frozen=True, slots=True)
class Batch:
    """A padded batch: `wave` (B, T) float32 at 16 kHz, or frames (B, T, D), `lengths` (B,) of them, and,
    for each clip, the index of its emotion (-1 where the labels do not have it), corpus, speaker and
    utterance. `span` (B, 2) is the stretch of the clip that is heard, in seconds.
    """

    wave: Tensor
    lengths: Tensor
    emotion: Tensor
    corpus: Tensor
    speaker: Tensor
    index: Tensor
    span: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in self.__slots__})

    def __len__(self) -> int:
        return len(self.wave)


def collate(waves: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Clips of samples (or frames) -> (B, T) (or (B, T, D)) zero-padded float32 and (B,) lengths."""
    lengths = torch.tensor([len(wave) for wave in waves])
    padded = torch.zeros(len(waves), int(lengths.max()), *waves[0].shape[1:])
    for row, wave in zip(padded, waves, strict=True):
        row[: len(wave)] = torch.from_numpy(wave)
    return padded, lengths


class Clips(Dataset[tuple[np.ndarray, int]]):
    """Utterances with their decoded samples, kept as 16-bit integers up to a memory bound.

    Clips beyond the bound are decoded again each time. Worker processes share the samples' one tensor.
    """

    rate: float = audio.SAMPLE_RATE  # samples a second

    def __init__(
        self, utterances: Sequence[Utterance], labels: Sequence[str], memory_gb: float = 8.0
    ) -> None:
        self.utterances = tuple(utterances)
        order = {label: index for index, label in enumerate(labels)}
        self.emotion = torch.tensor([order.get(u.emotion, -1) for u in utterances])
        self.corpus = _codes(u.corpus for u in utterances)
        self.speaker = _codes(u.speaker_key for u in utterances)
        bound, kept, scales, ends = int(memory_gb * 1e9), bytearray(), [], [0]
        with ThreadPoolExecutor(4) as pool:
            for clip in pool.map(self._decode, utterances[: _prefix(utterances, bound // 2)]):
                if len(kept) + 2 * len(clip) > bound:
                    break
                stored, scale = audio.sixteen_bits(clip)
                kept += stored.tobytes()
                scales.append(scale)
                ends.append(len(kept) // 2)
        self.samples = torch.from_numpy(np.frombuffer(kept, dtype=np.int16))
        self.scales = np.array(scales, np.float32)
        self.ends = np.array(ends)

    @staticmethod
    def _decode(utterance: Utterance) -> np.ndarray:
        return audio.decode(utterance.path).samples

    def wave(self, index: int) -> np.ndarray:
        """The (N,) float32 samples of one clip."""
        if index < len(self.ends) - 1:
            stored = self.samples[self.ends[index] : self.ends[index + 1]].numpy()
            return stored * self.scales[index]
        return self._decode(self.utterances[index])

    def seconds(self, index: int) -> float:
        """The length of one clip."""
        return max(1, len(self.wave(index))) / self.rate

    def __len__(self) -> int:
        return len(self.utterances)

    def batch(
        self,
        indices: Sequence[int],
        waves: Sequence[np.ndarray],
        spans: Sequence[tuple[float, float]] | None = None,
    ) -> Batch:
        """The clips at `indices` with the samples given, their beginnings unless `spans` tell."""
        at = torch.tensor(list(indices))
        wave, lengths = collate(waves)
        heard = spans or [(0.0, len(wave) / self.rate) for wave in waves]
        span = torch.tensor(heard, dtype=torch.float32)
        return Batch(wave, lengths, self.emotion[at], self.corpus[at], self.speaker[at], at, span)


def _prefix(utterances: Sequence[Utterance], bound: int) -> int:
    """How many clips to try to keep: all, unless their known durations already pass the bound."""
    known = np.cumsum([(u.duration_s or 0.0) * audio.SAMPLE_RATE for u in utterances])
    return int(np.searchsorted(known, bound, side="right"))


def _codes(names: Iterable[str]) -> Tensor:
    """Names as whole numbers, numbered in sorted order."""
    return torch.from_numpy(np.unique(list(names), return_inverse=True)[1].astype(np.int64))


def balanced_weights(utterances: Sequence[Utterance], balance: float) -> np.ndarray:
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


def draws(weights: np.ndarray, options: BatchOptions, seed: int, epoch: int) -> list[list[Draw]]:
    """An epoch's batches: as many clips as there are, drawn by weight with the least repetition.

    Systematic sampling: a clip of expected count c is drawn floor(c) or ceil(c) times.
    """
    rng = np.random.default_rng((seed, epoch))
    order = rng.permutation(len(weights))
    points = (np.arange(len(weights)) + rng.random()) / len(weights)
    chosen = order[np.searchsorted(np.cumsum(weights[order]), points).clip(max=len(weights) - 1)]
    return crops(rng.permutation(chosen), options, rng)


def crops(chosen: np.ndarray, options: BatchOptions, rng: np.random.Generator) -> list[list[Draw]]:
    """Clips (N,) in order as batches of one crop length each, so that little of them is padding."""
    batches = []
    for part in np.array_split(chosen, math.ceil(len(chosen) / options.batch_size)):
        crop = float(rng.uniform(options.crop_low, max(options.crop_low, options.crop_high)))
        batches.append([(int(i), crop, int(rng.integers(2**62))) for i in part])
    return batches


class _Prepared(Dataset[Batch | SerdemoError]):
    """Batches by number, cropped and augmented, for a DataLoader's workers."""

    def __init__(self, clips: Clips, plan: list[list[Draw]], options: AugmentOptions) -> None:
        self.clips, self.plan, self.options = clips, plan, options

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, number: int) -> Batch | SerdemoError:
        waves, spans = [], []
        for index, seconds, seed in self.plan[number]:
            rng = np.random.default_rng(seed)
            try:
                wave, pace = augment(self.clips.wave(index), self.options, rng)
            except SerdemoError as problem:  # raised in a worker, it would become a traceback
                return problem
            cut, start = crop(wave, math.ceil(seconds * audio.SAMPLE_RATE), rng)
            waves.append(cut)
            scale = pace / audio.SAMPLE_RATE
            spans.append((start * scale, (start + len(cut)) * scale))
        return self.clips.batch([draw[0] for draw in self.plan[number]], waves, spans)


def crop(wave: np.ndarray, size: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """At most `size` samples of a clip, from a random place, and the first one's number."""
    start = int(rng.integers(max(1, len(wave) - size + 1)))
    return wave[start : start + size], start


def _ignore_interrupts(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; the run's own decides what becomes of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def training_batches(
    clips: Clips, plan: list[list[Draw]], workers: int, options: AugmentOptions
) -> Iterator[Batch]:
    """The planned batches in order, prepared ahead by `workers` processes.

    Of several processes each gets its share of every batch. Raises SerdemoError when a clip cannot
    be decoded.
    """
    plan = [batch[processes.share(len(batch))] for batch in plan]
    loader = DataLoader(
        _Prepared(clips, plan, options),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_ignore_interrupts,
        # Its own, as a DataLoader draws a seed from torch's generator, which a resumed epoch
        # would then draw once more than an unbroken one.
        generator=torch.Generator(),
    )
    for batch in loader:
        if isinstance(batch, SerdemoError):
            raise batch
        yield batch


def scoring_batches(
    clips: Clips, batch_size: int, max_seconds: float | None = None
) -> Iterator[Batch]:
    """Every clip once, whole or its first `max_seconds`, in batches of like length."""
    limit = None if max_seconds is None else round(max_seconds * clips.rate)
    known = np.diff(clips.ends)  # clips not kept come last, in their own order
    order = [*np.argsort(known, kind="stable"), *range(len(known), len(clips))]
    for start in range(0, len(order), batch_size):
        part = [int(i) for i in order[start : start + batch_size]]
        yield clips.batch(part, [clips.wave(i)[:limit] for i in part])
