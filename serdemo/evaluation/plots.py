"""Heat maps of rates: the confusion matrix and the cross-corpus matrix.

Dark ink on an opaque light ground, so that they look alike on a light and on a dark page. The cells
show their numbers, and an emotion's name has its colour of the palette.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serdemo.schema.errors import SerdemoError
from serdemo.schema.palette import EMOTION_STYLES, style_of

BACKGROUND, INK = "#FFFFFF", "#1F2328"


def draw(
    path: Path,
    values: Sequence[Sequence[float | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str,
    row_title: str,
    column_title: str,
) -> None:
    """Write a heat map of rates in [0, 1] to `path` (.svg or .png); an empty cell for None.

    Raises SerdemoError when the file cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    cells = np.array([[np.nan if v is None else v for v in row] for row in values], dtype=float)
    figure = Figure(
        figsize=(2.6 + 0.72 * len(columns), 2.0 + 0.5 * len(rows)),
        facecolor=BACKGROUND,
        layout="constrained",
    )
    axes = figure.add_subplot(facecolor="#F3F4F6")
    axes.imshow(cells, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(cells):
        if not np.isnan(value):
            ink = BACKGROUND if value > 0.64 else INK
            axes.text(
                column, row, f"{100 * value:.1f}", ha="center", va="center", color=ink, size=9
            )
    axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel(column_title, color=INK)
    axes.set_ylabel(row_title, color=INK)
    axes.set_title(title, color=INK, size=10, wrap=True)
    axes.tick_params(colors=INK, length=0, pad=9, labelsize=9)
    axes.spines[:].set_visible(False)
    for axis, names in ((axes.yaxis, rows), (axes.xaxis, columns)):
        for tick, name in zip(axis.get_major_ticks(), names, strict=True):
            if name in EMOTION_STYLES:  # a bar of its colour between the cells and the name
                tick.tick1line.set(markersize=6, mew=20, mec=style_of(name).colour)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    try:
        with mpl.rc_context({"svg.hashsalt": "serdemo"}):  # the same picture, the same file
            options = {"metadata": {"Date": None}} if path.suffix == ".svg" else {}
            figure.savefig(path, dpi=160, **options)  # type: ignore[arg-type]
    except OSError as problem:
        raise SerdemoError(f"{path} could not be written: {problem.strerror}.") from problem


def draw_confusion(
    path: Path, labels: Sequence[str], confusion: Sequence[Sequence[int]], title: str
) -> None:
    """Write a (K, K) confusion matrix as percent of each true class.

    Classes without a clip are left out, and columns of classes that are neither true nor predicted.
    """
    counts = np.asarray(confusion, dtype=float)
    rows = [k for k in range(len(labels)) if counts[k].sum()]
    columns = [k for k in range(len(labels)) if k in rows or counts[:, k].sum()]
    shares = counts[np.ix_(rows, columns)] / counts[rows].sum(1, keepdims=True)
    draw(
        path,
        [[float(value) for value in row] for row in shares],
        [labels[k] for k in rows],
        [labels[k] for k in columns],
        title=title,
        row_title="true emotion",
        column_title="answer (% of the true emotion)",
    )
