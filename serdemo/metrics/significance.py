"""Which of two models answers better on the same clips, and whether that many clips can show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from serdemo.schema.errors import SerdemoError
from serdemo.schema.text import counted

DRAWS, LEVEL = 2000, 0.95
GUESSES = 20_000  # trials of guessing
MANY_SPEAKERS = 10  # from so many on, drawing speakers alone gives an interval wide enough
FEWEST_APART = 6  # clips that one alone got right: of fewer, chance may have given all to one side

Verdict = Literal["better", "worse", "no difference"]


Bounds = tuple[float, float]


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Two sets of answers to the same N clips; rates are fractions.

    UAR of both with its 95 % interval, that of their difference b - a, and what the bootstrap drew.
    The `verdict` is of b.
    """

    uar_a: float
    uar_b: float
    ci95_a: Bounds
    ci95_b: Bounds
    ci95: Bounds
    over: str
    verdict: Verdict
    n: int

    @property
    def difference(self) -> float:
        """The UAR of b less that of a."""
        return self.uar_b - self.uar_a

    @property
    def words(self) -> str:
        """The verdict as one says it: how much better or worse, or that it cannot be told."""
        if self.verdict == "no difference":
            return f"no difference that {counted(self.n, 'clip')} can show"
        return f"{self.verdict} by {self.points}, sure"

    @property
    def points(self) -> str:
        """How far they are apart, in points of UAR."""
        apart = 100 * abs(self.difference)
        return f"{apart:.0f} points" if apart >= 1.5 else f"{apart:.1f} points"


def paired_bootstrap(
    truth: Sequence[str],
    right_a: NDArray[np.bool_],
    right_b: NDArray[np.bool_],
    speakers: Sequence[str],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> PairedComparison:
    """Compare who was right (N,) on clips of N true classes and N speakers.

    The bootstrap draws speakers, each with all its clips; of few speakers it draws their clips
    anew as well, so that two or three who happen to agree do not pass for certainty, and of a
    single speaker clips alone. A verdict besides "no difference" needs an interval that leaves 0
    out and FEWEST_APART clips that only one of the two got right. Raises SerdemoError without clips.
    """
    if not len(truth) == len(right_a) == len(right_b) == len(speakers) > 0:
        raise SerdemoError("A comparison needs at least one clip, and the same ones for both.")
    rng = np.random.default_rng(seed)
    classes, which = np.unique(np.asarray(truth), return_inverse=True)
    of_class = np.eye(len(classes))[which]  # (N, K)
    columns = np.concatenate(
        [of_class, of_class * right_a[:, None], of_class * right_b[:, None]], axis=1
    )
    names, group = np.unique(np.asarray(speakers), return_inverse=True)
    count = len(names)
    over = "clips" if count == 1 else "speakers"
    if 1 < count < MANY_SPEAKERS:
        over = "speakers and their clips"
    times = rng.multinomial(count, np.full(count, 1 / count), size=draws)  # (draws, speakers)
    sums = np.zeros((draws, columns.shape[1]))
    for place in range(count):
        own = columns[group == place]
        if over == "speakers":
            sums += times[:, place, None] * own.sum(0)
        else:
            even = np.full(len(own), 1 / len(own))
            sums += rng.multinomial(times[:, place] * len(own), even) @ own
    drawn_a, drawn_b = _recalls(sums)
    stretch = _student_t_factor(count) if over == "speakers" else 1.0
    low, high = _interval(drawn_b - drawn_a, stretch)
    uar_a, uar_b = (float(value[0]) for value in _recalls(columns.sum(0)[None]))
    verdict: Verdict = "no difference"
    if np.count_nonzero(right_a != right_b) >= FEWEST_APART and (low > 0 or high < 0):
        verdict = "better" if low > 0 else "worse"
    return PairedComparison(
        uar_a=uar_a,
        uar_b=uar_b,
        ci95_a=_interval(drawn_a, stretch),
        ci95_b=_interval(drawn_b, stretch),
        ci95=(low, high),
        over=over,
        verdict=verdict,
        n=len(truth),
    )


def _student_t_factor(speakers: int) -> float:
    """How much wider an interval of so many draws must be: the mean of a dozen scatters as Student's
    t says, and what is drawn from them scatters less than they do."""
    tail = (1 + LEVEL) / 2
    return (
        float(stats.t.ppf(tail, speakers - 1) / stats.norm.ppf(tail))
        * (speakers / (speakers - 1)) ** 0.5
    )


def _interval(draws: NDArray[np.float64], stretch: float) -> Bounds:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    middle = draws.mean()
    return float(middle + stretch * (low - middle)), float(middle + stretch * (high - middle))


def _recalls(sums: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """UAR of both, (draws,), from (draws, 3 K): clips of each class, and right ones of either."""
    clips, right_a, right_b = np.split(sums, 3, axis=1)
    present = clips > 0
    share = present / present.sum(1, keepdims=True) / np.maximum(clips, 1)
    return (right_a * share).sum(1), (right_b * share).sum(1)


@dataclass(frozen=True, slots=True)
class ChanceComparison:
    """What a model is worth on a corpus beside guessing: a verdict, and what it rests on."""

    corpus: str
    better: bool
    verdict: str
    why: str

    @property
    def sentence(self) -> str:
        """All of it in words."""
        return f"{self.corpus}: {self.verdict}; {self.why}."


def compare_to_chance(reports: Sequence[Any]) -> list[ChanceComparison]:
    """What figures are worth where there is nothing else to compare them with.

    `reports` are dictionaries as `Report.to_json` gives them; what holds no such figures is left out.
    """
    return [one for report in reports if (one := _guessed(report)) is not None]


def _guessed(report: Any) -> ChanceComparison | None:
    try:
        matrix = np.asarray(report["confusion"], dtype=np.int64)
        clips = matrix.sum(1)
        right, clips = np.diag(matrix)[clips > 0], clips[clips > 0]
        low, high = (float(bound) for bound in report["uar_ci95"])
        rate, n, speakers = float(report["uar"]), int(report["n"]), int(report["speakers"])
        corpus, unseen = str(report["corpus"]), report.get("unseen_speakers") is True
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    better = _beyond_guessing(right, clips)
    verdict = "better than guessing, sure"
    if not better:
        verdict = f"no better than guessing, as far as {counted(n, 'clip')} can show"
    who = counted(speakers, "unseen speaker" if unseen else "speaker")
    why = (
        f"of {counted(n, 'clip')} of {who} it recognises {rate:.0%}, averaged over"
        f" {len(clips)} emotions (95 % interval {low:.0%} to {high:.0%}), where guessing gives"
        f" {1 / max(1, len(clips)):.0%}"
    )
    return ChanceComparison(corpus, better, verdict, why)


def _beyond_guessing(right: NDArray[np.int64], clips: NDArray[np.int64]) -> bool:
    """Whether guesses among the classes would so often be right, (K,) of (K,), in less than 1 of 40
    trials."""
    if len(clips) < 2:
        return False
    rng = np.random.default_rng(0)
    guesses = rng.binomial(clips, 1 / len(clips), size=(GUESSES, len(clips)))
    as_good = (guesses / clips).mean(1) >= (right / clips).mean() - 1e-9
    return float(as_good.mean()) < (1 - LEVEL) / 2
