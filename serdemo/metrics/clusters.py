"""Clusters of embeddings compared with emotions, within each speaker and over all clips.

Everything is computed on embeddings (N, D) scaled to length 1, so distances are those of cosines.
Clustering never sees an emotion. Functions raise SerdemoError for embeddings that are not finite
or columns of different lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serdemo.metrics.classification import check_same_length
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Record

CLUSTER_COUNTS = tuple(range(3, 11))  # candidate numbers of clusters
SHUFFLES = 20
KMEANS_INITS = 4
MAX_SILHOUETTE_CLIPS = 3000  # a random sample of more clips

Rows = NDArray[np.float64]
Codes = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of clusters with emotions; a value is None where it is not defined.

    NMI and ARI are 1 for identical partitions and about 0 by chance. Purity is the share of clips
    whose emotion is the most frequent one of their cluster. `silhouette`, -1 to 1, treats emotions
    as clusters.
    """

    nmi: float | None = None
    ari: float | None = None
    purity: float | None = None
    silhouette: float | None = None


@dataclass(frozen=True, slots=True)
class Analysis(Record):
    """Agreement of clusters with emotions on `n` clips.

    `per_speaker` is the mean over the `scored_speakers`, those with clips of two emotions; `pooled`
    clusters all clips as one speaker's. `shuffled` and `pooled_shuffled` are the same with the
    emotions permuted: the level of chance. `clusters` is the mean number of clusters of a speaker,
    `cluster_silhouette` their mean silhouette.
    """

    n: int
    speakers: int
    scored_speakers: int
    emotions: tuple[str, ...]
    clusters: float
    cluster_silhouette: float | None
    per_speaker: Agreement
    pooled: Agreement
    shuffled: Agreement
    pooled_shuffled: Agreement


def unit_rows(embeddings: NDArray[Any]) -> Rows:
    """Scale rows (N, D) to length 1; a row of zeros stays as it is."""
    rows = np.asarray(embeddings, dtype=np.float64)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise SerdemoError("Embeddings must be rows of as many finite numbers each.")
    return rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(min=1e-12)


def single_thread() -> AbstractContextManager[Any]:
    """Limit linear algebra to one thread: on small matrices several are up to ten times slower."""
    from threadpoolctl import threadpool_limits

    for module in ("cluster", "metrics"):  # only libraries that are loaded already are limited
        import_module(f"sklearn.{module}")
    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits


def k_means(rows: Rows, k: int, seed: int = 0) -> Codes:
    """Clusters (N,) of `rows` (N, D) by k-means; at most as many as there are different rows."""
    from sklearn.cluster import KMeans

    k = min(k, len(np.unique(rows, axis=0)))
    if k < 2:
        return np.zeros(len(rows), dtype=np.intp)
    labels: Codes = KMeans(k, n_init=KMEANS_INITS, random_state=seed).fit(rows).labels_
    return labels.astype(np.intp)


def silhouette(rows: Rows, groups: Codes, seed: int = 0) -> float | None:
    """Mean silhouette of `groups` (N,) in `rows` (N, D), of a sample where there are many clips.

    None for one group, or one for each clip.
    """
    from sklearn.metrics import silhouette_score

    if len(rows) > MAX_SILHOUETTE_CLIPS:
        rng = np.random.default_rng(seed)
        sample = rng.choice(len(rows), MAX_SILHOUETTE_CLIPS, replace=False)
        rows, groups = rows[sample], groups[sample]
    if not 2 <= len(np.unique(groups)) < len(rows):
        return None
    return float(silhouette_score(rows, groups))


def cluster(rows: Rows, k: int = 0, seed: int = 0) -> Codes:
    """Clusters (N,) of `rows` (N, D): `k` of them or, for k = 0, the number with the best silhouette
    among `CLUSTER_COUNTS`; one where there are too few different clips."""
    if k:
        return k_means(rows, k, seed)
    best_score, best = -2.0, np.zeros(len(rows), dtype=np.intp)
    n_different = len(np.unique(rows, axis=0))
    for count in (n for n in CLUSTER_COUNTS if n < n_different):
        candidate = k_means(rows, count, seed)
        score = silhouette(rows, candidate, seed)
        if score is not None and score > best_score:
            best_score, best = score, candidate
    return best


