"""Step times of a run, and the remaining time they predict."""

from __future__ import annotations

import time


class StepTimer:
    """Times the steps of one epoch.

    Call `start_epoch`, then `batch_ready` and `step_done` for every step, then `end_epoch`. An epoch's
    first step waits for batch workers and warm-up, so it is no measure of the later ones: its excess
    counts once per epoch, as do validation and saving.
    """

    def __init__(self) -> None:
        self.overhead_s = 0.0  # of an epoch besides its steps, known once one has ended
        self.start_epoch()

    def start_epoch(self, *, caches_features: bool = False) -> None:
        """Start an epoch; with `caches_features` later ones do not wait for their batches."""
        self._started = self._last = time.monotonic()
        self.steps, self.caches_features = 0, caches_features
        self._first = (0.0, 0.0)
        self._wait = self._total_wait = self._total_work = 0.0

    def batch_ready(self) -> None:
        """Note that the next batch has arrived."""
        self._wait = self._lap()

    def step_done(self) -> None:
        """Note that the step with it is done."""
        work = self._lap()
        if self.steps:
            self._total_wait += self._wait
            self._total_work += work
        else:
            self._first = (self._wait, work)
        self.steps += 1

    def end_epoch(self) -> None:
        """Note that the epoch is over, with validation and saving."""
        elapsed = time.monotonic() - self._started
        self.overhead_s = max(0.0, elapsed - self.steps * sum(self._mean_step()))

    @property
    def step_s(self) -> float:
        """Seconds per step, above 0 even where a coarse clock stands still."""
        return max(1e-4, sum(self._mean_step()))

    def eta_s(self, steps: int, later_steps: int, epochs: int) -> float:
        """Seconds until the end.

        `steps` remain of this epoch and `later_steps` of those after it; `epochs` counts this one too.
        """
        wait, work = self._mean_step()
        later = work if self.caches_features else wait + work
        return steps * (wait + work) + later_steps * later + epochs * self.overhead_s

    def _mean_step(self) -> tuple[float, float]:
        """Mean seconds of waiting for a batch, and of the step with it."""
        if self.steps < 2:
            return self._first
        return self._total_wait / (self.steps - 1), self._total_work / (self.steps - 1)

    def _lap(self) -> float:
        last, self._last = self._last, time.monotonic()
        return self._last - last
