"""Aggregation of window scores: smoothed over time for the timeline, averaged for the whole sound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serdemo.audio.waveform import SAMPLE_RATE, Samples

# Time constant of the smoothing: it removes a quarter of the label changes and is not felt as delay.
SMOOTHING_S = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Samples [start, stop) of a stream at 16 kHz, to be scored.

    `wave` is (stop - start,). `speech_ratio` is the share in [0, 1] of it that is speech, 0 where
    that is too little to count. `whole` marks the one window that holds all of a short sound: its
    scores replace the average over the other windows.
    """

    start: int
    stop: int
    wave: Samples = field(repr=False)
    speech_ratio: float
    whole: bool = False


class WindowAggregator:
    """Mean and exponentially smoothed rows of windows, weighted by their seconds of speech.

    A row (D,) holds the probabilities or the embedding of a window; windows come in time order.
    """

    def __init__(self, size: int) -> None:
        self.has_speech = False  # whether any window held speech
        self.smoothed: NDArray[np.float64] | None = None  # (D,), of the newest window; None: silent
        self._sum, self._weight = np.zeros(size), 0.0
        self._recent, self._recent_weight, self._recent_stop = np.zeros(size), 0.0, 0
        self._whole: NDArray[np.float64] | None = None

    def update(self, window: Window, values: ArrayLike) -> NDArray[np.float64] | None:
        """Add the row (D,) of a window; return the smoothed row, None for a window without speech."""
        row = np.asarray(values, dtype=np.float64)
        if window.whole:
            self._whole = row
            return row
        weight = window.speech_ratio * (window.stop - window.start) / SAMPLE_RATE
        self._sum += (weight or 1.0) * row
        self._weight += weight or 1.0
        if not weight:
            self.smoothed = None
            return None
        self.has_speech = True
        # Fading with time, not with windows: after a pause the past counts for nothing.
        fade = math.exp((self._recent_stop - window.stop) / SAMPLE_RATE / SMOOTHING_S)
        self._recent = fade * self._recent + weight * row
        self._recent_weight = fade * self._recent_weight + weight
        self._recent_stop = window.stop
        self.smoothed = self._recent / self._recent_weight
        return self.smoothed

    @property
    def mean(self) -> NDArray[np.float64] | None:
        """Mean row (D,) of all windows so far, or the row of the `whole` one; None before the first."""
        if self._whole is not None or not self._weight:
            return self._whole
        mean: NDArray[np.float64] = self._sum / self._weight
        return mean


def aggregate(windows: Sequence[Window], rows: ArrayLike) -> NDArray[np.float64]:
    """Speech-weighted mean (D,) of the rows (W, D) of a finished sound's windows."""
    values = np.asarray(rows)
    aggregator = WindowAggregator(values.shape[1])
    for window, row in zip(windows, values, strict=True):
        aggregator.update(window, row)
    if aggregator.mean is None:
        raise ValueError("a finished sound has at least one window")
    return aggregator.mean
