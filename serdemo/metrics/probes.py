"""How much of an embedding is speaker and how much emotion: what a linear classifier can read off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serdemo.metrics import classification
from serdemo.metrics.clusters import single_thread, unit

FOLDS = 5


@dataclass(frozen=True, slots=True)
class Probe:
    """What logistic regression reads off embeddings of `n` clips it was not trained on.

    Rates are fractions; `chance_accuracy` is the share of the most frequent class, `chance_uar` one
    over the number of `classes`.
    """

    n: int
    classes: int
    accuracy: float
    uar: float
    chance_accuracy: float
    chance_uar: float

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, ready for JSON."""
        return asdict(self)


def linear() -> Any:
    """Logistic regression (L2, C = 1) on features brought to mean 0 and variance 1, not yet fitted."""
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
    """Cross-validated logistic regression (see `linear`) from (N, D) to N targets.

    With `groups` (N,) whole groups are left out, else clips of every target; up to five folds.
    Targets of a single clip are left out where clips are. None with fewer than two targets, or
    fewer than two groups.
    """
    from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_predict

    rows, names = unit(embeddings), np.asarray(targets)
    found, codes, counts = np.unique(names, return_inverse=True, return_counts=True)
    if groups is None:
        kept = counts[codes] > 1
        rows, names = rows[kept], names[kept]
        found, codes, counts = np.unique(names, return_inverse=True, return_counts=True)
    folds = min(FOLDS, len(set(groups)) if groups is not None else int(min(counts, default=0)))
    if len(found) < 2 or folds < 2:
        return None
    split = (
        StratifiedKFold(folds, shuffle=True, random_state=seed)
        if groups is None
        else GroupKFold(folds)
    )
    pairs = list(split.split(rows, codes, groups))
    if any(len(set(codes[train].tolist())) < 2 for train, _ in pairs):
        return None  # all that is left to learn from is one class
    with single_thread():
        said = cross_val_predict(linear(), rows, codes, cv=pairs)
    matrix = np.zeros((len(found), len(found)), dtype=np.int64)
    np.add.at(matrix, (codes, said), 1)
    return Probe(
        n=len(rows),
        classes=len(found),
        accuracy=classification.accuracy(matrix),
        uar=classification.uar(matrix),
        chance_accuracy=float(counts.max() / counts.sum()),
        chance_uar=1 / len(found),
    )


def probes(
    embeddings: NDArray[Any], speakers: Sequence[str], emotions: Sequence[str], seed: int = 0
) -> dict[str, Probe | None]:
    """What of N clips can be read off: `speaker` from other clips of the same speakers, `emotion`
    of speakers left out, and `emotion_centred`, that with each speaker's mean taken away.
    """
    rows, names = unit(embeddings), np.asarray(speakers)
    centred = rows.copy()
    for name in sorted(set(speakers)):
        centred[names == name] -= rows[names == name].mean(axis=0)
    return {
        "speaker": probe(rows, speakers, seed=seed),
        "emotion": probe(rows, emotions, speakers, seed),
        "emotion_centred": probe(centred, emotions, speakers, seed),
    }
