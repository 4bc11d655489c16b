"""A table of embeddings as a map: with coordinates in it, or as a page that stands alone."""

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
MAX_NAMES = 40  # in a legend; those beyond are put together
OTHERS = "all others"
# Of the plain kinds of names: apart for colour-blind eyes, as far as so many can be.
COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#8C564B"),
    *("#1B3A6B", "#B5BD2E", "#5D2E8C", "#2CA08C", "#A8324A", "#9AA0A6", "#6B8E23", "#C49C94"),
)
WARNING = (
    "Near points are alike; how far apart groups lie on a UMAP map, and how wide they are, says"
    " nothing."
)


def coordinates(table: Table, dimensions: int, seed: int) -> dict[str, Points]:
    """Columns of a map: `x`, `y` (and `z`) by UMAP, `pca_x`, `pca_y` by PCA.

    With fewer than four clips UMAP is left out, and `x`, `y` are PCA's.
    """
    plane = pca(table.embedding, dimensions)
    made = umap(table.embedding, dimensions, seed) if len(table) >= MIN_POINTS else plane
    axes = "xyz"[:dimensions]
    found = {axis: made[:, n] for n, axis in enumerate(axes)}
    return found | {f"pca_{axis}": plane[:, n] for n, axis in enumerate(axes)}


def write_map(source: Path, out: Path, dimensions: int = 2, seed: int = 0) -> int:
    """Write the map of a table to `out`, Parquet or HTML by its ending; returns the clips on it.

    Raises UsageError for another ending or number of dimensions, SerdemoError for a table that
    cannot be read.
    """
    if out.suffix not in (".parquet", ".html"):
        raise UsageError(f"--out must end in .parquet or .html, and {out.name} does not.")
    if dimensions not in (2, 3):
        raise UsageError(f"A map has 2 dimensions or 3, not {dimensions}.")
    table = tables.read(source)
    found = coordinates(table, dimensions, seed)
    if out.suffix == ".html":
        write_text(out, page_html(table, found, source.stem))
    else:
        tables.write(out, table, found)
    return len(table)


def page_html(table: Table, found: Mapping[str, Points], title: str) -> str:
    """A page that needs nothing else: the map by what is `found` of `coordinates`, coloured by what
    one chooses, names on hovering."""
    import plotly.io

    figure = make_figure(table, found)
    made: str = plotly.io.to_html(
        figure, include_plotlyjs=True, full_html=True, config={"displaylogo": False}
    )
    return made.replace("<head>", f"<head><title>{escape(title)}: a map of voices</title>", 1)


def make_figure(table: Table, found: Mapping[str, Points]) -> Any:
    """The map as a plotly figure: a trace for each name, menus for colour and projection."""
    import plotly.graph_objects as go

    kinds = [kind for kind in COLOURED_BY if len(set(table.text[kind])) > 1] or ["emotion"]
    traces, owners = [], []
    flat = "z" not in found
    mark = "" if "x" in found else "pca_"
    for kind in kinds:
        names = np.array(_common_names(table.text[kind]))
        for number, (name, count) in enumerate(sorted(Counter(names).items())):
            rows = np.flatnonzero(names == name)
            at = {axis: found[mark + axis][rows] for axis in "xyz" if mark + axis in found}
            trace = go.Scattergl if flat else go.Scatter3d
            traces.append(
                trace(
                    **at,
                    mode="markers",
                    name=f"{name or 'unknown'} ({count})",
                    text=[hover_text(table, int(row)) for row in rows],
                    hovertemplate="%{text}<extra></extra>",
                    marker=_marker(kind, name, number, flat),
                    visible=kind == kinds[0],
                )
            )
            owners.append((kind, rows))
    menus = [_colours(kinds, owners), _projections(owners, found)]
    return go.Figure(
        traces,
        go.Layout(
            template="plotly_white",
            margin=dict(l=10, r=10, t=110, b=60),
            legend=dict(itemsizing="constant"),
            updatemenus=menus,
            annotations=[
                dict(text=WARNING, x=0, y=-0.06, xref="paper", yref="paper", showarrow=False)
            ],
            xaxis=dict(visible=False),
            yaxis=dict(visible=False, scaleanchor="x"),
        ),
    )


def hover_text(table: Table, row: int) -> str:
    """What is told of one clip."""
    words = {kind: table.text[kind][row] for kind in table.text}
    told = [f"<b>{escape(words['clip'])}</b>", escape(f"{words['corpus']}, {words['speaker']}")]
    if words["emotion"]:
        told.append(f"meant: {escape(words['emotion'])}")
    if words["prediction"]:
        share = float(table.probabilities[row].max())
        told.append(f"heard: {escape(words['prediction'])} ({share:.0%})")
    return "<br>".join(told)


def _common_names(names: Sequence[str]) -> list[str]:
    """The names, the rare ones of very many under one."""
    common = {name for name, _ in Counter(names).most_common(MAX_NAMES)}
    return [name if name in common else OTHERS for name in names]


def _marker(kind: str, name: str, number: int, flat: bool) -> dict[str, Any]:
    size = 7 if flat else 4
    if kind in ("emotion", "prediction"):
        shown = style_of(name)
        # In three dimensions plotly knows few shapes, and no triangles.
        return dict(color=shown.colour, size=size, **({"symbol": shown.symbol} if flat else {}))
    return dict(color=COLOURS[number % len(COLOURS)], size=size)


def _colours(kinds: Sequence[str], owners: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    buttons = [
        dict(
            label=f"coloured by {kind}",
            method="restyle",
            args=[{"visible": [owner == kind for owner, _ in owners]}],
        )
        for kind in kinds
    ]
    return dict(buttons=buttons, x=0, xanchor="left", y=1.16, yanchor="top")


def _projections(owners: Sequence[tuple[str, Any]], found: Mapping[str, Points]) -> dict[str, Any]:
    there = [(name, mark) for name, mark in (("UMAP", ""), ("PCA", "pca_")) if f"{mark}x" in found]
    buttons = [
        dict(
            label=name,
            method="restyle",
            args=[
                {
                    axis: [found[mark + axis][rows] for _, rows in owners]
                    for axis in "xyz"
                    if mark + axis in found
                }
            ],
        )
        for name, mark in there
    ]
    return dict(buttons=buttons, x=0.35, xanchor="left", y=1.16, yanchor="top")
