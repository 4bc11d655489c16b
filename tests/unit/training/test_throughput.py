"""How long a run still takes, by a clock that the test sets."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from serdemo.training.throughput import StepTimer

Pass = Callable[..., None]


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> tuple[StepTimer, Pass]:
    """A timer, and what lets time pass: seconds for each batch, then for the step with it."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    timer = StepTimer()

    def go(*steps: tuple[float, float], end: float | None = None) -> None:
        for fetched, worked in steps:
            now[0] += fetched
            timer.batch_ready()
            now[0] += worked
            timer.step_done()
        if end is not None:
            now[0] += end
            timer.end_epoch()

    return timer, go


def test_the_first_step_is_no_measure(timed: tuple[StepTimer, Pass]) -> None:
    timer, go = timed
    timer.start_epoch()
    go((10.0, 5.0))
    assert timer.eta_s(9, 10, 2) == pytest.approx(9 * 15 + 10 * 15)  # there is no other yet
    go((0.5, 1.5), (0.5, 2.5))
    assert timer.step_s == pytest.approx(2.5)
    assert timer.eta_s(7, 10, 2) == pytest.approx(17 * 2.5)


def test_what_a_pass_takes_beside_its_steps_counts_for_each(timed: tuple[StepTimer, Pass]) -> None:
    timer, go = timed
    timer.start_epoch()
    go((4.0, 2.0), (1.0, 1.0), (1.0, 1.0), end=7.0)
    assert timer.overhead_s == pytest.approx(4.0 + 7.0)  # of its first step, and at its end
    timer.start_epoch()
    go((3.0, 1.0), (0.0, 1.0))
    assert timer.eta_s(1, 3, 2) == pytest.approx(4 * 1.0 + 2 * 11.0)
    assert timer.eta_s(0, 0, 1) == pytest.approx(11.0)


def test_who_waits_for_batches_only_once_is_soon_done(timed: tuple[StepTimer, Pass]) -> None:
    timer, go = timed
    timer.start_epoch(caches_features=True)
    go((9.0, 0.2), (8.0, 0.1), (8.0, 0.1))
    assert timer.eta_s(7, 90, 10) == pytest.approx(7 * 8.1 + 90 * 0.1)
    timer.start_epoch()
    go((0.1, 0.1), (0.1, 0.1))
    assert timer.eta_s(8, 80, 9) == pytest.approx(88 * 0.2)


def test_a_clock_that_stands_still_is_no_division_by_zero(timed: tuple[StepTimer, Pass]) -> None:
    timer, go = timed
    timer.start_epoch()
    go((0.0, 0.0), (0.0, 0.0))
    assert timer.step_s > 0
    assert timer.eta_s(5, 5, 1) == 0
