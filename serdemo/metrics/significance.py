"""Significance tests: a paired bootstrap between two models, and a model against chance."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from serdemo.metrics.bootstrap import LEVEL, Bounds, draw_speakers, percentile_interval
from serdemo.schema.errors import SerdemoError
from serdemo.schema.text import counted, counted_speakers

DRAWS = 2000
CHANCE_DRAWS = 20_000  # simulated sets of random guesses
MANY_SPEAKERS = 10  # from so many on, resampling speakers alone gives an interval wide enough
MIN_DISCORDANT = 6  # clips that only one model got right: of fewer, chance may favour one side

Outcome = Literal["better", "worse", "no difference"]


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Comparison of models a and b on the same `n` clips: UAR with 95 % intervals, as fractions.

    `ci95` is the interval of b - a, `over` the resampled unit; b is `verdict` than a.
    """

    uar_a: float
    uar_b: float
    ci95_a: Bounds
    ci95_b: Bounds
    ci95: Bounds
    over: str
    verdict: Outcome
    n: int

    @property
    def difference(self) -> float:
        """UAR of b minus that of a."""
        return self.uar_b - self.uar_a

    @property
    def words(self) -> str:
        """The verdict as a phrase for people, with the size of a significant difference."""
        if self.verdict == "no difference":
            return f"no difference that {counted(self.n, 'clip')} can show"
        return f"{self.verdict} by {self.points}, sure"

    @property
    def points(self) -> str:
        """Absolute difference in points of UAR, as text."""
        points = 100 * abs(self.difference)
        return f"{points:.0f} points" if points >= 1.5 else f"{points:.1f} points"


