"""Recordings as 16 kHz mono float32 clips, and the windows that a model scores.

Decoding works block by block: a long file at a high rate needs no more memory than its 16 kHz mono
result plus one block, and nothing is allocated by the length that a header claims.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from serdemo.audio.decoding import BLOCK_VALUES, AudioError, open_audio

SAMPLE_RATE = 16_000
WINDOW_S = 3.0
HOP_S = 1.0
MAX_SECONDS = 4 * 3600
MIN_RATE = 4_000
MAX_RATE = 384_000

# One step below full scale of even a 10-bit source; lossy codecs land on either side of 1.0.
FULL_SCALE = 0.999
# Floats beyond this many times full scale are integers or raw bytes in disguise.
MAX_PEAK = 64.0
MAX_ARRAY_CHANNELS = 64

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A decoded recording: mono float32 `samples` (N,) at 16 kHz, nominally in [-1, 1].

    `source_rate` (Hz) and `channels` are those of the file. `clipped` is the share in [0, 1] of
    source samples at full scale, counted before down-mixing and resampling.
    """

    samples: Samples
    name: str
    source_rate: int
    channels: int
    clipped: float

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE


class Resampler:
    """Streaming resampler of mono float32 from `rate` Hz to 16 kHz.

    The output of all `push` calls and of `finish`, joined, does not depend on how the input was cut.
    Raises `AudioError` for a rate outside 4 to 384 kHz.
    """

    def __init__(self, rate: int) -> None:
        if not MIN_RATE <= rate <= MAX_RATE:
            raise AudioError(
                f"has a sample rate of {rate} Hz: convert it to one "
                f"between {MIN_RATE // 1000} and {MAX_RATE // 1000} kHz."
            )
        same = rate == SAMPLE_RATE
        self._stream = None if same else soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")

    def push(self, samples: Samples) -> Samples:
        """Resample the next samples (N,); returns the 16 kHz samples (M,) complete so far."""
        return self._run(samples, last=False)

    def finish(self) -> Samples:
        """The remaining 16 kHz samples (M,); call once, after the last `push`."""
        return self._run(np.zeros(0, np.float32), last=True)

    def _run(self, samples: Samples, last: bool) -> Samples:
        samples = np.ascontiguousarray(samples, dtype=np.float32)
        if self._stream is None or (samples.size == 0 and not last):
            return samples
        ready: Samples = self._stream.resample_chunk(samples, last=last)
        return ready


def decode(path: str | Path, *, name: str | None = None) -> Clip:
    """Decode a recording in any format that soundfile, or else an installed ffmpeg, reads.

    `name` is the clip's name in messages (default: the file's base name). Raises `AudioError` for a
    file that cannot be read as sound.
    """
    path = Path(path)
    name = path.name if name is None else name
    try:
        with open_audio(path) as (rate, channels, blocks):
            return _collect(blocks, rate, channels, name)
    except AudioError as problem:
        raise AudioError(problem.predicate, name) from problem


def from_array(samples: NDArray[Any], rate: int, name: str = "The recording") -> Clip:
    """Make a clip of samples (N,) or (N, C) at `rate` Hz; raises the errors of `decode`.

    Floats are taken as they are, integers of 8, 16 or 32 bits are divided by their full range.
    """
    try:
        frames = as_frames(samples)
        step = max(1, BLOCK_VALUES // frames.shape[1])
        blocks = (frames[i : i + step] for i in range(0, len(frames), step))
        return _collect(blocks, int(rate), frames.shape[1], name)
    except AudioError as problem:
        raise AudioError(problem.predicate, name) from problem


def as_frames(samples: NDArray[Any]) -> NDArray[Any]:
    """View samples (N,) or (N, C) as (N, C); raises `AudioError` for another shape or type."""
    samples = np.asarray(samples)
    if samples.ndim not in (1, 2) or samples[:1].size > MAX_ARRAY_CHANNELS:
        raise AudioError(
            f"has samples of shape {samples.shape}: give (samples,) or (samples, channels)."
        )
    kind = samples.dtype.kind
    if kind != "f" and not (kind in "iu" and samples.dtype.itemsize <= 4):
        raise AudioError(f"has samples of type {samples.dtype}: convert them to float32 or int16.")
    return samples.reshape(len(samples), -1) if samples.size else samples.reshape(0, 1)


def validate_samples(samples: NDArray[Any]) -> None:
    """Raise the `AudioError` that `as_frames` and `mix` would raise for samples (N,) or (N, C)."""
    _peak(_to_float(as_frames(samples)))


def mix(frames: NDArray[Any]) -> tuple[Samples, int]:
    """Down-mix frames (n, C) to mono float32 (n,); returns them and the number of clipped values.

    Raises `AudioError` for values that are not finite or far beyond full scale.
    """
    block = _to_float(frames)
    peak = _peak(block)
    n_clipped = int(np.count_nonzero(np.abs(block) >= FULL_SCALE)) if peak >= FULL_SCALE else 0
    return (block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)), n_clipped


