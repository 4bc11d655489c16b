"""Disk cache of a frozen encoder's features per clip: frames (F, D), images (S, S) or statistics."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor

from serdemo.audio import waveform
from serdemo.audio.augmentation import AugmentOptions, augment
from serdemo.data.array_cache import ArrayCache, CacheOptions
from serdemo.data.dataset import ClipDataset, collate
from serdemo.data.sampling import BatchOptions, crop
from serdemo.nn.encoders.options import SPECTRAL, EncoderOptions, PretrainedOptions
from serdemo.nn.model import HeadOptions, Model
from serdemo.nn.pooling import mean_and_deviation
from serdemo.schema.errors import UsageError
from serdemo.schema.options import Options, option

MAX_CLIP_S = 60.0  # of which features are cached
FILL_BLOCK = 64  # clips of which samples are in memory at once
ENCODE_BATCH = 8  # clips encoded together for their statistics

Encoded = TypeVar("Encoded")


@dataclass(frozen=True)
class FrozenOptions(Options):
    """How the features of a frozen encoder are computed."""

    cache_features: bool = option(
        False,
        "train on what a frozen encoder (--freeze all --layer-pooling last or concat) gives of whole clips as"
        " they are, computed once and stored in --cache: many times faster",
    )
    views: int = option(
        0,
        "with --cache-features and --pooling mean-std: augmented random crops of each clip that are"
        " cached, too, of which training draws one at a time",
        low=0,
        high=100,
    )

    def check(self, options: Callable[[type[Any]], Any]) -> None:
        """Raise UsageError where a recipe's other `options(Group)` forbid it."""
        kind, given = options(EncoderOptions).encoder, options(PretrainedOptions)
        heads = options(HeadOptions)
        if not self.cache_features:
            return
        trained = (
            given.layer_pooling == "weighted"
            or given.bottleneck
            or given.lora_rank
            or given.freeze != "all"
        )
        if kind not in SPECTRAL and (kind == "compact" or trained):
            raise UsageError(
                "--cache-features needs an encoder of which nothing is trained: name a pretrained one with"
                " --freeze all --layer-pooling last or concat, without --bottleneck and --lora-rank."
            )
        if heads.image:
            raise UsageError("--cache-features keeps frames; for images take the recipe ssl_cnn.")
        if self.views and heads.pooling != "mean-std":
            raise UsageError("--views needs --pooling mean-std: whole frames are cached without.")


@dataclass(frozen=True, slots=True)
class Views:
    """Versions of a clip to learn from: number 0 as it is, 1 to `count` augmented random crops."""

    count: int
    crops: BatchOptions
    augmentation: AugmentOptions

    def key(self, sound_key: str, number: int) -> str:
        """Cache key of a view of the clip with the `sound_key`."""
        if not number:
            return sound_key
        options = json.dumps(self.augmentation.to_json(), sort_keys=True)
        return f"{sound_key} {number} {self.crops.min_crop} {self.crops.max_crop} {options}"

    def samples(self, wave: np.ndarray, sound_key: str, number: int) -> np.ndarray:
        """A view of samples (N,), the same in every run."""
        if not number:
            return wave
        rng = np.random.default_rng((int(sound_key[:12], 16), number))
        augmented, _ = augment(wave, self.augmentation, rng)
        seconds = rng.uniform(self.crops.min_crop, max(self.crops.min_crop, self.crops.max_crop))
        return crop(augmented, math.ceil(seconds * waveform.SAMPLE_RATE), rng)[0]


NO_VIEWS = Views(0, BatchOptions(), AugmentOptions())


