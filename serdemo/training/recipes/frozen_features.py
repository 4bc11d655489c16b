"""What a frozen encoder says of clips, made once and kept on disk: its frames, or images of them."""

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
from serdemo.data.dataset import Batch, ClipDataset
from serdemo.data.sampling import SampledCrop, crop
from serdemo.nn.encoders.options import SPECTRAL, EncoderOptions, PretrainedOptions
from serdemo.nn.model import HeadOptions, Model
from serdemo.schema.errors import UsageError
from serdemo.schema.options import Options, option
from serdemo.training import distributed

LONGEST_S = 60.0  # of a clip, of which frames are kept


@dataclass(frozen=True)
class FrozenOptions(Options):
    """How an encoder is heard of which nothing is trained."""

    cache_features: bool = option(
        False,
        "train on the frames that a frozen encoder (--freeze all --layer-pooling last) gives of whole clips as"
        " they are, heard once and kept in --cache: no augmentation, and many times faster",
    )

    def check(self, of: Callable[[type[Any]], Any]) -> None:
        """Raises UsageError where the options of a recipe, given by `of`, forbid it."""
        kind, given, heads = of(EncoderOptions).encoder, of(PretrainedOptions), of(HeadOptions)
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
    """Arrays (rows, columns) of clips by the frozen encoder of `model`, in the folder that options
    name.

    Each is made by itself, in full precision, so that it does not depend on what else is in a batch
    nor on when a run was broken off.
    """

    kind: ClassVar[str]

    def __init__(self, model: Model, options: CacheOptions) -> None:
        self.model, self.options = model, options
        self.full = False  # whether the last one found no room
        self.made = 0  # that were not kept yet
        self._keys: dict[Path, str] = {}

    @abstractmethod
    def shape(self) -> list[float]:
        """What of the options an array depends on."""

    @abstractmethod
    def make(self, samples: np.ndarray) -> np.ndarray:
        """The array of (N,) samples at 16 kHz."""

    @cached_property
    def identity(self) -> str:
        """What an array depends on beside the clip: the encoder, to the last weight, and its shape.

        Asked for when the first is, as a resumed run has its weights only then. Weights count in the
        half precision in which a checkpoint keeps them, so that a second stage, which begins with
        what the first has saved, finds what that one made.
        """
        encoder = self.model.encoder
        options = getattr(encoder, "options", None)
        told = {
            "encoder": f"{type(encoder).__name__} of {encoder.width}",
            "options": {} if options is None else {**options.to_json(), "source": ""},
            "architecture": getattr(encoder, "config", {}),
            self.kind: self.shape(),
        }
        whole = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode())
        for name, value in encoder.state_dict().items():
            whole.update(name.encode())
            kept = value.half() if value.is_floating_point() else value
            whole.update(kept.detach().cpu().numpy().tobytes())
        return whole.hexdigest()

    @cached_property
    def cache(self) -> ArrayCache:
        """Where they are kept."""
        folder = self.options.folder / f"{self.kind}-{self.identity[:16]}"
        return ArrayCache(folder, self.options.cache_gb)

    def reopen(self) -> None:
        """Find what other processes have kept meanwhile."""
        if "cache" in self.__dict__:
            self.cache.close()
            del self.__dict__["cache"]

    def planned(
        self, plan: Sequence[Sequence[SampledCrop]], start: int, valid: ClipDataset
    ) -> Iterator[Sequence[SampledCrop]]:
        """This process's share of each planned batch from number `start` on.

        With each some of the validation clips' arrays are made, so that no step takes long.
        """
        self.reopen()
        edges = np.linspace(0, len(valid), len(plan) + 1).round().astype(int)
        for number in range(start, len(plan)):
            if distributed.is_main_process():
                self.prepare(valid, range(edges[number], edges[number + 1]))
            yield plan[number][distributed.shard(len(plan[number]))]

    def prepare(self, clips: ClipDataset, indices: Sequence[int]) -> None:
        """Make those of the clips at `indices` that are not kept, as long as there is room."""
        for index in indices:
            if not self.full and self._key(clips, index) not in self.cache:
                self.one(clips, index)

    def one(self, clips: ClipDataset, index: int) -> np.ndarray:
        """The float16 array of a clip, made where it is not kept."""
        key = self._key(clips, index)
        return self.cache.get(key) if key in self.cache else self._put(key, clips.wave(index))

    def of_samples(self, samples: np.ndarray) -> np.ndarray:
        """The float16 array of (N,) samples at 16 kHz, made where it is not kept."""
        key = _sound(samples)
        return self.cache.get(key) if key in self.cache else self._put(key, samples)

    def _put(self, key: str, samples: np.ndarray) -> np.ndarray:
        self.made += 1
        kept = self.cache.put(key, self.make(samples))
        self.full = key not in self.cache
        return kept

    def _key(self, clips: ClipDataset, index: int) -> str:
        path = clips.utterances[index].path
        if path not in self._keys:
            self._keys[path] = _sound(clips.wave(index))
        return self._keys[path]

    @torch.no_grad()
    def _hear(self, samples: np.ndarray) -> tuple[Tensor, Tensor]:
        """The (1, F, D) frames of a clip and their (1, F) mask, in full precision."""
        self.model.encoder.eval()  # it is heard as it will be, whatever mode the rest is in
        device = next(self.model.parameters()).device
        wave = torch.from_numpy(samples)[None].to(device)
        with torch.autocast(device.type, enabled=False):
            return self.model.encode(wave, torch.tensor([len(samples)], device=device))


