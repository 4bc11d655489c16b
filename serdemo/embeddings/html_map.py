"""Export of an embedding table as a map: a table with coordinates, or a stand-alone HTML page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serdemo.embeddings import table as tables
from serdemo.embeddings.map_options import MapOptions
from serdemo.embeddings.projection import (
    MIN_POINTS,
    Points,
    SampledUmap,
    fit_pca,
    pca,
    sample_rows,
    umap,
)
from serdemo.embeddings.table import Table, TableFile
from serdemo.schema.errors import UsageError
from serdemo.schema.files import write_text
from serdemo.schema.palette import style_of

COLOURED_BY = ("emotion", "prediction", "corpus", "speaker", "language", "gender")
MAX_NAMES = 40  # in a legend; the rarer ones share an entry
OTHERS = "all others"
MAX_PAGE_CLIPS = 100_000  # a page of so many has 80 MB and opens in 8 s
# For names without a colour of their own; as distinct for colour-blind eyes as so many can be.
COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#8C564B"),
    *("#1B3A6B", "#B5BD2E", "#5D2E8C", "#2CA08C", "#A8324A", "#9AA0A6", "#6B8E23", "#C49C94"),
)
WARNING = (
    "Near points are alike; how far apart groups lie on a UMAP map, and how wide they are, says"
    " nothing."
)


def coordinates(table: Table, options: MapOptions) -> dict[str, Points]:
    """Coordinate columns (N,) of a map: `x`, `y` (and `z`) by UMAP, `pca_x`, `pca_y` by PCA.

    Below `MIN_POINTS` clips `x`, `y` are those of PCA.
    """
    own = {"seed": options.seed, "sample": options.sample}
    by_pca = by_umap = pca(table.embedding, options.dimensions, **own)
    if len(table) >= MIN_POINTS:
        by_umap = umap(
            table.embedding,
            options.dimensions,
            neighbours=options.neighbours,
            min_dist=options.min_dist,
            **own,
        )
    return _columns(by_umap, by_pca)


def _columns(by_umap: Points, by_pca: Points) -> dict[str, Points]:
    return {
        prefix + axis: points[:, n]
        for prefix, points in (("", by_umap), ("pca_", by_pca))
        for n, axis in enumerate("xyz"[: points.shape[1]])
    }


def write_map(
    source: Path,
    out: Path,
    options: MapOptions | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Write the map of a table to `out`, Parquet or HTML by its suffix; returns the number of clips.

    A Parquet map of more clips than `options.sample` is written as the table is read, in memory for the
    sample alone; `progress` receives the number of clips done.

    Raises UsageError for another suffix, a page of more than `MAX_PAGE_CLIPS`, or a place where `out`
    cannot be.
    """
    options = options or MapOptions()
    if out.suffix not in (".parquet", ".html"):
        raise UsageError(f"--out must end in .parquet or .html, and {out.name} does not.")
    file = tables.TableFile(source)
    if not out.parent.is_dir():
        raise UsageError(f"--out {out} must name a file in an existing folder.")
    if source.is_dir() and out.parent.samefile(next(iter(file.parts)).parent):
        raise UsageError(f"--out {out} would be one more part of the table: put it elsewhere.")
    if out.suffix == ".html" and len(file) > MAX_PAGE_CLIPS:
        raise UsageError(
            f"A page shows at most {MAX_PAGE_CLIPS} clips, and {source.name} has {len(file)}: write a map"
            " with --out FILE.parquet, which Explore opens."
        )
    if out.suffix == ".parquet" and len(file) > options.sample:
        _write_in_batches(file, out, options, progress)
        return len(file)
    table = tables.read(source)
    columns = coordinates(table, options)
    if out.suffix == ".html":
        write_text(out, page_html(table, columns, source.stem))
    else:
        tables.write(out, table, columns)
    return len(table)


def _write_in_batches(
    file: TableFile, out: Path, options: MapOptions, progress: Callable[[int], None]
) -> None:
    """Write the map that `coordinates` gives, with a batch of the table in memory at a time."""
    rows = sample_rows(len(file), options.sample, options.seed)
    sample = np.concatenate([batch.embedding[own] for batch, own, _ in _parts_of(file, rows)])
    _, axes = fit_pca(sample, options.dimensions)
    fitted = SampledUmap(
        sample,
        options.dimensions,
        options.seed,
        neighbours=options.neighbours,
        min_dist=options.min_dist,
    )
    done = 0
    with tables.open_writer(out, file.about) as add:
        for batch, own, at in _parts_of(file, rows):
            positions = fitted.place(batch.embedding)
            positions[own] = fitted.positions[at]
            add(batch, _columns(positions, axes.project(batch.embedding)))
            progress(done := done + len(batch))


