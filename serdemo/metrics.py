"""How good the answers are: recall, accuracy, F1, intervals over speakers.

Rates lie in [0, 1]. Classification metrics are functions of a confusion matrix (K, K) with truth
in rows and answers in columns, so that a bootstrap draw is a weighted sum of matrices. Every
function raises SerdemoError on empty input or arrays that do not fit together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serdemo.calibration import calibration_error, rows_and_truth
from serdemo.schema import SEVEN_CLASSES, SerdemoError

Metric = Callable[[NDArray[Any]], float]


def class_of(emotion: str, labels: Sequence[str]) -> str | None:
    """The label that counts as right for `emotion`, or None where the clip is to be left out.

    A label itself where it is one of `labels`; else by `SEVEN_CLASSES`, so that calm counts as
    neutral and boredom is left out.
    """
    if emotion in labels:
        return emotion
    counted_as = SEVEN_CLASSES.get(emotion)
    return counted_as if counted_as in labels else None


def confusion(
    truth: Sequence[str], predicted: Sequence[str], labels: Sequence[str]
) -> NDArray[np.int64]:
    """Counts (K, K): row the true label, column the answer, in the order of `labels`.

    Raises SerdemoError for a label that is not among `labels`.
    """
    index = {label: place for place, label in enumerate(labels)}
    _same_length(truth=truth, predicted=predicted)
    if strange := sorted({*truth, *predicted} - set(index)):
        raise SerdemoError(
            f"{strange[0]!r} is not among the labels {', '.join(labels)}: map or leave out such "
            "clips first."
        )
    counts = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for true, answer in zip(truth, predicted, strict=True):
        counts[index[true], index[answer]] += 1
    return counts


def uar(matrix: NDArray[Any]) -> float:
    """Unweighted average recall over the classes present in the truth (balanced accuracy)."""
    matrix, present = _with_truth(matrix)
    return float(np.mean(matrix.diagonal()[present] / matrix.sum(1)[present]))


def wa(matrix: NDArray[Any]) -> float:
    """Weighted accuracy: the share of right answers."""
    matrix, _ = _with_truth(matrix)
    return float(matrix.trace() / matrix.sum())


def macro_f1(matrix: NDArray[Any]) -> float:
    """Mean F1 over the classes present in the truth; a class never answered has F1 zero."""
    matrix, present = _with_truth(matrix)
    return float(np.mean(2 * matrix.diagonal()[present] / (matrix.sum(0) + matrix.sum(1))[present]))


@dataclass(frozen=True, slots=True)
class Interval:
    """A bootstrap interval; `over` says what was drawn, `draws_from` how many of them there are."""

    low: float
    high: float
    over: Literal["speakers", "clips"]
    draws_from: int


def bootstrap_interval(
    truth: Sequence[str],
    predicted: Sequence[str],
    groups: Sequence[str],
    metric: Metric = uar,
    *,
    clips: Sequence[str] | None = None,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of `metric` over `bootstrap_draws`."""
    if not 0 < level < 1:
        raise SerdemoError("An interval needs a level between 0 and 1.")
    values, over, count = bootstrap_draws(
        truth, predicted, groups, metric, clips=clips, draws=draws, seed=seed
    )
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), over, count)


