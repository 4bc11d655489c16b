"""What the live services of a page have done so far, over all streams, closed ones included."""

from __future__ import annotations

import threading

from serdemo.inference.live_session import LiveState
from serdemo.schema.histogram import Histogram

DELAYS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0)


class LiveTotals:
    """Counts that only grow. `n_scored`, `n_silent`, `n_skipped` and `lost_pieces` are those of
    `LiveState`; `received_samples` are of the streams' own rates; `n_refused` counts the streams for
    which there was no place. `delays_s` run from a window's last sample being spoken to its scores.
    Use it from any thread."""

    def __init__(self) -> None:
        self.received_samples = self.lost_pieces = self.n_refused = 0
        self.n_scored = self.n_silent = self.n_skipped = 0
        self.delays_s = Histogram(DELAYS_S)
        self._lock = threading.Lock()

    def add_progress(self, before: LiveState, after: LiveState) -> None:
        """Count what a stream did between two of its states."""
        with self._lock:
            self.received_samples += after.received_samples - before.received_samples
            self.lost_pieces += after.lost_pieces - before.lost_pieces
            self.n_scored += after.n_scored - before.n_scored
            self.n_silent += after.n_silent - before.n_silent
            self.n_skipped += after.n_skipped - before.n_skipped

    def add_refusal(self) -> None:
        """Count a stream for which there was no place."""
        with self._lock:
            self.n_refused += 1
