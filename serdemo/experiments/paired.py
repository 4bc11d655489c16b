"""Two ways of answering the same clips: recall of each, and the difference with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from serdemo.evaluation.predictions import PredictionSet
from serdemo.metrics.bootstrap import Bounds, draw_speakers, percentile_interval

DRAWS = 2000


@dataclass(frozen=True, slots=True, eq=False)
class Paired:
    """A base and another way, each with a UAR (fraction) for every seed, on one corpus.

    `drawn` is (D,) the other's UAR less the base's, in each of the draws.
    """

    clips: int
    speakers: int
    base: tuple[float, ...]
    other: tuple[float, ...]
    drawn: NDArray[np.float64] = field(repr=False)

    @property
    def difference(self) -> float:
        """The other's mean UAR less the base's."""
        return float(np.mean(self.other) - np.mean(self.base))

    @property
    def ci95(self) -> Bounds:
        """The 95 % interval of the difference."""
        return percentile_interval(self.drawn)


def pair(
    corpus: str, base: Sequence[PredictionSet], other: Sequence[PredictionSet]
) -> Paired | None:
    """Both on the clips of a corpus that all of their models answered; None without any.

    In each of the draws the seeds of either are drawn anew and, for both at once, the speakers (of
    one speaker, the clips).
    """
    sides = [[one.of(corpus) for one in side] for side in (base, other)]
    files = sorted(set.intersection(*(set(one.files) for side in sides for one in side)))
    if not files:
        return None
    first = dict(zip(sides[0][0].files, range(len(sides[0][0].files)), strict=True))
    truth = np.array([sides[0][0].truth[first[file]] for file in files])
    speakers = np.array([sides[0][0].speakers[first[file]] for file in files])
    right = [np.stack([_right(one, files) for one in side]) for side in sides]
    whole = np.ones((1, len(files)))
    rates = [_uar(truth, each.astype(float), whole).tolist() for each in right]
    drawn = _draws(truth, speakers, right)
    return Paired(len(files), len(set(speakers.tolist())), tuple(rates[0]), tuple(rates[1]), drawn)


def _right(answers: PredictionSet, files: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each of the files was answered rightly."""
    guess = np.array(answers.labels)[np.array(answers.probabilities).argmax(axis=1)]
    told = dict(zip(answers.files, guess == np.array(answers.truth), strict=True))
    return np.array([told[file] for file in files])


def _uar(
    truth: NDArray[np.str_], right: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """UAR (D,) of rows of right answers (D, N), each clip counting by `weight` (D or 1, N)."""
    of_class = (truth[:, None] == np.unique(truth)[None, :]).astype(float)
    clips = weight @ of_class
    share = ((right * weight) @ of_class) / np.maximum(clips, 1e-12)
    mean: NDArray[np.float64] = (share * (clips > 0)).sum(1) / (clips > 0).sum(1)
    return mean


def _draws(
    truth: NDArray[np.str_], speakers: NDArray[np.str_], right: Sequence[NDArray[np.bool_]]
) -> NDArray[np.float64]:
    rng = np.random.default_rng(0)
    _, owner = np.unique(speakers, return_inverse=True)
    groups = owner if owner.max() else np.arange(len(truth))
    count = int(groups.max()) + 1
    times = draw_speakers(count, DRAWS, rng)[:, groups].astype(float)
    drawn = []
    for rows in right:
        seeds = draw_speakers(len(rows), DRAWS, rng)
        drawn.append(_uar(truth, seeds @ rows / len(rows), times))
    difference: NDArray[np.float64] = drawn[1] - drawn[0]
    return difference