def _sound(samples: np.ndarray) -> str:
    """What names a sound, the same whether as decoded or as `Clips` holds it."""
    stored, scale = waveform.to_scaled_int16(samples)
    return hashlib.sha256(f"{scale:.5g}".encode() + stored.tobytes()).hexdigest()


class ImageCache(FeatureCache):
    """Images (S, S) that a network sees: 180 kB at 300 x 300, in place of the 715 kB of 349 x 1024
    frames."""

    kind: ClassVar[str] = "images"

    def shape(self) -> list[float]:
        """Samples and side of an image."""
        return [self.model.options.image_samples, self.model.options.image_side]

    def of(self, clips: ClipDataset, indices: Sequence[int]) -> Tensor:
        """The (n, S, S) images of the clips at `indices`, float32 on the model's device."""
        device = next(self.model.parameters()).device
        rows = [self.one(clips, index) for index in indices]
        return torch.from_numpy(np.stack(rows).astype(np.float32)).to(device)

    @torch.no_grad()
    def make(self, samples: np.ndarray) -> np.ndarray:
        """The image of a clip."""
        frames, mask = self._hear(samples)
        image: Tensor = self.model.pooling.image(frames, mask)  # type: ignore[operator]
        return image[0].float().cpu().numpy()


class FrameCache(FeatureCache):
    """Frames (F, D) of whole clips, of their first minute at most."""

    kind: ClassVar[str] = "frames"

    def shape(self) -> list[float]:
        """The longest stretch of a clip."""
        return [LONGEST_S]

    def make(self, samples: np.ndarray) -> np.ndarray:
        """The frames of a clip."""
        frames, mask = self._hear(samples[: round(LONGEST_S * waveform.SAMPLE_RATE)])
        return frames[mask].float().cpu().numpy()


def cached_features(model: Model, options: CacheOptions) -> Callable[[np.ndarray], np.ndarray]:
    """What makes an `Embedder` of a frozen `model` hear each sound once: (N,) samples -> (F, D) frames.

    They are float32, kept in half precision, by which probabilities differ by less than 0.001. Of a
    model that sees images they are the image, (S, S): stretched over one, it stays as it is.
    """
    kept = (ImageCache if model.options.image else FrameCache)(model, options)
    return lambda samples: kept.of_samples(samples).astype(np.float32)


class CachedClips(ClipDataset):
    """Clips whose samples are the frames (F, D) kept of them."""

    def __init__(self, clips: ClipDataset, frames: FrameCache) -> None:
        self.clips, self.frames = clips, frames
        self.utterances, self.ends = clips.utterances, clips.ends
        self.emotion, self.corpus, self.speaker = clips.emotion, clips.corpus, clips.speaker

    @cached_property
    def rate(self) -> float:  # type: ignore[override]
        """Frames a second."""
        seconds = 10
        silence = np.zeros(seconds * waveform.SAMPLE_RATE, np.float32)
        return len(self.frames.make(silence)) / seconds

    def wave(self, index: int) -> np.ndarray:
        """The (F, D) float32 frames of one clip."""
        return self.frames.one(self.clips, index).astype(np.float32)

    def batches(
        self, plan: Sequence[Sequence[SampledCrop]], start: int, valid: CachedClips
    ) -> Iterator[Batch]:
        """The planned batches from number `start` on, a random stretch of each clip's frames."""
        for drawn in self.frames.planned(plan, start, valid.clips):
            cuts = [
                crop(self.wave(index), math.ceil(longest * self.rate), np.random.default_rng(seed))
                for index, longest, seed in drawn
            ]
            spans = [(at / self.rate, (at + len(cut)) / self.rate) for cut, at in cuts]
            yield self.batch([draw[0] for draw in drawn], [cut for cut, _ in cuts], spans)