def to_int16(samples: Samples) -> NDArray[np.int16]:
    """16-bit little-endian PCM of samples (N,) in [-1, 1]; values beyond are clipped."""
    return np.round(np.clip(samples, -1, 1) * 32_767).astype("<i2")


def to_scaled_int16(samples: Samples) -> tuple[NDArray[np.int16], float]:
    """Samples (N,) as int16 at full resolution, and the scale to multiply them by.

    The peak of the samples becomes the largest integer, so that quiet clips lose no precision.
    """
    scale = float(np.abs(samples).max(initial=0.0)) / 32_767 or 1.0
    return (samples / scale).round().astype(np.int16), scale


def windows(
    n_samples: int, *, window_s: float = WINDOW_S, hop_s: float = HOP_S
) -> list[tuple[int, int]]:
    """Overlapping windows over `n_samples` at 16 kHz, as (start, stop) sample numbers.

    A clip no longer than one window is a single window of its own length. A longer clip has
    full-length windows only, the last aligned to the end, so that every sample is covered.
    """
    size, hop = round(window_s * SAMPLE_RATE), round(hop_s * SAMPLE_RATE)
    if n_samples <= size:
        return [(0, n_samples)]
    starts = list(range(0, n_samples - size + 1, hop))
    if starts[-1] + size < n_samples:
        starts.append(n_samples - size)
    return [(start, start + size) for start in starts]


def _collect(blocks: Iterable[NDArray[Any]], rate: int, channels: int, name: str) -> Clip:
    """Check, down-mix and resample blocks (n, C) as they come into a clip called `name`."""
    resampler = Resampler(rate)
    result = bytearray()  # grows in place, where joining pieces would need twice the memory
    n_frames = n_clipped = 0
    for block in blocks:
        mono, clipped = mix(block)
        n_clipped += clipped
        n_frames += len(block)
        if n_frames > MAX_SECONDS * rate:
            raise AudioError(
                f"is longer than {MAX_SECONDS // 3600} hours: cut it into shorter files."
            )
        result += resampler.push(mono).tobytes()
    result += resampler.finish().tobytes()
    if not result:
        raise AudioError("holds no sound: record it or save it again.")
    samples = np.frombuffer(result, dtype=np.float32)
    return Clip(samples, name, rate, channels, n_clipped / (n_frames * channels))


def _peak(block: Samples) -> float:
    """Largest absolute value of a block; raises `AudioError` where no sound has such values."""
    peak = float(np.abs(block).max(initial=0.0))
    if not np.isfinite(peak):
        raise AudioError("holds samples that are not numbers: export it again.")
    if peak > MAX_PEAK:
        raise AudioError(
            f"holds samples {peak:.0f} times beyond full scale: "
            "export it again as 16-bit WAV or as floats between -1 and 1."
        )
    return peak


def _to_float(block: NDArray[Any]) -> Samples:
    if block.dtype.kind == "f":
        with np.errstate(over="ignore"):  # overflow becomes inf, which `_peak` refuses
            return block.astype(np.float32, copy=False)
    full = float(2 ** (8 * block.dtype.itemsize - 1))
    offset = full if block.dtype.kind == "u" else 0.0
    return ((block.astype(np.float64) - offset) / full).astype(np.float32)
