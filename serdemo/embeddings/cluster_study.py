"""Agreement of each speaker's clusters with emotions, as shown beside a map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serdemo.embeddings.projection import BLOCK, sample_rows
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
MAX_SPEAKERS, MAX_CLIPS = 1000, 50_000  # that are studied
# That are compared and probed: a probe's time grows with the product of clips and speakers.
MAX_PROBED_SPEAKERS, MAX_PROBED_CLIPS = 250, 20_000


def study(
    table: Table,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
    *,
    max_speakers: int = MAX_SPEAKERS,
    max_clips: int = MAX_CLIPS,
) -> tuple[Codes, Figures]:
    """Cluster each speaker's clips and compare the clusters with emotions.

    Returns the clusters (N,), numbered from 0 for every speaker, and figures for JSON:

    - `speakers`: by `corpus/speaker`, `n` clips of known emotion, the number of `clusters`, and
      their agreement with emotions (`found`, and `chance` for permuted emotions);
    - `mean`: the mean over the `scored` speakers, those known and with clips of two emotions;
    - `new`: the same over scored speakers that the model was not trained on, if the table says so;
    - `pooled`: the figures of all clips taken as one speaker's.

    Of more than `max_speakers` speakers, a random sample of so many is compared; the others have the
    sample's median number of clusters, and no agreement. More than `max_clips` clips of a speaker, or of
    all, are those of a random sample, whose nearest cluster the others join. `progress` receives the number
    of speakers done.
    """
    emotions, by_speaker = np.array(table.emotions), rows_by_name(table.speakers)
    clusters = np.zeros(len(table), np.int32)
    speakers: Figures = {}
    names = list(by_speaker)
    studied = {names[at] for at in sample_rows(len(names), max_speakers, seed)}
    # Those first: the others have as many clusters as they have.
    for name in sorted(names, key=lambda name: name not in studied):
        indices = by_speaker[name]
        k = 0 if name in studied else round(median(own["clusters"] for own in speakers.values()))
        speakers[name], clusters[indices] = _study_clips(
            table.embedding, emotions, indices, seed, k, max_clips
        )
        progress(len(speakers))
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
    pool = sample_rows(len(table), max_clips, seed)
    figures = {
        "speakers": {name: speakers[name] for name in names},
        "mean": _mean_figures(list(scored.values())),
        "pooled": _study_clips(table.embedding, emotions, pool, seed, 0, max_clips)[0],
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
    embedding: NDArray[np.float32],
    emotions: NDArray[Any],
    indices: NDArray[np.intp],
    seed: int,
    k: int,
    max_clips: int,
) -> tuple[Figures, Codes]:
    """Figures and clusters of the clips `indices` taken as one speaker's; with `k` clusters no agreement."""
    sample = sample_rows(len(indices), max_clips, seed)
    rows, names = unit_rows(embedding[indices[sample]]), emotions[indices[sample]]
    known, agreement, chance = names != "", Agreement(), Agreement()
    with single_thread():
        found = cluster(rows, k, seed)
        if not k:
            agreement, chance = compare(rows[known], found[known], names[known], seed=seed)
    if agreement.nmi is None:  # a single emotion: no agreement is defined
        agreement = chance = Agreement()
    figures = {
        "n": int(known.sum()),
        "clusters": len(set(found.tolist())),
        "found": _rounded(agreement),
        "chance": _rounded(chance),
    }
    if len(sample) < len(indices):
        found = _nearest_clusters(embedding, indices, rows, found)
    return figures, found.astype(np.int32)


def _nearest_clusters(
    embedding: NDArray[np.float32],
    indices: NDArray[np.intp],
    rows: NDArray[np.float64],
    clusters: NDArray[np.intp],
) -> NDArray[np.intp]:
    """The cluster of each of the clips `indices` whose mean is the nearest, by the `clusters` of `rows`."""
    numbers = np.unique(clusters)
    means = np.stack([rows[clusters == n].mean(axis=0) for n in numbers])
    offsets = (means**2).sum(axis=1) / 2
    blocks = (indices[start : start + BLOCK] for start in range(0, len(indices), BLOCK))
    nearest = [(unit_rows(embedding[own]) @ means.T - offsets).argmax(axis=1) for own in blocks]
    return np.asarray(numbers[np.concatenate(nearest)])


def probed_rows(speakers: Sequence[str], seed: int = 0) -> NDArray[np.intp]:
    """Sorted rows of a random sample: at most `MAX_PROBED_SPEAKERS` speakers, with as many clips of each as
    make at most `MAX_PROBED_CLIPS`; all rows where there are no more."""
    by_speaker = list(rows_by_name(speakers).values())
    chosen = [by_speaker[at] for at in sample_rows(len(by_speaker), MAX_PROBED_SPEAKERS, seed)]
    counts = np.array([len(rows) for rows in chosen])
    most = int(counts.max(initial=0))  # of a speaker
    while (total := int(counts.clip(max=most).sum())) > MAX_PROBED_CLIPS:
        most = most * MAX_PROBED_CLIPS // total
    own = [rows[sample_rows(len(rows), most, seed)] for rows in chosen]
    return np.sort(np.concatenate(own))


def _rounded(agreement: Agreement) -> Figures:
    return {name: value and round(value, 4) for name, value in asdict(agreement).items()}
