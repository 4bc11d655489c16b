"""Do a speaker's clips fall into clusters by emotion? Clusters within each speaker, and probes.

Everything is computed on embeddings (N, D) scaled to length 1, so distances are those of cosines.
Clusters never see an emotion; emotions are only compared with them afterwards. Functions raise
SerdemoError for embeddings that are not finite or columns that do not fit together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serdemo.schema.errors import SerdemoError

SWEEP = tuple(range(3, 11))  # numbers of clusters that are tried
SHUFFLES = 20
STARTS = 4  # of k-means
MOST_COMPARED = 3000  # clips between whom all distances are computed, drawn at random beyond

Rows = NDArray[np.float64]
Codes = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well clusters and emotions agree: 1 for the same parts, about 0 by chance (purity: the
    share of the clips whose emotion is the most frequent one of their cluster).

    `silhouette`, -1 to 1, is that of the emotions themselves: how much nearer a clip lies to those
    of its emotion than to those of the next. A value is None where it is not defined.
    """

    nmi: float | None = None
    ari: float | None = None
    purity: float | None = None
    silhouette: float | None = None


@dataclass(frozen=True, slots=True)
class Analysis:
    """Clusters against emotions, of N clips.

    `per_speaker` is the mean over the `scored_speakers`, those with clips of two emotions, each
    counting alike; `pooled` treats all clips as one speaker's. `shuffled` and `pooled_shuffled` are
    the same with the emotions of each speaker (of all) dealt out at random: what chance gives.
    `clusters` is the mean number of clusters of a speaker, `cluster_silhouette` how far these lie
    apart.
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

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, ready for JSON."""
        return asdict(self)


def unit(embeddings: NDArray[Any]) -> Rows:
    """Rows (N, D) of length 1; one of zeros stays as it is."""
    rows = np.asarray(embeddings, dtype=np.float64)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise SerdemoError("Embeddings must be rows of as many finite numbers each.")
    return rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(min=1e-12)


def single_thread() -> AbstractContextManager[Any]:
    """While inside, linear algebra keeps to one thread: on small matrices several get in each
    other's way, so that on a busy machine it takes ten times as long."""
    from threadpoolctl import threadpool_limits

    for module in ("cluster", "metrics"):  # only what is loaded already is limited
        import_module(f"sklearn.{module}")
    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits


def k_means(rows: Rows, k: int, seed: int = 0) -> Codes:
    """Clusters (N,) of rows (N, D) by k-means; as many as there are different rows, if fewer than k."""
    from sklearn.cluster import KMeans

    k = min(k, len(np.unique(rows, axis=0)))
    if k < 2:
        return np.zeros(len(rows), dtype=np.intp)
    found: Codes = KMeans(k, n_init=STARTS, random_state=seed).fit(rows).labels_.astype(np.intp)
    return found


def silhouette(rows: Rows, groups: Codes, seed: int = 0) -> float | None:
    """Mean silhouette of groups (N,) in rows (N, D); None for one group, or one to each clip.

    Beyond `MOST_COMPARED` clips, of so many drawn at random.
    """
    from sklearn.metrics import silhouette_score

    if len(rows) > MOST_COMPARED:
        drawn = np.random.default_rng(seed).choice(len(rows), MOST_COMPARED, replace=False)
        rows, groups = rows[drawn], groups[drawn]
    if not 2 <= len(np.unique(groups)) < len(rows):
        return None
    return float(silhouette_score(rows, groups))


def cluster(rows: Rows, k: int = 0, seed: int = 0) -> Codes:
    """Clusters (N,) of rows (N, D): k of them or, where k is 0, the number of `SWEEP` with the
    largest silhouette.

    A number tried is below that of different clips; where none is, all clips make one cluster.
    """
    if k:
        return k_means(rows, k, seed)
    best, found = -2.0, np.zeros(len(rows), dtype=np.intp)
    different = len(np.unique(rows, axis=0))
    for number in (n for n in SWEEP if n < different):
        tried = k_means(rows, number, seed)
        worth = silhouette(rows, tried, seed)
        if worth is not None and worth > best:
            best, found = worth, tried
    return found


