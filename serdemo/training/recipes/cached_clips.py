"""Clips whose batches hold cached features of a frozen encoder in place of samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from serdemo.data.dataset import Batch, ClipDataset, collate
from serdemo.data.sampling import SampledCrop, crop
from serdemo.training import distributed
from serdemo.training.recipes.frozen_features import FeatureCache


class CachedClips(ClipDataset):
    """Clips whose batches hold cached features (`Batch.frames`) in place of samples."""

    def __init__(self, clips: ClipDataset, cache: FeatureCache) -> None:
        self.clips, self.cache = clips, cache
        self.utterances, self.ends = clips.utterances, clips.ends
        self.emotion, self.corpus, self.speaker = clips.emotion, clips.corpus, clips.speaker

    def wave(self, index: int) -> np.ndarray:
        """The (N,) float32 samples of one clip."""
        return self.clips.wave(index)

    def features(self, index: int, view: int = 0) -> np.ndarray:
        """The (F, D) float32 frames of one clip, or of a view of it."""
        return self.cache.frames(self.cache.of_clip(self.clips, index, view))

    def starts(self, indices: Sequence[int], max_seconds: float | None = None) -> Batch:
        """A batch of features of the clips at `indices`, each whole or its first `max_seconds`."""
        self.cache.fill(self.clips, indices)
        rate = self.cache.rows_per_s
        limit = None if max_seconds is None or rate is None else round(max_seconds * rate)
        return self.features_batch(indices, [self.features(i)[:limit] for i in indices])

    def features_batch(
        self, indices: Sequence[int], features: Sequence[np.ndarray], starts: Sequence[int] = ()
    ) -> Batch:
        """A batch of excerpts of features, each (n, D); `starts` are their first rows [default: 0]."""
        frames, lengths = collate(features)
        rate = self.cache.rows_per_s or math.inf
        firsts = starts or [0] * len(features)
        spans = [
            (at / rate, (at + len(rows)) / rate) for at, rows in zip(firsts, features, strict=True)
        ]
        return self._batch(indices, torch.zeros(len(frames), 0), lengths, spans, frames)

    def batches(
        self, plan: Sequence[Sequence[SampledCrop]], start: int, valid: ClipDataset
    ) -> Iterator[Batch]:
        """This process's share of each planned batch from number `start` on, randomly cropped.

        Along with each, features of some of the clips that are not drawn and of the `valid` ones are
        computed, so that no step of an epoch takes long, and later epochs find all of them.
        """
        self.cache.reopen()
        views = self.cache.views.count
        drawn = {index for batch in plan for index, _, _ in batch}
        others = np.array_split([i for i in range(len(self)) if i not in drawn], len(plan))
        valid_parts = np.array_split(range(len(valid)), len(plan))
        for number in range(start, len(plan)):
            crops = plan[number][distributed.shard(len(plan[number]))]
            self.cache.fill(self.clips, [index for index, _, _ in crops], views)
            if distributed.is_main_process():
                self.cache.fill(self.clips, others[number].astype(int).tolist(), views)
                self.cache.fill(valid, valid_parts[number].astype(int).tolist())
            cuts = [self._crop(*sampled) for sampled in crops]
            indices = [index for index, _, _ in crops]
            yield self.features_batch(indices, [rows for rows, _ in cuts], [at for _, at in cuts])

    def _crop(self, index: int, seconds: float, seed: int) -> tuple[np.ndarray, int]:
        """A random view of a clip, or a random excerpt of its features, and its first row."""
        rng, rate = np.random.default_rng(seed), self.cache.rows_per_s
        if rate is None:
            return self.features(index, int(rng.integers(self.cache.views.count + 1))), 0
        return crop(self.features(index), math.ceil(seconds * rate), rng)
