"""Scores of predictions on labelled clips, with a bootstrap interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from serdemo.metrics.bootstrap import bootstrap_interval
from serdemo.metrics.calibration import calibration_error, rows_and_truth
from serdemo.metrics.classification import (
    _same_length,
    _take,
    accuracy,
    class_of,
    confusion,
    macro_f1,
    uar,
)
from serdemo.schema.errors import SerdemoError


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
        wa=accuracy(matrix),
        macro_f1=macro_f1(matrix),
        uar_ci95=(interval.low, interval.high),
        ci95_over=interval.over,
        ece=calibration_error(rows, truth_index),
        confusion=tuple(tuple(int(count) for count in row) for row in matrix),
    )