def bootstrap_draws(
    truth: Sequence[str],
    predicted: Sequence[str],
    groups: Sequence[str],
    metric: Metric = uar,
    *,
    clips: Sequence[str] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[NDArray[np.float64], Literal["speakers", "clips"], int]:
    """`metric` in each of `draws` (draws,), whole groups (speakers) drawn with replacement; what
    was drawn, and of how many.

    Clips of one speaker are alike, so drawing clips would give too narrow an interval; with a
    single speaker there is no other way, and the second value then is `clips`. `clips` names them where some were answered several times, so that a clip is drawn with all its answers.
    """
    names = range(len(truth)) if clips is None else clips
    _same_length(truth=truth, predicted=predicted, groups=groups, clips=names)
    if draws < 1:
        raise SerdemoError("An interval needs at least one draw.")
    labels = sorted({*truth, *predicted})
    over: Literal["speakers", "clips"] = "clips" if len(set(groups)) == 1 else "speakers"
    places: dict[Any, list[int]] = {}
    for place, drawn in enumerate(names if over == "clips" else groups):
        places.setdefault(drawn, []).append(place)
    counts = np.stack(
        [
            confusion(_take(places[drawn], truth), _take(places[drawn], predicted), labels)
            for drawn in sorted(places)
        ]
    )
    even = np.full(len(counts), 1 / len(counts))
    weights = np.random.default_rng(seed).multinomial(len(counts), even, size=draws)
    values = [metric(matrix) for matrix in np.tensordot(weights, counts, axes=1)]
    return np.array(values), over, len(counts)


@dataclass(frozen=True, slots=True)
class Scores:
    """What a set of answers is worth; `n` counts the clips scored, `speakers` their speakers.

    `uar_ci95` is drawn over `ci95_over`. `confusion` is (K, K), truth in rows, as nested tuples.
    """

    labels: tuple[str, ...]
    n: int
    speakers: int
    uar: float
    wa: float
    macro_f1: float
    uar_ci95: tuple[float, float]
    ci95_over: Literal["speakers", "clips"]
    ece: float
    confusion: tuple[tuple[int, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, ready for JSON."""
        return asdict(self)


def score(
    truth: Sequence[str],
    probabilities: ArrayLike,
    labels: Sequence[str],
    speakers: Sequence[str],
    *,
    clips: Sequence[str] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Scores:
    """Score (N, K) probabilities of `labels` against N true emotions of N `speakers`.

    The answer is the argmax over all K labels, whichever of them the truth holds. Emotions count
    as `class_of` says; give speakers as `corpus/speaker`, since ids repeat across corpora. `clips`
    names the clips where some were answered several times; each counts once in `n`.

    Raises SerdemoError when no clip is left to score.
    """
    rows = np.asarray(probabilities, dtype=np.float64)
    named_clips = range(len(truth)) if clips is None else clips
    _same_length(truth=truth, speakers=speakers, probabilities=rows, clips=named_clips)
    counted = [class_of(emotion, labels) for emotion in truth]
    kept = [place for place, label in enumerate(counted) if label is not None]
    if not kept:
        raise SerdemoError(
            f"No clip has an emotion that this model knows ({', '.join(labels)}): score it on "
            "other clips."
        )
    right, who = [label for label in counted if label is not None], _take(kept, speakers)
    truth_index = [labels.index(label) for label in right]
    if rows.shape[1:] != (len(labels),):
        raise SerdemoError(f"Probabilities of shape {rows.shape} do not fit {len(labels)} labels.")
    rows, _ = rows_and_truth(rows[kept], truth_index)
    predicted = [labels[place] for place in rows.argmax(1)]
    matrix = confusion(right, predicted, labels)
    named = None if clips is None else _take(kept, clips)
    interval = bootstrap_interval(right, predicted, who, uar, clips=named, draws=draws, seed=seed)
    return Scores(
        labels=tuple(labels),
        n=len(kept) if named is None else len(set(named)),
        speakers=len(set(who)),
        uar=uar(matrix),
        wa=wa(matrix),
        macro_f1=macro_f1(matrix),
        uar_ci95=(interval.low, interval.high),
        ci95_over=interval.over,
        ece=calibration_error(rows, truth_index),
        confusion=tuple(tuple(int(count) for count in row) for row in matrix),
    )


def eer(scores: ArrayLike, same: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Equal error rate of a verification: where as many same pairs are refused as others accepted.

    `scores` (N,) are higher for pairs that are more alike, `same` (N,) says which are of one
    speaker, `weights` (N,) how much each counts. Between two thresholds the rates go in a straight
    line. Raises SerdemoError unless pairs of both kinds weigh something.
    """
    values, kind = np.asarray(scores, dtype=np.float64), np.asarray(same, dtype=bool)
    weight = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    _same_length(scores=values, same=kind, weights=weight)
    order = np.argsort(values, kind="stable")
    steps = np.append(np.diff(values[order]) > 0, True)  # thresholds above each different score
    refused, passed = (np.cumsum((weight * chosen)[order])[steps] for chosen in (kind, ~kind))
    if not refused[-1] > 0 or not passed[-1] > 0 or not np.isfinite(values).all():
        raise SerdemoError(
            "An equal error rate needs pairs of one speaker and pairs of two, with finite scores."
        )
    refused = np.append(0.0, refused / refused[-1])
    gap = 1 - np.append(0.0, passed / passed[-1]) - refused  # falls from 1 to -1
    after = int(np.argmax(gap <= 0))
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    return float(refused[after - 1] + share * (refused[after] - refused[after - 1]))


def _take(places: Sequence[int], column: Sequence[str]) -> list[str]:
    return [column[place] for place in places]


def _with_truth(matrix: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The matrix and which of its classes the truth holds."""
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.sum() > 0:
        raise SerdemoError("A score needs at least one clip, counted in a square matrix.")
    return matrix, matrix.sum(1) > 0


def _same_length(**columns: Any) -> None:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        raise SerdemoError(
            "A score needs at least one clip and the same number everywhere, not "
            + ", ".join(f"{count} of {name}" for name, count in lengths.items())
            + "."
        )
