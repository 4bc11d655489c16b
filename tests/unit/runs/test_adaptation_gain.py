"""The gain that a few clips promise, by hand: extrapolation, interval, verdict."""

from __future__ import annotations

import numpy as np
import pytest

from serdemo.runs.adaptation.gain import GainEstimate, estimate_gain

TRUTH = np.repeat(np.arange(4), 5)


def estimate(before: int, after: float, trained: float = 4) -> GainEstimate:
    """Of 20 clips the first `before` are correct before, and each in the share `after` afterwards."""
    correct = np.arange(20).reshape(4, 5).T.ravel().argsort() < before
    return estimate_gain(correct, np.full(20, after), TRUTH, np.full(20, trained))


def test_odds_grow_with_the_clips_of_a_class() -> None:
    growth = 1.25**0.75  # of the odds, from four clips to five
    assert estimate(10, 0.5).gain == pytest.approx(growth / (1 + growth) - 0.5)
    assert estimate(10, 0.8).gain == pytest.approx(4 * growth / (1 + 4 * growth) - 0.5)
    doubled = 4 * 2**0.75
    assert estimate(10, 0.8, trained=2.5).gain == pytest.approx(doubled / (1 + doubled) - 0.5)
    assert estimate(10, 1.0).gain == pytest.approx(0.5)
    assert estimate(10, 0.0).gain == pytest.approx(-0.5)


def test_clips_without_a_change_leave_some_doubt() -> None:
    found = estimate(20, 1.0)
    # 16 degrees of freedom and two pseudo-changes in 18; t(16) is 2.12 at 97.5 %.
    assert found.high == pytest.approx(2.12 * np.sqrt(2 / 18 * 4 / 5) / 4, rel=1e-3)
    assert found.low == -found.high


@pytest.mark.parametrize("seed", range(4))
def test_the_interval_narrows_with_clips(seed: int) -> None:
    rng = np.random.default_rng(seed)
    widths = []
    for each in (5, 20, 80):
        truth = np.repeat(np.arange(4), each)
        before, after = rng.random(len(truth)) < 0.4, (rng.random(len(truth)) < 0.7) * 1.0
        found = estimate_gain(before, after, truth, np.full(len(truth), each - 1.0))
        widths.append(found.high - found.low)
    assert widths[0] > 1.5 * widths[1] > 2.2 * widths[2]


def test_a_verdict_denies_no_gain_that_may_be() -> None:
    assert GainEstimate(0.12, 0.05, 0.19).verdict == (
        "On other clips of this voice it should answer about 12 points better (5 to 19)."
    )
    assert GainEstimate(0.04, -0.06, 0.14).verdict == (
        "On other clips of this voice the change lies between -6 and +14 points, most likely +4; a few"
        " more clips would tell."
    )
    assert "does not help" in GainEstimate(-0.1, -0.22, 0.02).verdict
    assert "does not help" not in GainEstimate(-0.1, -0.22, 0.03).verdict
    assert "1 point better" in GainEstimate(0.01, 0.004, 0.02).verdict
