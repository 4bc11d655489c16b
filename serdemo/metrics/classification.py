"""How good the answers are: recall, accuracy, F1, intervals over speakers.

Rates lie in [0, 1]. Classification metrics are functions of a confusion matrix (K, K) with truth
in rows and answers in columns, so that a bootstrap draw is a weighted sum of matrices. Every
function raises SerdemoError on empty input or arrays that do not fit together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import SEVEN_CLASSES

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


def accuracy(matrix: NDArray[Any]) -> float:
    """Weighted accuracy: the share of right answers."""
    matrix, _ = _with_truth(matrix)
    return float(matrix.trace() / matrix.sum())


def macro_f1(matrix: NDArray[Any]) -> float:
    """Mean F1 over the classes present in the truth; a class never answered has F1 zero."""
    matrix, present = _with_truth(matrix)
    return float(np.mean(2 * matrix.diagonal()[present] / (matrix.sum(0) + matrix.sum(1))[present]))


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
