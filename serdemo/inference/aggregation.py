"""How the answers of windows add up: the smoother of the timeline and the answer for the whole."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serdemo.audio.waveform import SAMPLE_RATE, Samples

# Long enough to take out a quarter of the changes of mind, too short to be felt as a delay.
SMOOTHING_S = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """16 kHz samples [start, stop) of a stream as `wave` (stop - start,), to be scored.

    `speech` is the share in [0, 1] of it that is speech; 0 says that it does not count as heard.
    `whole` says that it holds the whole of a short sound and alone is the answer for it.
    """

    start: int
    stop: int
    wave: Samples = field(repr=False)
    speech: float
    whole: bool = False


class WindowAggregator:
    """Probabilities of windows, in order: smoothed for the timeline, summed for the whole.

    Each counts by the seconds of speech in its window. `size` is the number of classes C.
    """

    def __init__(self, size: int) -> None:
        self.heard = False  # whether any window held speech
        self._sum, self._weight = np.zeros(size), 0.0
        self._recent, self._recent_weight, self._recent_stop = np.zeros(size), 0.0, 0
        self._whole: NDArray[np.float64] | None = None

    def add(self, window: Window, probabilities: ArrayLike) -> NDArray[np.float64] | None:
        """Take the probabilities (C,) of a window; return the smoothed ones, None without speech."""
        row = np.asarray(probabilities, dtype=np.float64)
        if window.whole:
            self._whole = row
            return row
        weight = window.speech * (window.stop - window.start) / SAMPLE_RATE
        self._sum += (weight or 1.0) * row
        self._weight += weight or 1.0
        if not weight:
            return None
        self.heard = True
        # Fading with time, not with windows: after a pause the past counts for nothing.
        fade = math.exp((self._recent_stop - window.stop) / SAMPLE_RATE / SMOOTHING_S)
        self._recent = fade * self._recent + weight * row
        self._recent_weight = fade * self._recent_weight + weight
        self._recent_stop = window.stop
        smoothed: NDArray[np.float64] = self._recent / self._recent_weight
        return smoothed

    @property
    def answer(self) -> NDArray[np.float64] | None:
        """The probabilities (C,) for the whole so far; None before the first window."""
        if self._whole is not None or not self._weight:
            return self._whole
        answer: NDArray[np.float64] = self._sum / self._weight
        return answer
