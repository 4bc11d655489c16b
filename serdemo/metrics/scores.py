"""Scores of predictions on labelled clips, with a bootstrap interval over speakers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from serdemo.metrics.bootstrap import bootstrap_draws, percentile_interval
from serdemo.metrics.calibration import calibration_error, check_rows
from serdemo.metrics.classification import (
    accuracy,
    check_same_length,
    class_of,
    confusion,
    macro_f1,
    uar,
)
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Record, is_known_speaker


@dataclass(frozen=True, slots=True)
class Scores(Record):
    """Metrics of predictions on `n` clips of `speakers` known speakers; rates are fractions.

    `wa` is the accuracy, `ece` the expected calibration error; `uar_ci95` is a bootstrap interval
    over `ci95_over`. `confusion` is (K, K) with the truth in rows, as nested tuples.
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
    """Score `probabilities` (N, K) of K `labels` against N true emotions of N `speakers`.

    The prediction is the argmax over all K labels. `class_of` maps true emotions to labels; clips
    without a class are left out, SerdemoError is raised when none is left. Give speakers as
    `corpus/speaker`: ids repeat across corpora. `clips` (N,) identifies clips that were classified
    several times; each counts once in `n`.
    """
    rows = np.asarray(probabilities, dtype=np.float64)
    clip_ids: Sequence[Any] = range(len(truth)) if clips is None else clips
    check_same_length(truth=truth, speakers=speakers, probabilities=rows, clips=clip_ids)
    classes = [class_of(emotion, labels) for emotion in truth]
    true_labels = [label for label in classes if label is not None]
    scored = [n for n, label in enumerate(classes) if label is not None]
    if not scored:
        raise SerdemoError(
            f"No clip has an emotion that this model knows ({', '.join(labels)}): score it on "
            "other clips."
        )
    truth_index = [labels.index(label) for label in true_labels]
    if rows.shape[1:] != (len(labels),):
        raise SerdemoError(f"Probabilities of shape {rows.shape} do not fit {len(labels)} labels.")
    rows, _ = check_rows(rows[scored], truth_index)
    predicted = [labels[index] for index in rows.argmax(1)]
    scored_speakers = [speakers[n] for n in scored]
    scored_clips = [clip_ids[n] for n in scored]
    matrix = confusion(true_labels, predicted, labels)
    values, over, _ = bootstrap_draws(
        true_labels, predicted, scored_speakers, clips=scored_clips, draws=draws, seed=seed
    )
    return Scores(
        labels=tuple(labels),
        n=len(set(scored_clips)),
        speakers=len(set(filter(is_known_speaker, scored_speakers))),
        uar=uar(matrix),
        wa=accuracy(matrix),
        macro_f1=macro_f1(matrix),
        uar_ci95=percentile_interval(values),
        ci95_over=over,
        ece=calibration_error(rows, truth_index),
        confusion=tuple(tuple(row) for row in matrix.tolist()),
    )
