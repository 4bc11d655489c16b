"""Classification metrics: accuracy, unweighted average recall, macro F1.

Rates lie in [0, 1]. Metrics are functions of a confusion matrix (K, K) with the truth in rows and
predictions in columns, so that a bootstrap draw is a weighted sum of matrices. Every function
raises SerdemoError on empty input or arrays of different lengths.
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
    """Class among `labels` of an `emotion`, itself or by `SEVEN_CLASSES`; None where it has none."""
    if emotion in labels:
        return emotion
    counted_as = SEVEN_CLASSES.get(emotion)
    return counted_as if counted_as in labels else None


def confusion(
    truth: Sequence[str], predicted: Sequence[str], labels: Sequence[str]
) -> NDArray[np.int64]:
    """Confusion matrix (K, K) of counts, rows and columns in the order of the K `labels`.

    Raises SerdemoError for a label that is not among `labels`.
    """
    check_same_length(truth=truth, predicted=predicted)
    index = {label: position for position, label in enumerate(labels)}
    if unknown := sorted({*truth, *predicted} - set(index)):
        raise SerdemoError(
            f"{unknown[0]!r} is not among the labels {', '.join(labels)}: map or leave out such "
            "clips first."
        )
    counts = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(counts, ([index[name] for name in truth], [index[name] for name in predicted]), 1)
    return counts


def uar(matrix: NDArray[Any]) -> float:
    """Unweighted average recall over the classes present in the truth (balanced accuracy)."""
    matrix, present = _with_truth(matrix)
    return float(np.mean(matrix.diagonal()[present] / matrix.sum(1)[present]))


def accuracy(matrix: NDArray[Any]) -> float:
    """Accuracy (called weighted accuracy, WA, in the field): the share of correct predictions."""
    matrix, _ = _with_truth(matrix)
    return float(matrix.trace() / matrix.sum())


def macro_f1(matrix: NDArray[Any]) -> float:
    """Mean F1 over the classes present in the truth; a class never predicted has F1 zero."""
    matrix, present = _with_truth(matrix)
    return float(np.mean(2 * matrix.diagonal()[present] / (matrix.sum(0) + matrix.sum(1))[present]))


def _with_truth(matrix: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The matrix as an array, and a mask (K,) of the classes that occur in the truth."""
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.sum() > 0:
        raise SerdemoError("A score needs at least one clip, counted in a square matrix.")
    return matrix, matrix.sum(1) > 0


def check_same_length(**columns: Any) -> None:
    """Raise SerdemoError unless all columns, given by name, have the same length of at least one."""
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        raise SerdemoError(
            "A score needs at least one clip and the same number everywhere, not "
            + ", ".join(f"{count} of {name}" for name, count in lengths.items())
            + "."
        )
