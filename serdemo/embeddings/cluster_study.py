"""Each speaker's clusters against emotions, one by one: what is told beside a map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serdemo.embeddings.table import Table
from serdemo.metrics.clusters import Agreement, average, cluster, compare, single_thread, unit_rows

Codes = NDArray[np.int32]
Figures = dict[str, Any]


def study(
    table: Table, seed: int = 0, progress: Callable[[int], None] = lambda done: None
) -> tuple[Codes, Figures]:
    """The clusters (N,) of each speaker's clips, numbered from 0 for every speaker, and figures.

    These are plain values: under `speakers` for each `corpus/speaker` its `n` clips of known
    emotion, the number of its `clusters` and how they agree with emotions (`found`, and `chance`
    with emotions dealt out at random); under `mean` the mean over the `scored` speakers that have
    clips of two emotions, under `new` that over those of them whom the model was not trained on,
    where the table tells; under `pooled` the same of all clips as if they were one speaker's.
    `progress` is told the number of speakers done.
    """
    rows, emotions = unit_rows(table.embedding), np.array(table.emotions)
    found = np.zeros(len(table), np.int32)
    speakers: Figures = {}
    for done, (name, places) in enumerate(groups(table.speakers).items(), start=1):
        speakers[name], found[places] = _one(rows[places], emotions[places], seed)
        progress(done)
    scored = {name: one for name, one in speakers.items() if one["found"]["nmi"] is not None}
    seen = table.about.get("seen")
    new = {name: one for name, one in scored.items() if isinstance(seen, list) and name not in seen}
    figures = {
        "speakers": speakers,
        "mean": _mean(list(scored.values())),
        "pooled": _one(rows, emotions, seed)[0],
    }
    return found, figures | ({"new": _mean(list(new.values()))} if new else {})


def groups(names: Sequence[str]) -> dict[str, NDArray[np.intp]]:
    """The rows of each name, names and rows in order."""
    found, codes = np.unique(np.array(names), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    return dict(zip(found.tolist(), parts, strict=True))


def _mean(scored: Sequence[Figures]) -> Figures:
    """The mean figures of speakers, each counting alike."""
    means = {
        kind: _short(average([Agreement(**one[kind]) for one in scored]))
        for kind in ("found", "chance")
    }
    return {"scored": len(scored), **means}


def _one(rows: NDArray[np.float64], emotions: NDArray[Any], seed: int) -> tuple[Figures, Codes]:
    """The figures of clips taken for one speaker's, and their clusters."""
    with single_thread():
        own = cluster(rows, seed=seed)
    known = emotions != ""
    agreed, chance = compare(rows[known], own[known], emotions[known].tolist(), seed)
    if agreed.nmi is None:  # there is but one emotion, so nothing can agree with it
        agreed = chance = Agreement()
    told = {
        "n": int(known.sum()),
        "clusters": len(set(own.tolist())),
        "found": _short(agreed),
        "chance": _short(chance),
    }
    return told, own.astype(np.int32)


def _short(one: Agreement) -> Figures:
    return {name: value and round(value, 4) for name, value in asdict(one).items()}
