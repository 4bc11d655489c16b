"""Data loading: batches decoded, augmented and cropped by worker processes."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from serdemo.audio import waveform
from serdemo.audio.augmentation import AugmentOptions, augment
from serdemo.data.dataset import Batch, ClipDataset
from serdemo.data.sampling import SampledCrop, crop
from serdemo.schema.errors import SerdemoError


class _Prepared(Dataset[Batch | SerdemoError]):
    """Augmented and cropped batches by number, for the workers of a DataLoader."""

    def __init__(
        self, clips: ClipDataset, plan: list[list[SampledCrop]], options: AugmentOptions
    ) -> None:
        self.clips, self.plan, self.options = clips, plan, options

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, number: int) -> Batch | SerdemoError:
        waves, spans = [], []
        for index, seconds, seed in self.plan[number]:
            rng = np.random.default_rng(seed)
            try:
                wave, speed = augment(self.clips.wave(index), self.options, rng)
            except SerdemoError as problem:  # raised in a worker, it would become a traceback
                return problem
            cut, start = crop(wave, math.ceil(seconds * waveform.SAMPLE_RATE), rng)
            waves.append(cut)
            scale = speed / waveform.SAMPLE_RATE
            spans.append((start * scale, (start + len(cut)) * scale))
        return self.clips.batch([draw[0] for draw in self.plan[number]], waves, spans)


def _ignore_interrupts(worker: int) -> None:
    """Ignore Ctrl-C, which reaches every process of a terminal; the main process handles it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def training_batches(
    clips: ClipDataset, plan: list[list[SampledCrop]], workers: int, options: AugmentOptions
) -> Iterator[Batch]:
    """The batches of `plan` in order, prepared ahead by `workers` processes.

    With several training processes, `plan` holds this process's share of each batch. Raises
    SerdemoError when a clip cannot be decoded.
    """
    loader = DataLoader(
        _Prepared(clips, plan, options),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_ignore_interrupts,
        # By default a DataLoader draws from torch's global generator, once more in a resumed epoch
        # than in an uninterrupted one.
        generator=torch.Generator(),
    )
    for batch in loader:
        if isinstance(batch, SerdemoError):
            raise batch
        yield batch


def scoring_batches(
    clips: ClipDataset, batch_size: int, max_seconds: float | None = None
) -> Iterator[Batch]:
    """Every clip once, whole or its first `max_seconds`, in batches of similar length."""
    lengths = np.diff(clips.ends)  # of the clips in memory; the others come last
    order = [*np.argsort(lengths, kind="stable"), *range(len(lengths), len(clips))]
    for start in range(0, len(order), batch_size):
        yield clips.starts([int(i) for i in order[start : start + batch_size]], max_seconds)
