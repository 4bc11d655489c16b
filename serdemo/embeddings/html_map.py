"""Export of an embedding table as a map: a table with coordinates, or a stand-alone HTML page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from serdemo.embeddings import table as tables
from serdemo.embeddings.projection import MIN_POINTS, Points, pca, umap
from serdemo.embeddings.table import Table
from serdemo.schema.errors import UsageError
from serdemo.schema.files import write_text
from serdemo.schema.palette import style_of

COLOURED_BY = ("emotion", "prediction", "corpus", "speaker", "language", "gender")
MAX_NAMES = 40  # in a legend; the rarer ones share an entry
OTHERS = "all others"
# For names without a colour of their own; as distinct for colour-blind eyes as so many can be.
COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#8C564B"),
    *("#1B3A6B", "#B5BD2E", "#5D2E8C", "#2CA08C", "#A8324A", "#9AA0A6", "#6B8E23", "#C49C94"),
)
WARNING = (
    "Near points are alike; how far apart groups lie on a UMAP map, and how wide they are, says"
    " nothing."
)


def coordinates(table: Table, dimensions: int, seed: int) -> dict[str, Points]:
    """Coordinate columns (N,) of a map: `x`, `y` (and `z`) by UMAP, `pca_x`, `pca_y` by PCA.

    Below `MIN_POINTS` clips `x`, `y` are those of PCA.
    """
    by_pca = pca(table.embedding, dimensions)
    by_umap = umap(table.embedding, dimensions, seed) if len(table) >= MIN_POINTS else by_pca
    return {
        prefix + axis: points[:, n]
        for prefix, points in (("", by_umap), ("pca_", by_pca))
        for n, axis in enumerate("xyz"[:dimensions])
    }


def write_map(source: Path, out: Path, dimensions: int = 2, seed: int = 0) -> int:
    """Write the map of a table to `out`, Parquet or HTML by its suffix; returns the number of clips.

    Raises UsageError for another suffix or number of dimensions.
    """
    if out.suffix not in (".parquet", ".html"):
        raise UsageError(f"--out must end in .parquet or .html, and {out.name} does not.")
    if dimensions not in (2, 3):
        raise UsageError(f"A map has 2 dimensions or 3, not {dimensions}.")
    table = tables.read(source)
    columns = coordinates(table, dimensions, seed)
    if out.suffix == ".html":
        write_text(out, page_html(table, columns, source.stem))
    else:
        tables.write(out, table, columns)
    return len(table)


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