def within_speakers(
    embeddings: NDArray[Any], speakers: Sequence[str], k: int = 0, seed: int = 0
) -> Codes:
    """Clusters (N,) of each speaker's clips by themselves, numbered from 0 for every speaker."""
    rows = unit(embeddings)
    found = np.zeros(len(rows), dtype=np.intp)
    with single_thread():
        for places in _places(rows, speakers):
            found[places] = cluster(rows[places], k, seed)
    return found


def agreement(clusters: Sequence[int] | Codes, emotions: Sequence[Any] | Codes) -> Agreement:
    """NMI (arithmetic mean), ARI and purity of clusters (N,) against emotions (N,).

    Nothing is defined for fewer than two emotions. Raises SerdemoError for different lengths.
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
    """Compare the clusters of N clips with their emotions, per speaker and over all.

    `k` clusters to a speaker, or 0 for the best of `SWEEP`; `progress` is told the number of
    speakers done. Raises SerdemoError where no speaker has clips of two emotions.
    """
    rows, codes = unit(embeddings), np.unique(np.asarray(emotions), return_inverse=True)[1]
    parts = [places for places in _places(rows, speakers) if len(set(codes[places].tolist())) > 1]
    if len(codes) != len(rows) or not parts:
        raise SerdemoError(
            "No speaker here has clips of two emotions, so there is nothing to compare clusters with."
        )
    real, chance, counts, apart = [], [], [], []
    with single_thread():
        for done, places in enumerate(parts, start=1):
            own = cluster(rows[places], k, seed)
            counts.append(len(set(own.tolist())))
            apart.append(silhouette(rows[places], own, seed))
            one, shuffled = _compared(rows[places], own, codes[places], shuffles, seed)
            real.append(one)
            chance.append(shuffled)
            progress(done)
        whole = cluster(rows, k, seed)
        pooled, pooled_shuffled = _compared(rows, whole, codes, shuffles, seed)
    return Analysis(
        n=len(rows),
        speakers=len(set(speakers)),
        scored_speakers=len(parts),
        emotions=tuple(sorted(set(emotions))),
        clusters=float(np.mean(counts)),
        cluster_silhouette=_mean(apart),
        per_speaker=average(real),
        pooled=pooled,
        shuffled=average(chance),
        pooled_shuffled=pooled_shuffled,
    )


def _compared(
    rows: Rows, clusters: Codes, emotions: Codes, shuffles: int, seed: int
) -> tuple[Agreement, Agreement]:
    """The agreement, and its mean over emotions dealt out at random."""
    rng = np.random.default_rng(seed)

    def measured(codes: Codes) -> Agreement:
        found = asdict(agreement(clusters, codes))
        return Agreement(**{**found, "silhouette": silhouette(rows, codes, seed)})

    return measured(emotions), average(
        [measured(rng.permutation(emotions)) for _ in range(shuffles)]
    )


def compare(
    embeddings: NDArray[Any], clusters: Codes, emotions: Sequence[str], seed: int = 0
) -> tuple[Agreement, Agreement]:
    """The agreement of clusters (N,) with emotions (N,), and what it is by chance."""
    codes = np.unique(np.asarray(emotions), return_inverse=True)[1]
    with single_thread():
        return _compared(unit(embeddings), clusters, codes, SHUFFLES, seed)


def average(found: Sequence[Agreement]) -> Agreement:
    """The mean of each value over where it is defined."""
    names = ("nmi", "ari", "purity", "silhouette")
    return Agreement(**{name: _mean([getattr(one, name) for one in found]) for name in names})


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _places(rows: Rows, speakers: Sequence[str]) -> list[Codes]:
    """The places of each speaker's clips, in the order of their names."""
    if len(speakers) != len(rows):
        raise SerdemoError(f"{len(rows)} embeddings and {len(speakers)} speakers do not fit.")
    names = np.asarray(speakers)
    return [np.flatnonzero(names == name) for name in sorted(set(speakers))]
