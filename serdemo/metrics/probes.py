"""Linear probes: how well logistic regression predicts speaker and emotion from embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serdemo.metrics import classification
from serdemo.metrics.clusters import rows_by_name, single_thread, unit_rows
from serdemo.schema.types import Record

FOLDS = 5


@dataclass(frozen=True, slots=True)
class Probe(Record):
    """Cross-validated result of a linear probe on `n` clips; rates are fractions.

    `chance_accuracy` is the share of the most frequent class, `chance_uar` is 1 / `classes`.
    """

    n: int
    classes: int
    accuracy: float
    uar: float
    chance_accuracy: float
    chance_uar: float


def linear() -> Any:
    """Unfitted logistic regression (L2, C = 1) on standardised features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def probe(
    embeddings: NDArray[Any],
    targets: Sequence[str],
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> Probe | None:
    """Cross-validate `linear` from `embeddings` (N, D) to N `targets`, in up to five folds.

    With `groups` (N,) a fold holds out whole groups, else clips of every target; targets of a
    single clip are then left out. None with fewer than two targets or fewer than two groups.
    """
    from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_predict

    rows, names = unit_rows(embeddings), np.asarray(targets)
    if groups is None:
        _, codes, counts = np.unique(names, return_inverse=True, return_counts=True)
        repeated = counts[codes] > 1
        rows, names = rows[repeated], names[repeated]
    classes, codes, counts = np.unique(names, return_inverse=True, return_counts=True)
    folds = min(FOLDS, len(set(groups)) if groups is not None else int(min(counts, default=0)))
    if len(classes) < 2 or folds < 2:
        return None
    if groups is None:
        splitter: Any = StratifiedKFold(folds, shuffle=True, random_state=seed)
    else:
        splitter = GroupKFold(folds)
    splits = list(splitter.split(rows, codes, groups))
    if any(len(set(codes[train].tolist())) < 2 for train, _ in splits):
        return None  # a fold would train on a single class
    with single_thread():
        predicted = cross_val_predict(linear(), rows, codes, cv=splits)
    labels = classes.tolist()
    matrix = classification.confusion(names.tolist(), [labels[code] for code in predicted], labels)
    return Probe(
        n=len(rows),
        classes=len(classes),
        accuracy=classification.accuracy(matrix),
        uar=classification.uar(matrix),
        chance_accuracy=float(counts.max() / counts.sum()),
        chance_uar=1 / len(classes),
    )


def probes(
    embeddings: NDArray[Any], speakers: Sequence[str], emotions: Sequence[str], seed: int = 0
) -> dict[str, Probe | None]:
    """Probes of N clips: `speaker`, tested on other clips of the same speakers, `emotion`, on held-out
    speakers, and `emotion_centred`, with each speaker's mean embedding subtracted."""
    rows = unit_rows(embeddings)
    centred = rows.copy()
    for own in rows_by_name(speakers).values():
        centred[own] -= rows[own].mean(axis=0)
    return {
        "speaker": probe(rows, speakers, seed=seed),
        "emotion": probe(rows, emotions, speakers, seed),
        "emotion_centred": probe(centred, emotions, speakers, seed),
    }