def _parts_of(
    file: TableFile, rows: NDArray[np.intp]
) -> Iterator[tuple[Table, NDArray[np.intp], slice]]:
    """Batches of a table, with those of the sorted `rows` that lie in each: their indices in the batch, and
    where they stand in `rows`."""
    first = 0
    for batch in file.batches():
        start, stop = np.searchsorted(rows, (first, first + len(batch)))
        yield batch, rows[start:stop] - first, slice(start, stop)
        first += len(batch)


def page_html(table: Table, columns: Mapping[str, Points], title: str) -> str:
    """Self-contained HTML page with the interactive map; `columns` without `x` show PCA."""
    import plotly.io

    html: str = plotly.io.to_html(
        make_figure(table, columns),
        include_plotlyjs=True,
        full_html=True,
        config={"displaylogo": False},
        div_id="map",  # plotly's own is random, and the page would differ each time
    )
    return html.replace("<head>", f"<head><title>{escape(title)}: a map of voices</title>", 1)


def make_figure(table: Table, columns: Mapping[str, Points]) -> Any:
    """Plotly figure of the map: a trace per name, and menus for colour and projection."""
    import plotly.graph_objects as go

    kinds = [kind for kind in COLOURED_BY if len(set(table.text[kind])) > 1] or ["emotion"]
    flat = "z" not in columns
    make_trace = go.Scattergl if flat else go.Scatter3d
    projections = {
        name: {axis: columns[prefix + axis] for axis in "xyz" if prefix + axis in columns}
        for name, prefix in (("UMAP", ""), ("PCA", "pca_"))
        if f"{prefix}x" in columns
    }
    shown = next(iter(projections.values()))
    traces, trace_kinds, trace_rows = [], [], []
    for kind in kinds:
        names = np.array(_common_names(table.text[kind]))
        for number, (name, count) in enumerate(sorted(Counter(names).items())):
            rows = np.flatnonzero(names == name)
            traces.append(
                make_trace(
                    **{axis: values[rows] for axis, values in shown.items()},
                    mode="markers",
                    name=f"{name or 'unknown'} ({count})",
                    text=[hover_text(table, int(row)) for row in rows],
                    hovertemplate="%{text}<extra></extra>",
                    marker=_marker(kind, name, number, flat),
                    visible=kind == kinds[0],
                )
            )
            trace_kinds.append(kind)
            trace_rows.append(rows)
    colour_menu = {
        f"coloured by {kind}": {"visible": [own == kind for own in trace_kinds]} for kind in kinds
    }
    projection_menu = {
        name: {axis: [values[rows] for rows in trace_rows] for axis, values in axes.items()}
        for name, axes in projections.items()
    }
    layout = go.Layout(
        template="plotly_white",
        margin=dict(l=10, r=10, t=110, b=60),
        legend=dict(itemsizing="constant"),
        updatemenus=[_menu(colour_menu, x=0), _menu(projection_menu, x=0.35)],
        annotations=[dict(text=WARNING, x=0, y=-0.06, xref="paper", yref="paper", showarrow=False)],
        xaxis=dict(visible=False),
        yaxis=dict(visible=False, scaleanchor="x"),
    )
    return go.Figure(traces, layout)


def hover_text(table: Table, row: int) -> str:
    """Description of a clip as HTML, for its tooltip."""
    text = {kind: escape(values[row]) for kind, values in table.text.items()}
    lines = [f"<b>{text['clip']}</b>", f"{text['corpus']}, {text['speaker']}"]
    if text["emotion"]:
        lines.append(f"meant: {text['emotion']}")
    if text["prediction"]:
        lines.append(f"heard: {text['prediction']} ({float(table.probabilities[row].max()):.0%})")
    return "<br>".join(lines)


def _common_names(names: Sequence[str]) -> list[str]:
    """The names, with all but the `MAX_NAMES` most common replaced by `OTHERS`."""
    common = {name for name, _ in Counter(names).most_common(MAX_NAMES)}
    return [name if name in common else OTHERS for name in names]


def _marker(kind: str, name: str, number: int, flat: bool) -> dict[str, Any]:
    size = 7 if flat else 4
    if kind in ("emotion", "prediction"):
        style = style_of(name)
        # Plotly has few symbols in three dimensions, and no triangles.
        return dict(color=style.colour, size=size, **({"symbol": style.symbol} if flat else {}))
    return dict(color=COLOURS[number % len(COLOURS)], size=size)


def _menu(changes: Mapping[str, dict[str, Any]], x: float) -> dict[str, Any]:
    """Plotly menu at `x` (0 to 1) whose entries restyle the traces by `changes`."""
    buttons = [dict(label=label, method="restyle", args=[args]) for label, args in changes.items()]
    return dict(buttons=buttons, x=x, xanchor="left", y=1.16, yanchor="top")
