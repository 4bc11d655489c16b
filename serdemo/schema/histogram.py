"""Histograms of what a running program measures, such as durations."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate


class Histogram:
    """How many values were at most each of `bounds`, ascending, and their sum. Use it from any thread."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.sum = 0.0
        self._counts = [0] * (len(self.bounds) + 1)
        self._lock = threading.Lock()

    def add(self, value: float) -> None:
        """Count a value."""
        place = bisect_left(self.bounds, value)
        with self._lock:
            self._counts[place] += 1
            self.sum += value

    @property
    def cumulated(self) -> tuple[int, ...]:
        """The number of values up to each bound, and then of all."""
        with self._lock:
            return tuple(accumulate(self._counts))
