"""Scores against values computed by hand, and against scikit-learn."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score

from serdemo.metrics import bootstrap, calibration, classification, scores
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import EMOTIONS

ABC = ("a", "b", "c")
# a: 3 right of 4 (one called b); b: 1 right of 2 (one called c, which the truth never holds)
TRUTH = ["a", "a", "a", "a", "b", "b"]
ANSWERS = ["a", "a", "a", "b", "b", "c"]


def test_by_hand():
    matrix = classification.confusion(TRUTH, ANSWERS, ABC)
    assert matrix.tolist() == [[3, 1, 0], [0, 1, 1], [0, 0, 0]]
    assert classification.uar(matrix) == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert classification.accuracy(matrix) == pytest.approx(4 / 6)
    # F1(a) = 2*3/(4+3), F1(b) = 2*1/(2+2); c is not in the truth
    assert classification.macro_f1(matrix) == pytest.approx((6 / 7 + 2 / 4) / 2)


def test_extremes():
    right = classification.confusion(["a", "b"], ["a", "b"], ABC)
    wrong = classification.confusion(["a", "b"], ["b", "a"], ABC)
    for metric in (classification.uar, classification.accuracy, classification.macro_f1):
        assert metric(right) == 1.0
        assert metric(wrong) == 0.0


@given(st.lists(st.tuples(st.sampled_from(ABC), st.sampled_from(ABC)), min_size=1, max_size=40))
def test_agrees_with_scikit_learn(pairs):
    truth, answers = zip(*pairs, strict=True)
    matrix = classification.confusion(truth, answers, ABC)
    present = sorted(set(truth))
    recalls = [np.mean([a == label for t, a in pairs if t == label]) for label in present]
    assert classification.uar(matrix) == pytest.approx(np.mean(recalls))
    if len(present) > 1 and set(answers) <= set(truth):
        assert classification.uar(matrix) == pytest.approx(balanced_accuracy_score(truth, answers))
    expected = f1_score(truth, answers, labels=present, average="macro", zero_division=0)
    assert classification.macro_f1(matrix) == pytest.approx(expected)


def test_confusion_refuses_strange_labels_and_lengths():
    with pytest.raises(SerdemoError, match="'z' is not among the labels a, b, c"):
        classification.confusion(["a"], ["z"], ABC)
    with pytest.raises(SerdemoError, match="2 of truth, 1 of predicted"):
        classification.confusion(["a", "b"], ["a"], ABC)
    with pytest.raises(SerdemoError, match="at least one clip"):
        classification.confusion([], [], ABC)


@pytest.mark.parametrize(
    "metric", [classification.uar, classification.accuracy, classification.macro_f1]
)
def test_metrics_refuse_an_empty_matrix(metric):
    with pytest.raises(SerdemoError, match="at least one clip"):
        metric(np.zeros((3, 3), dtype=int))
    with pytest.raises(SerdemoError, match="square"):
        metric(np.ones((2, 3), dtype=int))


def test_seven_classes():
    assert classification.class_of("calm", EMOTIONS) == "neutral"
    assert classification.class_of("boredom", EMOTIONS) is None
    assert classification.class_of("calm", (*EMOTIONS, "calm")) == "calm"
    assert classification.class_of("sad", ("angry", "happy")) is None


def test_interval_draws_speakers_when_there_are_several():
    # One speaker always right, one always wrong: a draw of the two gives 0, 0.5 or 1.
    truth = ["a", "b"] * 20
    answers = truth[:20] + ["b", "a"] * 10
    speakers = ["x"] * 20 + ["y"] * 20
    values, over, n_units = bootstrap.bootstrap_draws(truth, answers, speakers, seed=1)
    assert bootstrap.percentile_interval(values) == (0.0, 1.0)
    assert (over, n_units) == ("speakers", 2)
    # By clips the same answers look far more certain, which is why speakers are drawn.
    values, over, n_units = bootstrap.bootstrap_draws(truth, answers, ["x"] * 40, seed=1)
    assert (over, n_units) == ("clips", 40)
    low, high = bootstrap.percentile_interval(values)
    assert 0.3 < low < 0.42 and 0.58 < high < 0.7


def test_interval_matches_the_binomial_one():
    # 200 one-clip speakers, 150 right: the exact 95 % interval of 0.75 is close to +-0.06.
    truth = ["a"] * 200
    answers = ["a"] * 150 + ["b"] * 50
    speakers = [str(n) for n in range(200)]
    values, _, _ = bootstrap.bootstrap_draws(
        truth, answers, speakers, classification.accuracy, draws=4000
    )
    half = 1.96 * math.sqrt(0.75 * 0.25 / 200)
    low, high = bootstrap.percentile_interval(values)
    assert low == pytest.approx(0.75 - half, abs=0.01)
    assert high == pytest.approx(0.75 + half, abs=0.01)
    again, _, _ = bootstrap.bootstrap_draws(
        truth, answers, speakers, classification.accuracy, draws=4000
    )
    assert np.array_equal(again, values)
    fewer, _, _ = bootstrap.bootstrap_draws(truth, answers, speakers, classification.accuracy)
    narrow_low, narrow_high = bootstrap.percentile_interval(fewer, level=0.5)
    assert narrow_high - narrow_low < (high - low) / 2


def test_interval_of_one_clip_is_a_point():
    values, over, _ = bootstrap.bootstrap_draws(["a"], ["a"], ["x"])
    assert (*bootstrap.percentile_interval(values), over) == (1.0, 1.0, "clips")


@pytest.mark.parametrize(
    "bad",
    [
        lambda: bootstrap.bootstrap_draws([], [], []),
        lambda: bootstrap.bootstrap_draws(["a"], ["a"], ["x", "y"]),
        lambda: bootstrap.percentile_interval([1.0], level=1.0),
        lambda: bootstrap.bootstrap_draws(["a"], ["a"], ["x"], draws=0),
        lambda: calibration.calibration_error(np.zeros((0, 3)), []),
        lambda: calibration.calibration_error([[0.5, 0.5]], [2]),
        lambda: calibration.calibration_error([[0.5, 0.5]], [-1]),
        lambda: calibration.calibration_error([[0.5, 0.5]], [0.5]),
        lambda: calibration.calibration_error([[0.5, math.nan]], [0]),
        lambda: calibration.calibration_error([[0.5, 0.5]], [0], bins=0),
        lambda: calibration.calibration_error([0.5, 0.5], [0, 1]),
        lambda: calibration.fit_temperature([[1.0, math.inf]], [0]),
        lambda: calibration.fit_temperature([[1.0, 2.0]], [0, 1]),
        lambda: calibration.threshold_for_coverage([], 0.5),
        lambda: calibration.threshold_for_coverage([0.5], 0.0),
        lambda: calibration.threshold_for_coverage([0.5], 1.1),
        lambda: calibration.threshold_for_coverage([0.5, math.nan], 0.5),
        lambda: scores.score([], np.zeros((0, 3)), ABC, []),
        lambda: scores.score(["boredom"], np.full((1, 7), 1 / 7), EMOTIONS, ["x"]),
        lambda: scores.score(["a"], [[0.5, 0.5]], ABC, ["x"]),
        lambda: scores.score(["a"], [0.5], ABC, ["x"]),
        lambda: scores.score(["a"], [[1, 0, 0]], ABC, ["x", "y"]),
        lambda: scores.score(["a"], [[math.nan, 0, 0]], ABC, ["x"]),
    ],
)
def test_degenerate_input_ends_in_one_sentence(bad):
    with pytest.raises(SerdemoError) as raised:
        bad()
    assert str(raised.value).endswith(".") and "\n" not in str(raised.value)


def test_calibration_error_by_hand():
    # Bin (0.8, 0.9]: confidence 0.9 twice, one right -> gap 0.4 on 2 of 4 clips.
    # Bin (0.5, 0.6]: confidence 0.6 twice, both right -> gap 0.4 on 2 of 4 clips.
    rows = [[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]]
    assert calibration.calibration_error(rows, [0, 1, 0, 0], bins=10) == pytest.approx(0.4)
    # In one bin the gaps cancel: mean confidence 0.75, accuracy 0.75.
    assert calibration.calibration_error(rows, [0, 1, 0, 0], bins=1) == pytest.approx(0.0)
    assert calibration.calibration_error([[1.0, 0.0]], [0]) == 0.0
    assert calibration.calibration_error([[1.0, 0.0]], [1]) == 1.0


def test_temperature_is_found_again():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 4)) * 2
    chance = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = (chance.cumsum(1) < rng.random((len(logits), 1))).sum(1)
    assert calibration.fit_temperature(logits, truth) == pytest.approx(1.0, rel=0.05)
    assert calibration.fit_temperature(logits * 3, truth) == pytest.approx(3.0, rel=0.05)
    assert calibration.fit_temperature(logits / 2, truth) == pytest.approx(0.5, rel=0.05)


def test_temperature_by_hand():
    # Log-odds 2 and right 3 of 4 times: the best fit makes the odds 3, so T = 2 / ln 3.
    logits = [[2.0, 0.0]] * 4
    best = calibration.fit_temperature(logits, [0, 0, 0, 1])
    assert best == pytest.approx(2 / math.log(3), rel=1e-3)


def test_temperature_without_a_best_one_stays_in_range():
    low, high = calibration.TEMPERATURES
    assert calibration.fit_temperature([[0.1, 0.0]], [0]) == pytest.approx(low, rel=0.01)
    assert calibration.fit_temperature([[9.0, 0.0]], [1]) == pytest.approx(high, rel=0.01)


@pytest.mark.parametrize(
    ("coverage", "threshold"), [(0.1, 0.9), (0.5, 0.9), (0.51, 0.8), (0.75, 0.8), (1.0, 0.2)]
)
def test_threshold_by_hand(coverage, threshold):
    assert calibration.threshold_for_coverage([0.2, 0.9, 0.8, 0.9], coverage) == threshold


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
    st.floats(0.01, 1),
)
def test_threshold_reaches_its_coverage(confidences, coverage):
    threshold = calibration.threshold_for_coverage(confidences, coverage)
    assert np.mean(np.array(confidences) >= threshold) >= coverage - 1e-8
    above = [value for value in confidences if value > threshold]
    assert len(above) / len(confidences) < coverage


def test_score_by_hand():
    # calm counts as neutral and is answered rightly, boredom is left out, happy is called
    # disgust (a class the truth does not hold): recalls angry 1, neutral 1, happy 0.
    truth = ["angry", "calm", "boredom", "happy"]
    answers = ["angry", "neutral", "angry", "disgust"]
    rows = np.array([[0.7 if name == a else 0.05 for name in EMOTIONS] for a in answers])
    result = scores.score(truth, rows, EMOTIONS, ["x/1", "x/2", "x/3", "x/1"])
    assert (result.n, result.speakers, result.labels) == (3, 2, EMOTIONS)
    assert result.uar == pytest.approx(2 / 3)
    assert result.wa == pytest.approx(2 / 3)
    assert result.macro_f1 == pytest.approx(2 / 3)
    assert result.ece == pytest.approx(abs(2 / 3 - 0.7))
    assert result.ci95_over == "speakers" and 0 <= result.uar_ci95[0] <= result.uar_ci95[1] <= 1
    happy, disgust = EMOTIONS.index("happy"), EMOTIONS.index("disgust")
    assert result.confusion[happy][disgust] == 1 and sum(map(sum, result.confusion)) == 3


def test_scores_as_json():
    result = scores.score(["a", "b"], [[0.9, 0.1, 0.0], [0.2, 0.7, 0.1]], ABC, ["x", "x"])
    told = json.loads(json.dumps(result.to_json()))
    assert told["labels"] == ["a", "b", "c"] and told["n"] == 2 and told["uar"] == 1.0
    assert told["confusion"] == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert told["uar_ci95"] == [1.0, 1.0] and told["ci95_over"] == "clips"
    assert told["ece"] == pytest.approx(0.2)
