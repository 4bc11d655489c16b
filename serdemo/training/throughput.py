"""How fast the steps of a run come, and from that how long the rest of it takes."""

from __future__ import annotations

import time


class StepTimer:
    """Measured anew in every pass: `begin` it, tell of every batch that `came` and every step that was
    `taken`, and `end` it.

    A pass's first step, which waits until batches are prepared and the program is ready, is no
    measure of those after it: what it took more counts once for every pass, with what choosing and
    saving take.
    """

    def __init__(self) -> None:
        self.aside = 0.0  # seconds of a pass beside its steps, once one is over
        self.begin()

    def begin(self, *, fetches: bool = False) -> None:
        """A pass begins; `fetches` tells that it alone waits for its batches, later ones do not."""
        self._began = self._mark = time.monotonic()
        self.steps, self.fetches = 0, fetches
        self._first = (0.0, 0.0)
        self._waited = self._fetching = self._working = 0.0

    def came(self) -> None:
        """A batch is there."""
        self._waited = self._since()

    def taken(self) -> None:
        """The step with it is done."""
        worked = self._since()
        if self.steps:
            self._fetching += self._waited
            self._working += worked
        else:
            self._first = (self._waited, worked)
        self.steps += 1

    def end(self) -> None:
        """The pass is over, its model chosen and saved."""
        whole = time.monotonic() - self._began
        self.aside = max(0.0, whole - self.steps * sum(self._step()))

    @property
    def each(self) -> float:
        """Seconds from step to step, above 0 even where a coarse clock stands still."""
        return max(1e-4, sum(self._step()))

    def left(self, steps: int, later: int, passes: int) -> float:
        """Seconds until the end: `steps` more of this pass and `later` ones after it, in so many passes
        with this one."""
        fetching, working = self._step()
        after = working if self.fetches else fetching + working
        return steps * (fetching + working) + later * after + passes * self.aside

    def _step(self) -> tuple[float, float]:
        """Seconds of waiting for a batch, and of the step with it."""
        if self.steps < 2:
            return self._first
        return self._fetching / (self.steps - 1), self._working / (self.steps - 1)

    def _since(self) -> float:
        before, self._mark = self._mark, time.monotonic()
        return self._mark - before