class FeatureCache(ABC):
    """Features of clips by the frozen encoder of `model`, stored on disk as arrays (rows, columns).

    Clips are encoded in full precision, so that features depend neither on the rest of a batch nor
    on where a run was interrupted.
    """

    kind: ClassVar[str]
    dtype: ClassVar[DTypeLike] = np.float16
    # options of the encoder that its features do not depend on
    irrelevant: ClassVar[tuple[str, ...]] = ("source",)

    def __init__(self, model: Model, options: CacheOptions, views: Views = NO_VIEWS) -> None:
        self.model, self.options, self.views = model, options, views
        self.is_full = False  # the last array found no room on disk
        self.n_computed = 0
        self._keys: dict[Path, str] = {}

    @abstractmethod
    def shape_options(self) -> list[float]:
        """Values besides the encoder that the features depend on."""

    @abstractmethod
    def compute(self, samples: np.ndarray) -> np.ndarray:
        """The features of (N,) samples at 16 kHz."""

    def compute_many(self, samples: Sequence[np.ndarray]) -> Iterable[np.ndarray]:
        """The features of several clips."""
        return map(self.compute, samples)

    def frames(self, features: np.ndarray) -> np.ndarray:
        """The float32 frames (F, D) that the pooling reads, from cached features."""
        return features.astype(np.float32)

    @cached_property
    def rows_per_s(self) -> float | None:
        """Rows per second of sound; None where the features of any clip have the same shape."""
        return None

    def encoder_tensors(self) -> dict[str, Tensor]:
        """The encoder's tensors that features depend on."""
        return self.model.encoder.state_dict()

    @cached_property
    def identity(self) -> str:
        """Digest of all that features depend on besides the clip: the encoder with its weights.

        Computed when first needed, as a resumed run has its weights only then. Weights count in the
        half precision that checkpoints store, so that a second stage, which begins with what the
        first has saved, finds the features that the first computed.
        """
        encoder = self.model.encoder
        options = getattr(encoder, "options", None)
        given = {} if options is None else options.to_json()
        identity = {
            "encoder": type(encoder).__name__,
            "options": {k: v for k, v in given.items() if k not in self.irrelevant},
            "architecture": getattr(encoder, "config", {}),
            self.kind: self.shape_options(),
        }
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode())
        for name, value in self.encoder_tensors().items():
            digest.update(name.encode())
            stored = value.half() if value.is_floating_point() else value
            digest.update(stored.detach().cpu().numpy().tobytes())
        return digest.hexdigest()

    @cached_property
    def arrays(self) -> ArrayCache:
        """The cache folder of this encoder."""
        folder = self.options.folder / f"{self.kind}-{self.identity[:16]}"
        return ArrayCache(folder, self.options.cache_gb, self.dtype)

    def reopen(self) -> None:
        """Find arrays that other processes have written meanwhile."""
        if "arrays" in self.__dict__:
            del self.__dict__["arrays"]

    def fill(self, clips: ClipDataset, indices: Iterable[int], views: int = 0) -> None:
        """Compute missing features of the clips at `indices`, and of so many views of each, while
        there is room on disk."""
        if self.is_full:
            return
        missing: dict[str, tuple[int, int]] = {}
        for index, number in itertools.product(indices, range(views + 1)):
            key = self.views.key(self._sound_key(clips, index), number)
            if key not in self.arrays:
                missing[key] = index, number
        keys = list(missing)
        for at in range(0, len(keys), FILL_BLOCK):
            block = keys[at : at + FILL_BLOCK]
            samples = [self._samples(clips, *missing[key]) for key in block]
            for key, features in zip(block, self.compute_many(samples), strict=True):
                self._put(key, features)
                if self.is_full:
                    return

    def of_clip(self, clips: ClipDataset, index: int, view: int = 0) -> np.ndarray:
        """The features of a view of a clip, computed where they are not cached."""
        key = self.views.key(self._sound_key(clips, index), view)
        if key in self.arrays:
            return self.arrays.get(key)
        return self._put(key, self.compute(self._samples(clips, index, view)))

    def of_samples(self, samples: np.ndarray) -> np.ndarray:
        """The features of (N,) samples at 16 kHz, computed where they are not cached."""
        key = _sound_key(samples)
        return self.arrays.get(key) if key in self.arrays else self._put(key, self.compute(samples))

    def _put(self, key: str, features: np.ndarray) -> np.ndarray:
        self.n_computed += 1
        array = self.arrays.put(key, features)
        self.is_full = key not in self.arrays
        return array

    def _samples(self, clips: ClipDataset, index: int, view: int) -> np.ndarray:
        return self.views.samples(clips.wave(index), self._sound_key(clips, index), view)

    def _sound_key(self, clips: ClipDataset, index: int) -> str:
        path = clips.utterances[index].path
        if path not in self._keys:
            self._keys[path] = _sound_key(clips.wave(index))
        return self._keys[path]

    def _encode(self, samples: np.ndarray) -> tuple[Tensor, Tensor]:
        """The (1, F, D) frames of (N,) samples and their (1, F) mask, in full precision."""
        return self._encode_batch([samples], self.model.encode)

    @torch.no_grad()
    def _encode_batch(
        self, samples: Sequence[np.ndarray], encode: Callable[[Tensor, Tensor], Encoded]
    ) -> Encoded:
        """What `encode` gives of a padded batch of clips and their lengths, in full precision."""
        self.model.encoder.eval()  # features as in inference, whatever mode the rest is in
        device = next(self.model.parameters()).device
        wave, lengths = (tensor.to(device) for tensor in collate(samples))
        with torch.autocast(device.type, enabled=False):
            return encode(wave, lengths)


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


