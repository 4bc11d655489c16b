"""Bootstrap over speakers: resampling and percentile intervals.

Clips of one speaker are alike, so resampling clips would give too narrow an interval. Whole
speakers are drawn with replacement; only with a single speaker are clips drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serdemo.metrics.classification import Metric, check_same_length, uar
from serdemo.schema.errors import SerdemoError

LEVEL = 0.95

Bounds = tuple[float, float]
Unit = Literal["speakers", "clips"]


def draw_speakers(n_speakers: int, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Counts (draws, n_speakers) of each speaker in resamples of `n_speakers` with replacement."""
    return rng.multinomial(n_speakers, np.full(n_speakers, 1 / n_speakers), size=draws)


def percentile_interval(values: ArrayLike, level: float = LEVEL) -> Bounds:
    """Percentile interval of a statistic's bootstrap `values` (draws,)."""
    if not 0 < level < 1:
        raise SerdemoError("An interval needs a level between 0 and 1.")
    low, high = np.quantile(
        np.asarray(values, dtype=np.float64), ((1 - level) / 2, (1 + level) / 2)
    )
    return float(low), float(high)


def bootstrap_draws(
    truth: Sequence[str],
    predicted: Sequence[str],
    groups: Sequence[str],
    metric: Metric = uar,
    *,
    clips: Sequence[str] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[NDArray[np.float64], Unit, int]:
    """Values (draws,) of `metric` over resamples, the resampled unit, and the number of units.

    `groups` (N,) are the speakers. `clips` (N,) identifies clips that were classified several times
    (by several models); with a single speaker a clip is drawn with all its predictions.
    """
    names: Sequence[Any] = range(len(truth)) if clips is None else clips
    check_same_length(truth=truth, predicted=predicted, groups=groups, clips=names)
    if draws < 1:
        raise SerdemoError("An interval needs at least one draw.")
    over: Unit = "clips" if len(set(groups)) == 1 else "speakers"
    _, unit = np.unique(np.asarray(names if over == "clips" else groups), return_inverse=True)
    labels, codes = np.unique(np.asarray([*truth, *predicted]), return_inverse=True)
    n_units, n_labels = int(unit.max()) + 1, len(labels)
    matrices = np.zeros((n_units, n_labels, n_labels), dtype=np.int64)
    np.add.at(matrices, (unit, codes[: len(truth)], codes[len(truth) :]), 1)
    times = draw_speakers(n_units, draws, np.random.default_rng(seed))
    values = [metric(matrix) for matrix in np.tensordot(times, matrices, axes=1)]
    return np.array(values), over, n_units
