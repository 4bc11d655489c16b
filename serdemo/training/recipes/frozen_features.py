"""Disk cache of a frozen encoder's features per clip: frames (F, D) or images (S, S)."""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from serdemo.audio import waveform
from serdemo.data.array_cache import ArrayCache, CacheOptions
from serdemo.data.dataset import Batch, ClipDataset, collate
from serdemo.data.sampling import SampledCrop, crop
from serdemo.nn.encoders.options import SPECTRAL, EncoderOptions, PretrainedOptions
from serdemo.nn.model import HeadOptions, Model
from serdemo.schema.errors import UsageError
from serdemo.schema.options import Options, option
from serdemo.training import distributed

MAX_CLIP_S = 60.0  # of which frames are cached


@dataclass(frozen=True)
class FrozenOptions(Options):
    """How the features of a frozen encoder are computed."""

    cache_features: bool = option(
        False,
        "train on the frames that a frozen encoder (--freeze all --layer-pooling last) gives of whole clips as"
        " they are, computed once and kept in --cache: no augmentation, and many times faster",
    )

    def check(self, options: Callable[[type[Any]], Any]) -> None:
        """Raise UsageError where a recipe's other `options(Group)` forbid it."""
        kind, given = options(EncoderOptions).encoder, options(PretrainedOptions)
        heads = options(HeadOptions)
        if not self.cache_features:
            return
        trained = (
            given.layer_pooling != "last"
            or given.bottleneck
            or given.lora_rank
            or given.freeze != "all"
        )
        if kind not in SPECTRAL and (kind == "compact" or trained):
            raise UsageError(
                "--cache-features needs an encoder of which nothing is trained: name a pretrained one with"
                " --freeze all --layer-pooling last, without --bottleneck and --lora-rank."
            )
        if heads.image:
            raise UsageError("--cache-features keeps frames; for images take the recipe ssl_cnn.")


class FeatureCache(ABC):
    """Features of clips by the frozen encoder of `model`, kept on disk as float16 (rows, columns).

    Each clip is encoded by itself and in full precision, so that its features depend neither on the
    rest of a batch nor on where a run was interrupted.
    """

    kind: ClassVar[str]

    def __init__(self, model: Model, options: CacheOptions) -> None:
        self.model, self.options = model, options
        self.is_full = False  # the last array found no room on disk
        self.n_computed = 0
        self._keys: dict[Path, str] = {}

    @abstractmethod
    def shape_options(self) -> list[float]:
        """Values besides the encoder that the features depend on."""

    @abstractmethod
    def compute(self, samples: np.ndarray) -> np.ndarray:
        """The features of (N,) samples at 16 kHz."""

    @cached_property
    def rows_per_s(self) -> float | None:
        """Rows per second of sound; None where the features of any clip have the same shape."""
        return None

    @cached_property
    def identity(self) -> str:
        """Digest of all that features depend on besides the clip: the encoder with its weights.

        Computed when first needed, as a resumed run has its weights only then. Weights count in the
        half precision that checkpoints store, so that a second stage, which begins with what the
        first has saved, finds the features that the first computed.
        """
        encoder = self.model.encoder
        options = getattr(encoder, "options", None)
        identity = {
            "encoder": f"{type(encoder).__name__} of {encoder.width}",
            "options": {} if options is None else {**options.to_json(), "source": ""},
            "architecture": getattr(encoder, "config", {}),
            self.kind: self.shape_options(),
        }
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode())
        for name, value in encoder.state_dict().items():
            digest.update(name.encode())
            stored = value.half() if value.is_floating_point() else value
            digest.update(stored.detach().cpu().numpy().tobytes())
        return digest.hexdigest()

    @cached_property
    def arrays(self) -> ArrayCache:
        """The cache folder of this encoder."""
        folder = self.options.folder / f"{self.kind}-{self.identity[:16]}"
        return ArrayCache(folder, self.options.cache_gb)

    def reopen(self) -> None:
        """Find arrays that other processes have written meanwhile."""
        if "arrays" in self.__dict__:
            del self.__dict__["arrays"]

    def fill(self, clips: ClipDataset, indices: Sequence[int]) -> None:
        """Compute missing features of the clips at `indices` while there is room on disk."""
        for index in indices:
            if not self.is_full and self._key(clips, index) not in self.arrays:
                self.of_clip(clips, index)

    def of_clip(self, clips: ClipDataset, index: int) -> np.ndarray:
        """The float16 features of a clip, computed where they are not cached."""
        key = self._key(clips, index)
        return self.arrays.get(key) if key in self.arrays else self._put(key, clips.wave(index))

    def of_samples(self, samples: np.ndarray) -> np.ndarray:
        """The float16 features of (N,) samples at 16 kHz, computed where they are not cached."""
        key = _sound_key(samples)
        return self.arrays.get(key) if key in self.arrays else self._put(key, samples)

    def _put(self, key: str, samples: np.ndarray) -> np.ndarray:
        self.n_computed += 1
        array = self.arrays.put(key, self.compute(samples))
        self.is_full = key not in self.arrays
        return array

    def _key(self, clips: ClipDataset, index: int) -> str:
        path = clips.utterances[index].path
        if path not in self._keys:
            self._keys[path] = _sound_key(clips.wave(index))
        return self._keys[path]

    @torch.no_grad()
    def _encode(self, samples: np.ndarray) -> tuple[Tensor, Tensor]:
        """The (1, F, D) frames of (N,) samples and their (1, F) mask, in full precision."""
        self.model.encoder.eval()  # features as in inference, whatever mode the rest is in
        device = next(self.model.parameters()).device
        wave = torch.from_numpy(samples)[None].to(device)
        with torch.autocast(device.type, enabled=False):
            return self.model.encode(wave, torch.tensor([len(samples)], device=device))