class StatisticsCache(FeatureCache):
    """Mean and standard deviation over time of every hidden state, (2 S, D) of S states, for heads
    with the pooling `mean-std`.

    The states that a model uses are chosen when they are read, so that other states and other heads
    need no further encoding. Some channels vary by a thousandth of their mean, too little for half
    precision.
    """

    kind: ClassVar[str] = "statistics"
    dtype: ClassVar[DTypeLike] = np.float32
    irrelevant: ClassVar[tuple[str, ...]] = (
        *("source", "hidden_states", "layer_pooling", "freeze"),
        *("gradient_checkpointing", "attention_kernel"),
    )

    def shape_options(self) -> list[float]:
        """The longest clip in seconds."""
        return [MAX_CLIP_S]

    def encoder_tensors(self) -> dict[str, Tensor]:
        """All but the weights of the layer pooling."""
        tensors = super().encoder_tensors()
        return {name: value for name, value in tensors.items() if name != "layer_weights"}

    def compute(self, samples: np.ndarray) -> np.ndarray:
        """The statistics of (N,) samples."""
        return self.compute_many([samples])[0]

    def compute_many(self, samples: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The statistics of several clips, in batches of similar length."""
        cut = [wave[: round(MAX_CLIP_S * waveform.SAMPLE_RATE)] for wave in samples]
        order = sorted(range(len(cut)), key=lambda index: len(cut[index]))
        rows: dict[int, np.ndarray] = {}
        for at in range(0, len(order), ENCODE_BATCH):
            part = order[at : at + ENCODE_BATCH]
            states, mask = self._encode_batch([cut[index] for index in part], self._hidden_states)
            both = [mean_and_deviation(state, mask).unflatten(1, (2, -1)) for state in states]
            batch = torch.cat(both, dim=1).cpu().numpy()  # (B, 2 S, D)
            rows |= dict(zip(part, batch, strict=True))
        return [rows[index] for index in range(len(cut))]

    def _hidden_states(self, wave: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        encoder: Any = self.model.encoder
        if hasattr(encoder, "hidden_states"):
            states: tuple[list[Tensor], Tensor] = encoder.hidden_states(wave, lengths)
            return states
        frames, mask = encoder(wave, lengths)
        return [frames], mask

    def frames(self, features: np.ndarray) -> np.ndarray:
        """Two frames (2, D'), mean + deviation and mean - deviation, which have just these, of the
        states that the model uses, side by side."""
        states = list(getattr(self.model.encoder, "states", (0,)))
        options = getattr(self.model.encoder, "options", None)
        if options is not None and options.layer_pooling == "last":
            states = states[-1:]
        of_states = features.reshape(-1, 2, features.shape[1])[states]
        mean, deviation = of_states.transpose(1, 0, 2).reshape(2, -1)
        return np.stack([mean + deviation, mean - deviation])


def feature_cache(model: Model, options: CacheOptions, views: Views = NO_VIEWS) -> FeatureCache:
    """The cache that fits a model's pooling: of images, of statistics, or of frames."""
    kind: type[FeatureCache] = FrameCache
    if model.options.image:
        kind = ImageCache
    elif model.options.pooling == "mean-std":
        kind = StatisticsCache
    return kind(model, options, views)


def cached_features(model: Model, options: CacheOptions) -> Callable[[np.ndarray], np.ndarray]:
    """The `feature_fn` of an `Embedder`: (N,) samples -> float32 features that are computed once.

    They are stored in half precision, which changes probabilities by less than 0.001. An image
    (S, S) passes the pooling as frames do: resized to S x S it stays the same.
    """
    cache = feature_cache(model, options)
    return lambda samples: cache.frames(cache.of_samples(samples))