def paired_bootstrap(
    truth: Sequence[str],
    right_a: NDArray[np.bool_],
    right_b: NDArray[np.bool_],
    speakers: Sequence[str],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> PairedComparison:
    """Compare two models by whether each was right, `right_a` and `right_b` (N,), on N clips.

    The bootstrap resamples speakers with all their clips; below `MANY_SPEAKERS` each speaker's
    clips as well, since two or three may agree by chance; of one speaker, clips alone. A verdict
    other than "no difference" needs an interval without 0 and `MIN_DISCORDANT` clips that only one
    of the two got right. Raises SerdemoError without clips.
    """
    if not len(truth) == len(right_a) == len(right_b) == len(speakers) > 0:
        raise SerdemoError("A comparison needs at least one clip, and the same ones for both.")
    rng = np.random.default_rng(seed)
    classes, class_index = np.unique(np.asarray(truth), return_inverse=True)
    one_hot = np.eye(len(classes))[class_index]  # (N, K)
    columns = np.concatenate(
        [one_hot, one_hot * right_a[:, None], one_hot * right_b[:, None]], axis=1
    )
    names, speaker_index = np.unique(np.asarray(speakers), return_inverse=True)
    n_speakers = len(names)
    over = "clips" if n_speakers == 1 else "speakers"
    if 1 < n_speakers < MANY_SPEAKERS:
        over = "speakers and their clips"
    times = draw_speakers(n_speakers, draws, rng)
    sums = np.zeros((draws, columns.shape[1]))
    for n in range(n_speakers):
        rows = columns[speaker_index == n]
        if over == "speakers":
            sums += times[:, n, None] * rows.sum(0)
        else:
            even = np.full(len(rows), 1 / len(rows))
            sums += rng.multinomial(times[:, n] * len(rows), even) @ rows
    drawn_a, drawn_b = _recalls(sums)
    factor = _student_t_factor(n_speakers) if over == "speakers" else 1.0
    low, high = _widened_interval(drawn_b - drawn_a, factor)
    uar_a, uar_b = (float(value[0]) for value in _recalls(columns.sum(0)[None]))
    verdict: Outcome = "no difference"
    if np.count_nonzero(right_a != right_b) >= MIN_DISCORDANT and (low > 0 or high < 0):
        verdict = "better" if low > 0 else "worse"
    return PairedComparison(
        uar_a=uar_a,
        uar_b=uar_b,
        ci95_a=_widened_interval(drawn_a, factor),
        ci95_b=_widened_interval(drawn_b, factor),
        ci95=(low, high),
        over=over,
        verdict=verdict,
        n=len(truth),
    )


def _widened_interval(values: NDArray[np.float64], factor: float) -> Bounds:
    """Percentile interval of `values` (draws,), stretched about their mean by `factor`."""
    low, high = percentile_interval(values)
    mean = float(values.mean())
    return mean + factor * (low - mean), mean + factor * (high - mean)


def _student_t_factor(n_speakers: int) -> float:
    """Factor that widens a percentile interval over few speakers.

    The ratio of Student's t and normal quantiles, times sqrt(n / (n - 1)): a resample of n speakers
    scatters less than n new speakers would.
    """
    from scipy import stats

    tail = (1 + LEVEL) / 2
    ratio = float(stats.t.ppf(tail, n_speakers - 1) / stats.norm.ppf(tail))
    return ratio * (n_speakers / (n_speakers - 1)) ** 0.5


def _recalls(sums: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """UAR of both models, (draws,) each, from `sums` (draws, 3 K).

    The columns count, for each of K classes, all clips, those that a got right, and those that b did.
    """
    clips, right_a, right_b = np.split(sums, 3, axis=1)
    present = clips > 0
    share = present / present.sum(1, keepdims=True) / np.maximum(clips, 1)
    return (right_a * share).sum(1), (right_b * share).sum(1)


@dataclass(frozen=True, slots=True)
class ChanceComparison:
    """Comparison of a model's UAR (a fraction) with chance on the `n` clips of a corpus.

    `better` is significantly above chance; `n_classes` have clips.
    """

    corpus: str
    better: bool
    uar: float
    ci95: Bounds
    n: int
    speakers: int
    unseen_speakers: bool
    n_classes: int

    @property
    def verdict(self) -> str:
        """The verdict as a phrase for people."""
        if self.better:
            return "better than guessing, sure"
        return f"no better than guessing, as far as {counted(self.n, 'clip')} can show"

    @property
    def why(self) -> str:
        """The figures behind the verdict, as text."""
        speakers = counted_speakers(self.speakers, unseen=self.unseen_speakers)
        low, high = self.ci95
        return (
            f"of {counted(self.n, 'clip')} of {speakers} it recognises {self.uar:.0%}, averaged over"
            f" {self.n_classes} emotions (95 % interval {low:.0%} to {high:.0%}), where guessing gives"
            f" {1 / max(1, self.n_classes):.0%}"
        )

    @property
    def sentence(self) -> str:
        """Corpus, verdict and figures in one sentence."""
        return f"{self.corpus}: {self.verdict}; {self.why}."


def compare_to_chance(reports: Sequence[Any]) -> list[ChanceComparison]:
    """Compare the scores in each report with random guessing.

    `reports` are dictionaries as `Report.to_json` gives them; those without scores are skipped.
    """
    comparisons = []
    for report in reports:
        with suppress(AttributeError, KeyError, TypeError, ValueError):
            matrix = np.asarray(report["confusion"], dtype=np.int64)
            clips = matrix.sum(1)
            correct, clips = np.diag(matrix)[clips > 0], clips[clips > 0]
            low, high = map(float, report["uar_ci95"])
            comparison = ChanceComparison(
                corpus=str(report["corpus"]),
                better=_beats_chance(correct, clips),
                uar=float(report["uar"]),
                ci95=(low, high),
                n=int(report["n"]),
                speakers=int(report["speakers"]),
                unseen_speakers=report.get("unseen_speakers") is True,
                n_classes=len(clips),
            )
            comparisons.append(comparison)
    return comparisons


def _beats_chance(correct: NDArray[np.int64], clips: NDArray[np.int64]) -> bool:
    """Whether uniform guesses reach this UAR in less than 1 of 40 simulations (p < 0.025).

    `correct` (K,) of `clips` (K,) of each class.
    """
    if len(clips) < 2:
        return False
    rng = np.random.default_rng(0)
    guesses = rng.binomial(clips, 1 / len(clips), size=(CHANCE_DRAWS, len(clips)))
    as_good = (guesses / clips).mean(1) >= (correct / clips).mean() - 1e-9
    return float(as_good.mean()) < (1 - LEVEL) / 2
