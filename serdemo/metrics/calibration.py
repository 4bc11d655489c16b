"""Calibration of confidences: expected calibration error, temperature scaling, thresholds.

Every function raises SerdemoError on empty input or arrays of different lengths.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serdemo.schema.errors import SerdemoError

Floats = NDArray[np.float64]

TEMPERATURES = (0.05, 20.0)  # range of a fitted temperature
COVERAGE = 0.85  # share of predictions that count as sure


def calibration_error(probabilities: ArrayLike, truth_index: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error (Guo et al., arXiv 1706.04599) of `probabilities` (N, K).

    The mean gap between confidence (the largest probability) and accuracy over equally wide `bins`
    of confidence, open below and closed above, weighted by their clips. `truth_index` (N,) are the
    true classes.
    """
    rows, truth = check_rows(probabilities, truth_index)
    if bins < 1:
        raise SerdemoError("A calibration error needs at least one bin.")
    confidence = rows.max(1)
    gap = (rows.argmax(1) == truth) - confidence
    bin_index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return float(np.abs(np.bincount(bin_index, weights=gap, minlength=bins)).sum() / len(rows))


def fit_temperature(logits: ArrayLike, truth_index: ArrayLike) -> float:
    """Temperature T, within `TEMPERATURES`, that minimises the NLL of softmax(logits / T).

    `logits` (N, K), `truth_index` (N,). Where the loss has no minimum T is at an end of the range.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    rows, truth = check_rows(logits, truth_index)

    def loss(log_temperature: float) -> float:
        scores = log_softmax(rows / np.exp(log_temperature), axis=1)
        return -float(scores[np.arange(len(truth)), truth].mean())

    low, high = np.log(TEMPERATURES)
    best = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(best.x))


def threshold_for_coverage(confidences: ArrayLike, coverage: float) -> float:
    """Largest threshold that at least the share `coverage`, in (0, 1], of `confidences` (N,) reach."""
    values = np.sort(np.asarray(confidences, dtype=np.float64).ravel())[::-1]
    if not len(values) or not np.isfinite(values).all():
        raise SerdemoError("A threshold needs at least one confidence, and all of them finite.")
    if not 0 < coverage <= 1:
        raise SerdemoError(f"The coverage is {coverage}: it must lie above 0 and not above 1.")
    # The small slack keeps 0.7 * 10 from rounding up to 8.
    return float(values[max(int(np.ceil(coverage * len(values) - 1e-9)), 1) - 1])


def check_rows(values: ArrayLike, truth_index: ArrayLike) -> tuple[Floats, NDArray[np.intp]]:
    """`values` (N, K) as float64 and `truth_index` (N,) as integers below K, both checked."""
    rows = np.asarray(values, dtype=np.float64)
    truth = np.asarray(truth_index)
    if rows.ndim != 2 or not rows.size or truth.shape != rows.shape[:1]:
        raise SerdemoError(
            f"Values of shape {rows.shape} and truth of shape {truth.shape} do not fit: "
            "(clips, labels) and (clips,) with at least one clip are needed."
        )
    if not np.isfinite(rows).all():
        raise SerdemoError("The model's output holds values that are not finite.")
    if truth.dtype.kind not in "iu" or truth.min() < 0 or truth.max() >= rows.shape[1]:
        raise SerdemoError(f"A true index must be a whole number from 0 to {rows.shape[1] - 1}.")
    return rows, truth.astype(np.intp)
