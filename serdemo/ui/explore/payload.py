"""A map as JSON for the page's scripts, the rows of a selection, and the files that a map is saved as."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serdemo.embeddings import embedding_map, html_map
from serdemo.embeddings.embedding_map import PROJECTIONS, EmbeddingMap
from serdemo.schema.errors import UsageError
from serdemo.schema.files import atomic, write_text
from serdemo.schema.types import is_known_speaker
from serdemo.ui.shell.visitor_store import export_path

if TYPE_CHECKING:
    from serdemo.ui.explore.open_maps import MapSession

# What points are coloured by, in the order in which it is offered; a name for each clip.
KINDS = (
    *("emotion", "prediction", "speaker", "cluster", "corpus", "language", "gender", "error"),
    "training",
)
RIGHT, WRONG = "correct", "wrong"
SEEN, NEW = "known to the model", "new to the model"
UNKNOWN = "unknown"

Json = dict[str, Any]


def payload(session: MapSession) -> Json:
    """All of a map: names by number, places as float32, in base64."""
    clips = session.mapped.table
    shares = clips.probabilities.max(axis=1) if clips.labels else np.zeros(len(clips))
    return {
        "map": session.key,
        "title": session.title,
        "model": str(clips.about.get("checkpoint", "")),
        "n": len(clips),
        "clips": "\n".join(name.replace("\n", " ") for name in clips.text["clip"]),
        "kinds": {kind: _packed_names(session, kind) for kind in KINDS if kind != "cluster"},
        "shares": packed(np.round(100 * shares).astype(np.uint8)) if clips.labels else "",
        "notes": list(session.notes),
        "warning": f"Distances on a UMAP map are not distances. {html_map.WARNING}",
        **parts(session, [*_shown_first(session), "study"]),
        "layouts": list(session.mapped.positions),
        "missing": session.missing,
        "on_request": session.on_request,
    }


def _shown_first(session: MapSession) -> list[str]:
    """The projections that are sent at once: of a large map one, the others when they are chosen."""
    names = [name for name in PROJECTIONS if name in session.mapped.positions]
    if not session.on_request:
        return names
    return ["umap2" if "umap2" in names else "pca"]


def parts(session: MapSession, wanted: Sequence[str]) -> Json:
    """The parts in `wanted` that are ready: `places`, and `clusters` with `figures`."""
    own = session.mapped
    ready: Json = {
        "places": {
            name: packed(np.ascontiguousarray(own.positions[name], dtype="<f4"))
            for name in wanted
            if name in PROJECTIONS and name in own.positions
        }
    }
    if "study" in wanted and own.clusters is not None:
        ready |= {"clusters": _packed_names(session, "cluster"), "figures": own.figures}
    return ready


def names(own: EmbeddingMap, kind: str) -> list[str]:
    """The name of each clip in one kind, `unknown` where there is none."""
    clips = own.table
    if kind == "cluster":
        return [] if own.clusters is None else [f"cluster {n + 1}" for n in own.clusters]
    if kind == "speaker":
        return list(clips.speakers)
    if kind == "error":
        pairs = zip(clips.text["prediction"], clips.text["emotion"], strict=True)
        return [
            (RIGHT if predicted == meant else WRONG) if predicted and meant else UNKNOWN
            for predicted, meant in pairs
        ]
    if kind == "training":
        seen = clips.about.get("seen")
        if not isinstance(seen, list):
            return [UNKNOWN] * len(clips)
        known = {name for name in seen if isinstance(name, str)}
        unseen = {True: NEW, False: UNKNOWN}  # by whether it is known who speaks
        speakers = clips.speakers
        training = {
            name: SEEN if name in known else unseen[is_known_speaker(name)]
            for name in set(speakers)
        }
        return [training[name] for name in speakers]
    return [name or UNKNOWN for name in clips.text[kind]]


def rows_of(session: MapSession, selection: Any) -> NDArray[np.int64]:
    """The rows (K,) of a request: all of them for None, else those whose bits are set in base64, the
    first row's the highest of the first byte. Raises UsageError for other values."""
    count = len(session.mapped.table)
    if selection is None:
        return np.arange(count)
    try:
        packed_bits = base64.b64decode(selection, validate=True)
    except (TypeError, ValueError) as problem:
        raise UsageError("A selection is bits in base64: reload the page.") from problem
    bits = np.unpackbits(np.frombuffer(packed_bits, np.uint8))
    if len(packed_bits) != -(-count // 8) or bits[count:].any():
        raise UsageError("This selection is of another map: select once more.")
    if not bits.any():
        raise UsageError("Nothing is selected: draw round some points first.")
    return np.flatnonzero(bits)


def save(session: MapSession, rows: NDArray[np.int64], ending: str) -> Path:
    """Save some clips of a map where the page serves it from for some minutes: as `.parquet`, `.csv`, or
    a page `.html` that stands alone; `x` and `y` are UMAP's, `pca_x` and `pca_y` PCA's.

    Raises SerdemoError where it cannot be written.
    """
    path = export_path(file_name(session.title, ending))
    own = chosen(session.mapped, rows)
    if ending == ".parquet":
        embedding_map.write(path, own)
    elif ending == ".csv":
        with atomic(path) as temporary:
            temporary.write_text(as_csv(own), encoding="utf-8", newline="")
    else:
        write_text(path, as_html(own, session.title))
    return path


def file_name(title: str, ending: str) -> str:
    """Name of the file that a map of this title is saved as."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", title)[:60].strip("-") or "map"
    return f"{plain}{ending}"


def chosen(own: EmbeddingMap, rows: NDArray[np.int64]) -> EmbeddingMap:
    """The map of some rows alone; its figures only where these are all."""
    clips = own.table
    return replace(
        own,
        table=clips.take(rows),
        positions={name: values[rows] for name, values in own.positions.items()},
        clusters=None if own.clusters is None else own.clusters[rows],
        figures=own.figures if len(rows) == len(clips) else {},
    )


def as_html(own: EmbeddingMap, title: str) -> str:
    """A page that stands alone, with the map by UMAP and by PCA."""
    axes = {
        axis: own.positions[name][:, n]
        for name in ("umap2", "pca")
        if name in own.positions
        for n, axis in enumerate(PROJECTIONS[name][:2])
    }
    return html_map.page_html(own.table, axes, title)


def as_csv(own: EmbeddingMap) -> str:
    """The texts of a map's clips and their positions by UMAP, or else by PCA."""
    out = io.StringIO()
    lines = csv.writer(out)
    clips = own.table
    projection = "umap2" if "umap2" in own.positions else "pca"
    lines.writerow([*clips.text, "confidence", "cluster", *PROJECTIONS[projection][:2]])
    columns: list[Iterable[object]] = [map(_harmless, values) for values in clips.text.values()]
    if clips.labels:
        columns.append(map("{:.4f}".format, clips.probabilities.max(axis=1).tolist()))
    else:
        columns.append(repeat(""))
    columns.append(repeat("") if own.clusters is None else (own.clusters + 1).tolist())
    columns += [map("{:.5f}".format, own.positions[projection][:, n].tolist()) for n in (0, 1)]
    lines.writerows(zip(*columns, strict=False))
    return out.getvalue()


def packed(values: NDArray[Any]) -> str:
    """The bytes of an array in base64."""
    return base64.b64encode(values.tobytes()).decode()


def coded(session: MapSession, kind: str) -> tuple[list[str], NDArray[np.int64]]:
    """The names of one kind, the commonest first, and the number of that of each clip (N,)."""
    if kind not in session.codes:
        every = names(session.mapped, kind)
        ranked = [name for name, _ in Counter(every).most_common()]
        number = {name: n for n, name in enumerate(ranked)}
        codes = np.fromiter(map(number.__getitem__, every), np.int64, len(every))
        session.codes[kind] = ranked, codes
    return session.codes[kind]


def _packed_names(session: MapSession, kind: str) -> Json:
    """`coded` for the page, with as many bytes a clip as the codes need, none for a single name."""
    ranked, codes = coded(session, kind)
    if len(ranked) == 1:
        return {"names": ranked, "codes": ""}
    width = next(width for width in ("<u1", "<u2", "<u4") if len(ranked) - 1 <= np.iinfo(width).max)
    return {"names": ranked, "codes": packed(codes.astype(width))}


def _harmless(text: str) -> str:
    """The text, quoted where a spreadsheet would take it for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
