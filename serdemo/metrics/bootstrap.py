"""Bootstrap intervals over speakers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from serdemo.metrics.classification import Metric, _same_length, _take, confusion, uar
from serdemo.schema.errors import SerdemoError


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
