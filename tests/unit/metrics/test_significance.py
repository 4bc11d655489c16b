"""Whether one model is better than another, told from numbers alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serdemo.metrics.significance import compare_to_chance, paired_bootstrap
from serdemo.schema.errors import SerdemoError


def random_answers(rng: np.random.Generator, rate: float, n: int) -> np.ndarray[Any, Any]:
    return rng.random(n) < rate


def test_a_clear_difference_is_seen_and_none_is_not_invented() -> None:
    rng = np.random.default_rng(0)
    truth = [("angry", "sad")[n % 2] for n in range(400)]
    speakers = [f"s{n % 20}" for n in range(400)]
    a, b = random_answers(rng, 0.6, 400), random_answers(rng, 0.8, 400)
    comparison = paired_bootstrap(truth, a, b, speakers)
    assert comparison.verdict == "better"
    assert comparison.over == "speakers"
    assert comparison.ci95[0] < comparison.uar_b - comparison.uar_a < comparison.ci95[1]
    back = paired_bootstrap(truth, b, a, speakers)
    assert back.verdict == "worse"
    assert back.ci95 == pytest.approx((-comparison.ci95[1], -comparison.ci95[0]))
    same = paired_bootstrap(truth, a, a, speakers)
    assert (same.verdict, same.ci95) == ("no difference", (0.0, 0.0))
    by_hand = [np.mean([r for r, t in zip(a, truth, strict=True) if t == c]) for c in set(truth)]
    assert comparison.uar_a == pytest.approx(np.mean(by_hand))
    assert comparison.ci95_a == back.ci95_b
    assert comparison.ci95_a[0] < comparison.uar_a < comparison.ci95_a[1] < comparison.ci95_b[1]
    assert (
        comparison.words
        == f"better by {100 * (comparison.uar_b - comparison.uar_a):.0f} points, sure"
    )
    assert back.words == comparison.words.replace("better", "worse")
    assert same.words == "no difference that 400 clips can show"


@pytest.mark.parametrize(("count", "over"), [(1, "clips"), (3, "speakers and their clips")])
def test_equal_models_are_rarely_told_apart(count: int, over: str) -> None:
    rng = np.random.default_rng(1)
    truth = [("angry", "happy", "sad")[n % 3] for n in range(60)]
    speakers = [f"s{n % count}" for n in range(60)]
    wrong = 0
    for _ in range(100):
        comparison = paired_bootstrap(
            truth, random_answers(rng, 0.6, 60), random_answers(rng, 0.6, 60), speakers, draws=400
        )
        assert comparison.over == over
        wrong += comparison.verdict != "no difference"
    assert wrong <= 10  # of 100, where 5 are to be expected


def test_a_handful_of_clips_proves_nothing() -> None:
    right = np.ones(5, dtype=bool)
    comparison = paired_bootstrap(["sad"] * 5, ~right, right, ["s"] * 5)
    assert comparison.difference == 1.0
    assert comparison.words == "no difference that 5 clips can show"
    assert (
        paired_bootstrap(["sad"] * 6, ~np.ones(6, bool), np.ones(6, bool), ["s"] * 6).verdict
        == "better"
    )
    with pytest.raises(SerdemoError, match="at least one clip"):
        paired_bootstrap([], right[:0], right[:0], [])


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    truth = [("angry", "sad")[n % 2] for n in range(120)]
    speakers = [f"s{n % 12}" for n in range(120)]
    held = 0
    for _ in range(200):
        comparison = paired_bootstrap(
            truth,
            random_answers(rng, 0.5, 120),
            random_answers(rng, 0.65, 120),
            speakers,
            draws=300,
        )
        held += comparison.ci95[0] <= 0.15 <= comparison.ci95[1]
    assert 183 <= held <= 199  # of 200, where 190 are to be expected


def test_a_small_step_is_told_to_a_tenth() -> None:
    truth, speakers = ["sad"] * 2000, [f"s{n % 40}" for n in range(2000)]
    a = np.ones(2000, dtype=bool)
    a[: 99 * 20 : 99] = False  # 20 of 2000, of as many speakers
    comparison = paired_bootstrap(truth, a, np.ones(2000, dtype=bool), speakers)
    assert comparison.words == "better by 1.0 points, sure"
    assert comparison.points == "1.0 points"


def report(*rows: tuple[int, ...], **other: Any) -> dict[str, Any]:
    matrix = np.array(rows)
    counts = matrix.sum(1)
    uar = float(np.mean(np.diag(matrix)[counts > 0] / counts[counts > 0]))
    figures = {"uar": uar, "uar_ci95": (0.0, 1.0), "n": int(counts.sum()), "speakers": 1}
    return {"corpus": "voices", "confusion": rows, **figures, **other}


def test_a_result_by_itself_is_told_beside_guessing() -> None:
    (good,) = compare_to_chance([report((5, 0, 0), (0, 5, 0), (0, 0, 0), unseen_speakers=True)])
    assert good.better and good.verdict == "better than guessing, sure"
    # Of the three classes two were asked for: guesses are among those.
    assert "of 10 clips of 1 unseen speaker it recognises 100%" in good.why
    assert "averaged over 2 emotions" in good.why and good.why.endswith("guessing gives 50%")
    assert good.sentence == f"voices: {good.verdict}; {good.why}."
    for rows in (
        ((2, 0), (0, 2)),  # all right, but so is every 16th guess of four
        ((10, 0), (10, 0)),  # always the same answer
        ((6, 4), (4, 6)),
        ((10, 0), (0, 0)),  # of one class there is nothing to guess
    ):
        (comparison,) = compare_to_chance([report(*rows)])
        assert not comparison.better, rows
        clips = sum(map(sum, rows))
        assert comparison.verdict == f"no better than guessing, as far as {clips} clips can show"
        assert f"of {clips} clips of 1 speaker it" in comparison.why
    assert compare_to_chance([report((70, 30), (30, 70))])[0].better


def test_what_is_no_report_is_passed_over() -> None:
    assert (
        compare_to_chance([{}, None, {"eer": 0.1}, {**report((1, 0), (0, 1)), "n": "many"}]) == []
    )
