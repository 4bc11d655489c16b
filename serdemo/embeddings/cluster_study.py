"""Agreement of each speaker's clusters with emotions, as shown beside a map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serdemo.embeddings.table import Table
from serdemo.metrics.clusters import (
    Agreement,
    average,
    cluster,
    compare,
    rows_by_name,
    single_thread,
    unit_rows,
)

Codes = NDArray[np.int32]
Figures = dict[str, Any]


def study(
    table: Table, seed: int = 0, progress: Callable[[int], None] = lambda done: None
) -> tuple[Codes, Figures]:
    """Cluster each speaker's clips and compare the clusters with emotions.

    Returns the clusters (N,), numbered from 0 for every speaker, and figures for JSON:

    - `speakers`: by `corpus/speaker`, `n` clips of known emotion, the number of `clusters`, and
      their agreement with emotions (`found`, and `chance` for permuted emotions);
    - `mean`: the mean over the `scored` speakers, those known and with clips of two emotions;
    - `new`: the same over scored speakers that the model was not trained on, if the table says so;
    - `pooled`: the figures of all clips taken as one speaker's.

    `progress` receives the number of speakers done.
    """
    rows, emotions = unit_rows(table.embedding), np.array(table.emotions)
    clusters = np.zeros(len(table), np.int32)
    speakers: Figures = {}
    for done, (name, indices) in enumerate(rows_by_name(table.speakers).items(), start=1):
        speakers[name], clusters[indices] = _study_clips(rows[indices], emotions[indices], seed)
        progress(done)
    people = {
        name for name, known in zip(table.speakers, table.speaker_known, strict=True) if known
    }
    scored = {
        name: own
        for name, own in speakers.items()
        if name in people and own["found"]["nmi"] is not None
    }
    seen = table.about.get("seen")
    new = [own for name, own in scored.items() if isinstance(seen, list) and name not in seen]
    figures = {
        "speakers": speakers,
        "mean": _mean_figures(list(scored.values())),
        "pooled": _study_clips(rows, emotions, seed)[0],
    }
    return clusters, figures | ({"new": _mean_figures(new)} if new else {})


def _mean_figures(speakers: Sequence[Figures]) -> Figures:
    """Mean figures of speakers, each weighted alike."""
    means = {
        kind: _rounded(average([Agreement(**own[kind]) for own in speakers]))
        for kind in ("found", "chance")
    }
    return {"scored": len(speakers), **means}


def _study_clips(
    rows: NDArray[np.float64], emotions: NDArray[Any], seed: int
) -> tuple[Figures, Codes]:
    """Figures and clusters of clips taken as one speaker's."""
    with single_thread():
        clusters = cluster(rows, seed=seed)
        known = emotions != ""
        agreement, chance = compare(rows[known], clusters[known], emotions[known], seed=seed)
    if agreement.nmi is None:  # a single emotion: no agreement is defined
        agreement = chance = Agreement()
    figures = {
        "n": int(known.sum()),
        "clusters": len(set(clusters.tolist())),
        "found": _rounded(agreement),
        "chance": _rounded(chance),
    }
    return figures, clusters.astype(np.int32)


def _rounded(agreement: Agreement) -> Figures:
    return {name: value and round(value, 4) for name, value in asdict(agreement).items()}
