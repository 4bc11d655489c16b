"""Calibration for strangers on answers of known reliability."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from serdemo.runs.calibration import (
    MIN_PRECISION,
    Answers,
    calibrate_for_strangers,
    fit_calibration,
)
from serdemo.schema.errors import UsageError


def answers(
    corpus: str, *, stranger: bool, temperature: float, novelty: float, n: int = 6000
) -> Answers:
    """Classes drawn from the softmax of the logits at a temperature: perfectly calibrated there."""
    rng = np.random.default_rng(len(corpus))
    logits = rng.normal(scale=3.0, size=(n, 7))
    scores = logits / temperature + rng.gumbel(size=logits.shape)
    return Answers(corpus, stranger, logits, np.full(n, novelty), scores.argmax(1))


def test_temperature_and_slope_are_recovered() -> None:
    result = fit_calibration(
        [
            answers("known", stranger=False, temperature=0.8, novelty=0.0),
            answers("foreign", stranger=True, temperature=0.8 * np.exp(2 * 0.3), novelty=0.3),
        ]
    )
    assert result.temperature == pytest.approx(0.8, rel=0.05)
    assert result.slope == pytest.approx(2.0, rel=0.1)
    assert result.ece_unseen < 0.02 and result.ece_left_out < 0.02
    assert set(result.ece_by_corpus) == {"known", "foreign left out"}


def test_without_novelty_strangers_share_the_temperature() -> None:
    result = fit_calibration(
        [
            answers("known", stranger=False, temperature=0.5, novelty=0.0),
            answers("foreign", stranger=True, temperature=2.0, novelty=0.0),
        ]
    )
    assert 0.5 < result.temperature < 2.0
    assert result.ece_unseen > 0.05 and result.ece_left_out > 0.05


def test_sure_answers_to_strangers_are_right_two_times_in_three() -> None:
    foreign = answers("foreign", stranger=True, temperature=2.0, novelty=0.2)
    result = fit_calibration([foreign])
    rows = foreign.probabilities(np.log(result.temperature), result.slope)
    sure = rows.max(1) >= result.unsure_below
    right = rows.argmax(1) == foreign.truth
    assert right[sure].mean() == pytest.approx(MIN_PRECISION, abs=0.01)
    assert right[sure].mean() > right.mean()


def test_another_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one-corpus-out"):
        calibrate_for_strangers(tmp_path, tmp_path, [])
