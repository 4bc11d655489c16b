"""What the page draws and plays of a recording."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

WAVE_BARS = 150
# Below this peak a recording is drawn as quiet as it is, instead of stretched to full height.
QUIETEST_FULL_HEIGHT = 0.02
# Beyond this a page would carry megabytes of sound: it is shown without a player.
MAX_PLAYABLE_S = 20 * 60
SIGHT_S = 600  # of a longer recording are in sight at once, in so many bars
PEAK_RATE = 10  # of an outline, in Hz


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """What is drawn of a recording too long to be played in the page: its peak in each tenth of a
    second, (N,)."""

    peaks: NDArray[np.float32]

    @property
    def duration_s(self) -> float:
        """Length in seconds, to a tenth."""
        return len(self.peaks) / PEAK_RATE


class Drawing:
    """Takes from samples (n,) at `rate` Hz that pass in pieces what is drawn and played of them."""

    def __init__(self, rate: int) -> None:
        self._rate, self._step = rate, rate // PEAK_RATE
        self._rest = np.zeros(0, np.float32)
        self._peaks: list[NDArray[np.float32]] = []
        self._pieces: list[NDArray[np.float32]] = []
        self._n_samples = 0

    def passing(self, pieces: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """The same pieces."""
        for piece in pieces:
            samples = np.abs(np.concatenate([self._rest, piece]))
            whole = len(samples) // self._step * self._step
            self._peaks.append(samples[:whole].reshape(-1, self._step).max(axis=1))
            self._rest = samples[whole:]
            self._n_samples += len(piece)
            self._pieces.append(piece)
            if self._n_samples > MAX_PLAYABLE_S * self._rate:
                self._pieces.clear()
            yield piece

    @property
    def samples(self) -> NDArray[np.float32] | None:
        """All samples (N,); None where they are too many to be played."""
        playable = self._n_samples <= MAX_PLAYABLE_S * self._rate
        return np.concatenate(self._pieces) if playable and self._pieces else None

    @property
    def outline(self) -> Outline:
        """The outline of all that has passed."""
        last = [self._rest.max(keepdims=True)] if len(self._rest) else []
        return Outline(np.concatenate([*self._peaks, *last, np.zeros(0, np.float32)]))


def wave_levels(samples: NDArray[np.float32], count: int = WAVE_BARS) -> NDArray[np.float32]:
    """The peak of `samples` (N,) in each of `count` equal stretches, in [0, 1]."""
    edges = np.linspace(0, len(samples), count + 1).astype(int)[:-1]
    peaks = np.maximum.reduceat(np.abs(samples), np.minimum(edges, len(samples) - 1))
    return (peaks / max(float(peaks.max()), QUIETEST_FULL_HEIGHT)).astype(np.float32)


def bar_levels(samples: NDArray[np.float32], rate: int) -> list[float]:
    """The heights of the bars that are drawn of `samples` (N,) at `rate` Hz, in [0, 1]."""
    widths = max(1.0, len(samples) / rate / SIGHT_S)
    return [round(float(level), 3) for level in wave_levels(samples, round(WAVE_BARS * widths))]


def sound_url(samples: NDArray[np.float32], rate: int) -> str:
    """An address that holds the sound, so that the server can forget the recording at once; empty for
    one too long to be played."""
    if len(samples) > MAX_PLAYABLE_S * rate:
        return ""
    has_mp3 = "MP3" in soundfile.available_formats()
    encoded = io.BytesIO()
    container = "MP3" if has_mp3 else "FLAC"
    soundfile.write(encoded, np.clip(samples, -1, 1), rate, format=container)
    mime = "audio/mpeg" if has_mp3 else "audio/flac"
    return f"data:{mime};base64,{base64.b64encode(encoded.getvalue()).decode()}"
