"""Dataset of decoded clips, and padded batches of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from serdemo.audio import waveform
from serdemo.data.shards import decode_clip
from serdemo.schema.types import Utterance


@dataclass(frozen=True, slots=True)
class Batch:
    """A padded batch of B clips.

    `wave` (B, T) float32 at 16 kHz with `lengths` (B,) valid samples; where `frames` (B, F, D) holds
    cached features of a frozen encoder, `wave` is (B, 0) and `lengths` counts valid frames. For each
    clip (B,) the index of its `emotion` (-1 where the labels lack it), `corpus`, `speaker` and
    utterance (`index`); `span` (B, 2) is the excerpt's start and end within the clip in seconds.
    """

    wave: Tensor
    lengths: Tensor
    emotion: Tensor
    corpus: Tensor
    speaker: Tensor
    index: Tensor
    span: Tensor
    frames: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        tensors = {name: getattr(self, name) for name in self.__slots__}
        return replace(self, **{k: v.to(device) for k, v in tensors.items() if v is not None})

    def __len__(self) -> int:
        return len(self.index)


def collate(waves: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Arrays (n, ...) -> one zero-padded float32 (B, max n, ...) and the (B,) lengths n."""
    lengths = torch.tensor([len(wave) for wave in waves])
    padded = torch.zeros(len(waves), int(lengths.max()), *waves[0].shape[1:])
    for row, wave in zip(padded, waves, strict=True):
        row[: len(wave)] = torch.from_numpy(wave)
    return padded, lengths


class ClipDataset(Dataset[tuple[np.ndarray, int]]):
    """Utterances with their decoded samples, held in memory as 16-bit integers up to `memory_gb`.

    Further clips are decoded again at each access. Worker processes share the tensor of samples.
    """

    def __init__(
        self, utterances: Sequence[Utterance], labels: Sequence[str], memory_gb: float = 8.0
    ) -> None:
        self.utterances = tuple(utterances)
        order = {label: index for index, label in enumerate(labels)}
        self.emotion = torch.tensor([order.get(u.emotion, -1) for u in utterances])
        self.corpus = _codes(u.corpus for u in utterances)
        self.speaker = _codes(u.speaker_key for u in utterances)
        max_bytes, buffer, scales, ends = int(memory_gb * 1e9), bytearray(), [], [0]
        with ThreadPoolExecutor(4) as pool:
            for clip in pool.map(self._decode, utterances[: _prefix(utterances, max_bytes // 2)]):
                if len(buffer) + 2 * len(clip) > max_bytes:
                    break
                stored, scale = waveform.to_scaled_int16(clip)
                buffer += stored.tobytes()
                scales.append(scale)
                ends.append(len(buffer) // 2)
        self.samples = torch.from_numpy(np.frombuffer(buffer, dtype=np.int16))
        self.scales = np.array(scales, np.float32)
        self.ends = np.array(ends)

    @staticmethod
    def _decode(utterance: Utterance) -> np.ndarray:
        return decode_clip(utterance).samples

    def wave(self, index: int) -> np.ndarray:
        """Samples (N,) float32 of a clip."""
        if index < len(self.ends) - 1:
            stored = self.samples[self.ends[index] : self.ends[index + 1]].numpy()
            return stored * self.scales[index]
        return self._decode(self.utterances[index])

    def seconds(self, index: int) -> float:
        """Duration of a clip in seconds."""
        return max(1, len(self.wave(index))) / waveform.SAMPLE_RATE

    def __len__(self) -> int:
        return len(self.utterances)

    def batch(
        self,
        indices: Sequence[int],
        waves: Sequence[np.ndarray],
        spans: Sequence[tuple[float, float]] | None = None,
    ) -> Batch:
        """A batch of the clips at `indices` from excerpts `waves` (n,), which lie at `spans` (seconds)
        in their clips [default: at the beginnings]."""
        wave, lengths = collate(waves)
        spans = spans or [(0.0, len(wave) / waveform.SAMPLE_RATE) for wave in waves]
        return self._batch(indices, wave, lengths, spans)

    def starts(self, indices: Sequence[int], max_seconds: float | None = None) -> Batch:
        """A batch of the clips at `indices`, each whole or its first `max_seconds`."""
        limit = None if max_seconds is None else round(max_seconds * waveform.SAMPLE_RATE)
        return self.batch(indices, [self.wave(index)[:limit] for index in indices])

    def _batch(
        self,
        indices: Sequence[int],
        wave: Tensor,
        lengths: Tensor,
        spans: Sequence[tuple[float, float]],
        frames: Tensor | None = None,
    ) -> Batch:
        at = torch.tensor(list(indices))
        codes = (self.emotion[at], self.corpus[at], self.speaker[at])
        return Batch(wave, lengths, *codes, at, torch.tensor(spans, dtype=torch.float32), frames)


def _prefix(utterances: Sequence[Utterance], max_samples: int) -> int:
    """Number of leading clips that fit in `max_samples`; unknown durations count as zero."""
    ends = np.cumsum([(u.duration_s or 0.0) * waveform.SAMPLE_RATE for u in utterances])
    return int(np.searchsorted(ends, max_samples, side="right"))


def _codes(names: Iterable[str]) -> Tensor:
    """Names (N,) as int64 codes, numbered in sorted order."""
    return torch.from_numpy(np.unique(list(names), return_inverse=True)[1].astype(np.int64))
