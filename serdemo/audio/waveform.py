"""Recordings as 16 kHz mono float32 clips, and the windows that a model scores.

Decoding works block by block: a long file at a high rate needs no more memory than its 16 kHz mono
result plus one block, and nothing is allocated by the length that a header claims.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serdemo.audio.decoding import BLOCK_VALUES, open_audio
from serdemo.audio.samples import MAX_RATE as MAX_RATE
from serdemo.audio.samples import MIN_RATE as MIN_RATE
from serdemo.audio.samples import SAMPLE_RATE as SAMPLE_RATE
from serdemo.audio.samples import AudioError, as_frames, mix
from serdemo.audio.samples import Resampler as Resampler
from serdemo.audio.samples import Samples as Samples
from serdemo.audio.samples import validate_samples as validate_samples

WINDOW_S = 3.0
HOP_S = 1.0
MAX_SECONDS = 4 * 3600


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A decoded recording: mono float32 `samples` (N,) at 16 kHz, nominally in [-1, 1].

    `source_rate` (Hz) and `channels` are those of the file. `clipped` is the share in [0, 1] of
    source samples at full scale, counted before down-mixing and resampling. `notes` are sentences
    about the file: what of it could not be read, which of its channels or tracks was used.
    """

    samples: Samples
    name: str
    source_rate: int
    channels: int
    clipped: float
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE


@dataclass(slots=True, eq=False)
class Recording:
    """A recording that is being decoded: `pieces` of mono float32 (n,) at 16 kHz, made lazily.

    `source_rate` (Hz) and `channels` are those of the file, `duration_s` is the length that its
    header names, if any. `clipped` and `notes` (see `Clip`) are complete once `pieces` are exhausted.
    """

    name: str
    source_rate: int
    channels: int
    duration_s: float | None
    pieces: Iterator[Samples] = field(init=False)
    clipped: float = 0.0
    notes: tuple[str, ...] = ()

    def collect(self) -> Clip:
        """The whole recording as a clip."""
        result = bytearray()  # grows in place, where joining pieces would need twice the memory
        for piece in self.pieces:
            result += piece.tobytes()
        samples = np.frombuffer(result, dtype=np.float32)
        return Clip(samples, self.name, self.source_rate, self.channels, self.clipped, self.notes)


@contextmanager
def open_recording(path: str | Path, *, name: str | None = None) -> Iterator[Recording]:
    """Open a recording in any format that soundfile, or else the ffmpeg program, reads.

    `name` is its name in messages (default: the file's base name). Raises `AudioError`, here or
    while its pieces are read, for a file that cannot be read as sound.
    """
    path = Path(path)
    name = path.name if name is None else name
    with _named(name), open_audio(path) as (rate, channels, blocks):
        recording = Recording(name, rate, channels, None)
        recording.pieces = _pieces(recording, blocks)
        yield recording


def decode(path: str | Path, *, name: str | None = None) -> Clip:
    """Decode a recording at once; `name` and errors as for `open_recording`."""
    with open_recording(path, name=name) as recording:
        return recording.collect()


def from_array(samples: NDArray[Any], rate: int, name: str = "The recording") -> Clip:
    """Make a clip of samples (N,) or (N, C) at `rate` Hz; raises the errors of `decode`.

    Floats are taken as they are, integers of 8, 16 or 32 bits are divided by their full range.
    """
    with _named(name):
        frames = as_frames(samples)
        recording = Recording(name, int(rate), frames.shape[1], len(frames) / max(rate, 1))
        step = max(1, BLOCK_VALUES // frames.shape[1])
        blocks = (frames[i : i + step] for i in range(0, len(frames), step))
        recording.pieces = _pieces(recording, blocks)
        return recording.collect()


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


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Let errors begin with the name of the recording."""
    try:
        yield
    except AudioError as problem:
        raise AudioError(problem.predicate, name) from problem


def _pieces(recording: Recording, blocks: Iterable[NDArray[Any]]) -> Iterator[Samples]:
    """Check, down-mix and resample blocks (n, C) as they come."""
    rate, channels = recording.source_rate, recording.channels
    resampler = Resampler(rate)
    n_frames = n_clipped = n_samples = 0
    for block in blocks:
        mono, clipped = mix(block)
        n_clipped += clipped
        n_frames += len(block)
        if n_frames > MAX_SECONDS * rate:
            raise AudioError(
                f"is longer than {MAX_SECONDS // 3600} hours: cut it into shorter files."
            )
        piece = resampler.push(mono)
        n_samples += len(piece)
        yield piece
    piece = resampler.finish()
    yield piece
    if not n_samples + len(piece):
        raise AudioError("holds no sound: record it or save it again.")
    recording.clipped = n_clipped / (n_frames * channels)
