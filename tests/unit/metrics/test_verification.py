"""Speaker verification: trials, equal error rate and its interval, against values by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serdemo.metrics import verification
from serdemo.schema.errors import SerdemoError


@pytest.mark.parametrize(
    ("same", "other", "expected"),
    [
        ([0.9, 0.8], [0.1, 0.2], 0.0),
        ([0.1, 0.2], [0.9, 0.8], 1.0),
        ([0.5, 0.5], [0.5, 0.5], 0.5),
        ([1, 3], [0, 2], 0.5),
        ([2, 3, 4, 5], [-1, 0, 1, 2.5], 0.25),
        # From (refused 0, accepted 1/2) straight to (1, 0): they meet at a third.
        ([1, 1], [1, 0], 1 / 3),
        ([1], [0], 0.0),
    ],
)
def test_equal_error_rates_by_hand(same: list[float], other: list[float], expected: float) -> None:
    kinds = [True] * len(same) + [False] * len(other)
    assert verification.eer([*same, *other], kinds) == pytest.approx(expected)
    assert verification.eer([*same, *other], [not kind for kind in kinds]) == pytest.approx(
        1 - expected
    )


PAIR = st.tuples(st.integers(-5, 5), st.booleans(), st.integers(1, 3))


@given(st.lists(PAIR, max_size=30))
def test_a_weight_is_a_repetition_and_the_rate_a_rate(rows: list[tuple[int, bool, int]]) -> None:
    rows += [(0, True, 1), (1, False, 1)]
    scores, same, weights = (list(column) for column in zip(*rows, strict=True))
    rate = verification.eer(scores, same, weights)
    assert 0 <= rate <= 1
    assert rate == pytest.approx(
        verification.eer(np.repeat(scores, weights), np.repeat(same, weights))
    )
    assert rate == pytest.approx(
        verification.eer(np.exp(scores), same, weights)
    )  # order alone counts


def test_pairs_of_one_kind_have_no_rate() -> None:
    for same in ([True, True], [False, False]):
        with pytest.raises(SerdemoError, match="pairs of one speaker and pairs of two"):
            verification.eer([0.1, 0.2], same)
    with pytest.raises(SerdemoError, match="finite scores"):
        verification.eer([float("nan"), 0.2], [True, False])


def test_trials_are_all_pairs_or_as_many_as_wanted() -> None:
    assert verification.sample_pairs(3).tolist() == [[0, 1], [0, 2], [1, 2]]
    assert verification.sample_pairs(1).shape == (0, 2)
    some = verification.sample_pairs(40, limit=100, seed=1)
    assert len({tuple(pair) for pair in some.tolist()}) == 100
    assert (some[:, 0] < some[:, 1]).all() and some.min() >= 0 and some.max() == 39
    assert np.array_equal(some, verification.sample_pairs(40, limit=100, seed=1))
    assert not np.array_equal(some, verification.sample_pairs(40, limit=100, seed=2))
    nearly_all = verification.sample_pairs(40, limit=779)
    assert len({tuple(pair) for pair in nearly_all.tolist()}) == 779


def test_speakers_apart_have_no_errors_and_an_interval_of_none() -> None:
    rows = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1], [-1, 0], [-1, 0.1]])
    trials = verification.make_trials(rows, ["a", "a", "b", "b", "c", "c"])
    assert trials is not None
    assert (len(trials.cosines), int(trials.same.sum()), trials.eer) == (15, 3, 0.0)
    assert verification.eer_interval(trials) == (0.0, 0.0)
    assert trials.cosines[0] == pytest.approx(1 / np.sqrt(1.01))


def test_two_speakers_have_no_interval() -> None:
    trials = verification.make_trials(
        np.random.default_rng(0).standard_normal((8, 3)), ["a", "b"] * 4
    )
    assert trials is not None
    assert verification.eer_interval(trials) is None


def test_the_interval_holds_the_rate_and_is_drawn_over_speakers() -> None:
    rng = np.random.default_rng(0)
    speakers = np.repeat([f"s{n}" for n in range(12)], 8)
    rows = np.repeat(rng.standard_normal((12, 4)), 8, axis=0) + rng.standard_normal((96, 4))
    trials = verification.make_trials(rows, speakers)
    assert trials is not None
    interval = verification.eer_interval(trials, draws=300)
    assert interval is not None
    assert interval[0] < trials.eer < interval[1]
    assert interval == verification.eer_interval(trials, draws=300)
    # Eight copies of each clip add no speaker: the interval hardly narrows.
    again = verification.make_trials(np.repeat(rows, 2, axis=0), np.repeat(speakers, 2))
    assert again is not None
    wide = verification.eer_interval(again, draws=300)
    assert wide is not None
    assert wide[1] - wide[0] > 0.7 * (interval[1] - interval[0])


@pytest.mark.parametrize("speakers", [[], ["a"], ["a", "a"], ["a", "b"], ["a", "b", "c"]])
def test_without_both_kinds_of_pairs_there_are_no_trials(speakers: list[str]) -> None:
    assert verification.make_trials(np.ones((len(speakers), 2)), speakers) is None


def test_embeddings_of_no_number_are_told() -> None:
    with pytest.raises(SerdemoError, match="finite numbers"):
        verification.make_trials(np.full((3, 2), np.nan), ["a", "a", "b"])