def within_speakers(
    embeddings: NDArray[Any], speakers: Sequence[str], k: int = 0, seed: int = 0
) -> Codes:
    """Clusters (N,) of each speaker's clips, numbered from 0 for every speaker."""
    rows = unit_rows(embeddings)
    check_same_length(embeddings=rows, speakers=speakers)
    clusters = np.zeros(len(rows), dtype=np.intp)
    with single_thread():
        for indices in rows_by_name(speakers).values():
            clusters[indices] = cluster(rows[indices], k, seed)
    return clusters


def agreement(clusters: Sequence[int] | Codes, emotions: Sequence[Any] | Codes) -> Agreement:
    """NMI (arithmetic mean), ARI and purity of `clusters` (N,) against `emotions` (N,).

    All are None for fewer than two emotions. Raises SerdemoError for different lengths.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
    from sklearn.metrics.cluster import contingency_matrix

    if len(clusters) != len(emotions):
        raise SerdemoError(f"{len(clusters)} clusters and {len(emotions)} emotions do not fit.")
    codes = np.unique(np.asarray(emotions), return_inverse=True)[1]
    if len(codes) == 0 or codes.max() == 0:
        return Agreement()
    counts = contingency_matrix(codes, clusters)
    return Agreement(
        nmi=float(normalized_mutual_info_score(codes, clusters)),
        ari=float(adjusted_rand_score(codes, clusters)),
        purity=float(counts.max(axis=0).sum() / counts.sum()),
    )


def analyse(
    embeddings: NDArray[Any],
    speakers: Sequence[str],
    emotions: Sequence[str],
    k: int = 0,
    *,
    shuffles: int = SHUFFLES,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> Analysis:
    """Compare the clusters of N clips with their emotions, per speaker and over all clips.

    `k` is as in `cluster`, `progress` receives the number of speakers done. Raises SerdemoError
    where no speaker has clips of two emotions.
    """
    rows, names = unit_rows(embeddings), np.asarray(emotions)
    if len(rows):
        check_same_length(embeddings=rows, speakers=speakers, emotions=emotions)
    by_speaker = rows_by_name(speakers)
    scored = [indices for indices in by_speaker.values() if len(np.unique(names[indices])) > 1]
    if not scored:
        raise SerdemoError(
            "No speaker here has clips of two emotions, so there is nothing to compare clusters with."
        )
    agreements, chance, counts, silhouettes = [], [], [], []
    with single_thread():
        for done, indices in enumerate(scored, start=1):
            clusters = cluster(rows[indices], k, seed)
            counts.append(len(set(clusters.tolist())))
            silhouettes.append(silhouette(rows[indices], clusters, seed))
            real, shuffled = compare(rows[indices], clusters, names[indices], shuffles, seed)
            agreements.append(real)
            chance.append(shuffled)
            progress(done)
        pooled, pooled_shuffled = compare(rows, cluster(rows, k, seed), names, shuffles, seed)
    return Analysis(
        n=len(rows),
        speakers=len(by_speaker),
        scored_speakers=len(scored),
        emotions=tuple(sorted(set(emotions))),
        clusters=float(np.mean(counts)),
        cluster_silhouette=_mean(silhouettes),
        per_speaker=average(agreements),
        pooled=pooled,
        shuffled=average(chance),
        pooled_shuffled=pooled_shuffled,
    )


def compare(
    rows: Rows,
    clusters: Codes,
    emotions: Sequence[str] | NDArray[Any],
    shuffles: int = SHUFFLES,
    seed: int = 0,
) -> tuple[Agreement, Agreement]:
    """Agreement of `clusters` (N,) with `emotions` (N,), and its mean over permuted emotions.

    `rows` (N, D) have length 1.
    """
    rng = np.random.default_rng(seed)
    emotion_codes = np.unique(np.asarray(emotions), return_inverse=True)[1]

    def measure(codes: Codes) -> Agreement:
        return replace(agreement(clusters, codes), silhouette=silhouette(rows, codes, seed))

    chance = average([measure(rng.permutation(emotion_codes)) for _ in range(shuffles)])
    return measure(emotion_codes), chance


def average(agreements: Sequence[Agreement]) -> Agreement:
    """Mean of each value over the agreements that define it."""
    columns = ([getattr(row, field.name) for row in agreements] for field in fields(Agreement))
    return Agreement(*map(_mean, columns))


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def rows_by_name(names: Sequence[str]) -> dict[str, Codes]:
    """Row indices of each name; names and indices are sorted."""
    distinct, codes = np.unique(np.asarray(names), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(codes)))[:-1]
    return dict(zip(distinct.tolist(), parts, strict=True))
