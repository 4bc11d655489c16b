"""What a frozen encoder hears, as the images that a network on it sees: made once, kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from serdemo.batches import Clips
from serdemo.cache import ArrayCache, CacheOptions, digest
from serdemo.model import Model


class Images:
    """The images (S, S) of clips by the frozen encoder of `model`, in the folder that options name.

    Each is made by itself, in full precision, so that it does not depend on what else is in a batch
    nor on when a run was broken off. Kept is the image, not the frames: 180 kB at 300 x 300 in place
    of the 715 kB of 349 x 1024 frames.
    """

    def __init__(self, model: Model, options: CacheOptions) -> None:
        self.model, self.options = model, options
        self.full = False  # whether the last image found no room
        self.made = 0  # images that were not kept yet
        self._keys: dict[Path, str] = {}

    @cached_property
    def identity(self) -> str:
        """What an image depends on beside the clip: the encoder, to the last weight, and its shape.

        Asked for when the first image is, as a resumed run has its weights only then.
        """
        encoder, heads = self.model.encoder, self.model.options
        options = getattr(encoder, "options", None)
        told = {
            "encoder": f"{type(encoder).__name__} of {encoder.width}",
            "options": {} if options is None else {**options.to_json(), "source": ""},
            "architecture": getattr(encoder, "config", {}),
            "image": [heads.image_samples, heads.image_side],
        }
        whole = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode())
        for name, value in encoder.state_dict().items():
            whole.update(name.encode())
            whole.update(value.detach().cpu().numpy().tobytes())
        return whole.hexdigest()

    @cached_property
    def cache(self) -> ArrayCache:
        """Where they are kept."""
        return ArrayCache(
            self.options.folder / f"images-{self.identity[:16]}", self.options.cache_gb
        )

    def reopen(self) -> None:
        """Find what other processes have kept meanwhile."""
        if "cache" in self.__dict__:
            self.cache.close()
            del self.__dict__["cache"]

    def of(self, clips: Clips, indices: Sequence[int]) -> Tensor:
        """The (n, S, S) images of the clips at `indices`, float32 on the model's device."""
        device = next(self.model.parameters()).device
        rows = [self._one(clips, index) for index in indices]
        return torch.from_numpy(np.stack(rows).astype(np.float32)).to(device)

    def prepare(self, clips: Clips, indices: Sequence[int]) -> None:
        """Make those of the clips at `indices` that are not kept, as long as there is room."""
        for index in indices:
            if not self.full and self._key(clips, index) not in self.cache:
                self._one(clips, index)

    def _key(self, clips: Clips, index: int) -> str:
        path = clips.utterances[index].path
        if path not in self._keys:
            self._keys[path] = digest(path)
        return self._keys[path]

    def _one(self, clips: Clips, index: int) -> np.ndarray:
        key = self._key(clips, index)
        if key in self.cache:
            return self.cache.get(key)
        self.made += 1
        kept = self.cache.put(key, self._make(clips.wave(index)))
        self.full = key not in self.cache
        return kept

    @torch.no_grad()
    def _make(self, samples: np.ndarray) -> np.ndarray:
        self.model.encoder.eval()  # it is heard as it will be, whatever mode the rest is in
        device = next(self.model.parameters()).device
        wave = torch.from_numpy(samples)[None].to(device)
        with torch.autocast(device.type, enabled=False):
            frames, mask = self.model.hear(wave, torch.tensor([len(samples)], device=device))
            image: Tensor = self.model.pooling.image(frames, mask)  # type: ignore[operator]
        return image[0].float().cpu().numpy()