def _sound_key(samples: np.ndarray) -> str:
    """Cache key of (N,) samples, the same whether as decoded or as `ClipDataset` stores them."""
    stored, scale = waveform.to_scaled_int16(samples)
    return hashlib.sha256(f"{scale:.5g}".encode() + stored.tobytes()).hexdigest()


class ImageCache(FeatureCache):
    """Images (S, S) of frames: 180 kB at 300 x 300, in place of the 715 kB of 349 x 1024 frames."""

    kind: ClassVar[str] = "images"

    def shape_options(self) -> list[float]:
        """Samples per image, and its side."""
        return [self.model.options.image_samples, self.model.options.image_side]

    @torch.no_grad()
    def compute(self, samples: np.ndarray) -> np.ndarray:
        """The image of (N,) samples."""
        frames, mask = self._encode(samples)
        image: Tensor = self.model.pooling.image(frames, mask)  # type: ignore[operator]
        return image[0].float().cpu().numpy()


class FrameCache(FeatureCache):
    """Frames (F, D) of whole clips, at most of their first minute."""

    kind: ClassVar[str] = "frames"

    def shape_options(self) -> list[float]:
        """The longest clip in seconds."""
        return [MAX_CLIP_S]

    def compute(self, samples: np.ndarray) -> np.ndarray:
        """The frames of (N,) samples."""
        frames, mask = self._encode(samples[: round(MAX_CLIP_S * waveform.SAMPLE_RATE)])
        return frames[mask].float().cpu().numpy()

    @cached_property
    def rows_per_s(self) -> float | None:
        """Frames per second, measured on silence."""
        seconds = 10
        silence = np.zeros(seconds * waveform.SAMPLE_RATE, np.float32)
        return len(self.compute(silence)) / seconds


def feature_cache(model: Model, options: CacheOptions) -> FeatureCache:
    """The cache that fits a model: of images where its pooling reads images, else of frames."""
    return (ImageCache if model.options.image else FrameCache)(model, options)


def cached_features(model: Model, options: CacheOptions) -> Callable[[np.ndarray], np.ndarray]:
    """The `feature_fn` of an `Embedder`: (N,) samples -> float32 features that are computed once.

    They are stored in half precision, which changes probabilities by less than 0.001. An image
    (S, S) passes the pooling as frames do: resized to S x S it stays the same.
    """
    cache = feature_cache(model, options)
    return lambda samples: cache.of_samples(samples).astype(np.float32)


class CachedClips(ClipDataset):
    """Clips whose batches hold cached features (`Batch.frames`) in place of samples."""

    def __init__(self, clips: ClipDataset, cache: FeatureCache) -> None:
        self.clips, self.cache = clips, cache
        self.utterances, self.ends = clips.utterances, clips.ends
        self.emotion, self.corpus, self.speaker = clips.emotion, clips.corpus, clips.speaker

    def wave(self, index: int) -> np.ndarray:
        """The (N,) float32 samples of one clip."""
        return self.clips.wave(index)

    def features(self, index: int) -> np.ndarray:
        """The (F, D) float32 features of one clip."""
        return self.cache.of_clip(self.clips, index).astype(np.float32)

    def starts(self, indices: Sequence[int], max_seconds: float | None = None) -> Batch:
        """A batch of features of the clips at `indices`, each whole or its first `max_seconds`."""
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

        Along with each, features of some of the `valid` clips are computed, so that no step of an
        epoch takes long.
        """
        self.cache.reopen()
        edges = np.linspace(0, len(valid), len(plan) + 1).round().astype(int)
        for number in range(start, len(plan)):
            if distributed.is_main_process():
                self.cache.fill(valid, range(edges[number], edges[number + 1]))
            crops = plan[number][distributed.shard(len(plan[number]))]
            cuts = [self._crop(*sampled) for sampled in crops]
            indices = [index for index, _, _ in crops]
            yield self.features_batch(indices, [rows for rows, _ in cuts], [at for _, at in cuts])

    def _crop(self, index: int, seconds: float, seed: int) -> tuple[np.ndarray, int]:
        """A random excerpt of the features of a clip, and its first row."""
        features, rate = self.features(index), self.cache.rows_per_s
        if rate is None:
            return features, 0
        return crop(features, math.ceil(seconds * rate), np.random.default_rng(seed))
