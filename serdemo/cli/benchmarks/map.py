"""Time, memory and quality of the map of a large table."""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil
from numpy.typing import NDArray

from serdemo.cli.options import JSON, PATH, number_option, print_figures
from serdemo.embeddings import embedding_map, table
from serdemo.embeddings.map_options import SAMPLE
from serdemo.embeddings.projection import Points, sample_rows
from serdemo.embeddings.table import BATCH_ROWS, Table
from serdemo.schema.errors import SerdemoError

NOISE = 0.2  # of a number of the embeddings, in its standard deviations
COPIES_OF_A_VOICE = 4  # copies of a clip that are one speaker's
NEAREST = 15
QUERIES = 10_000  # clips whose neighbours on the map are compared
WATCH_S = 0.1


def measure(
    points: int, sample: int, source: Path | None = None, out: Path | None = None
) -> dict[str, Any]:
    """Map `points` clips, those of the table `source` (None for the shipped map) repeated with noise.

    `peak_mb` is the largest resident memory of `serdemo map` and its children. The agreements are the
    share of a clip's `NEAREST` neighbours on the map that have its emotion, or are copies of clips by its
    speaker: of the clips that UMAP was fitted on (`fitted`), of those placed among them (`placed`), and
    by chance. `out` is where the map is left, None for nowhere.

    Raises SerdemoError where the map is not made.
    """
    base = table.read(source or embedding_map.default_path())
    with tempfile.TemporaryDirectory(prefix="serdemo-map-") as scratch:
        clips, mapped = Path(scratch, "clips.parquet"), out or Path(scratch, "map.parquet")
        rows = write_repeated(base, clips, points)
        command = ["map", str(clips), "--out", str(mapped), "--sample", str(sample)]
        began = time.monotonic()
        peak = _peak_memory(command)
        seconds = time.monotonic() - began
        axes, _ = table.read_extras(mapped, ("x", "y"))
        positions = np.stack([axes["x"], axes["y"]], axis=1)
        figures = {
            "points": points,
            "width": base.embedding.shape[1],
            "sample": min(sample, points),
            "table_mb": round(clips.stat().st_size / 1e6),
            "map_mb": round(mapped.stat().st_size / 1e6),
            "seconds": round(seconds, 1),
            "points_per_s": round(points / seconds),
            "peak_mb": round(peak / 1e6),
        }
    fitted = np.zeros(points, bool)
    fitted[sample_rows(points, sample)] = True
    for name, names in (("emotion", base.emotions), ("speaker", base.speakers)):
        codes = np.unique(np.array(names), return_inverse=True)[1][rows]
        figures[f"{name}_agreement"] = {
            "fitted": neighbour_agreement(positions, codes, np.flatnonzero(fitted)),
            "placed": neighbour_agreement(positions, codes, np.flatnonzero(~fitted)),
            "chance": round(float(((np.bincount(codes) / points) ** 2).sum()), 3),
        }
    machine = f"{platform.machine()}, {psutil.cpu_count()} CPUs"
    return {**figures, "machine": machine}


def write_repeated(base: Table, path: Path, points: int) -> NDArray[np.intp]:
    """Write a table of `points` clips, those of `base` in random order, repeated under new names and with
    noise; returns the row (points,) of `base` that each is a copy of."""
    rng = np.random.default_rng(0)
    copies = np.arange(points) // len(base)
    rows = np.arange(points) % len(base)
    order = rng.permutation(points)
    copies, rows = copies[order], rows[order]
    scale = (NOISE * base.embedding.std(axis=0)).astype(np.float32)
    with table.open_writer(path, base.about) as add:
        for start in range(0, points, BATCH_ROWS):
            own = rows[start : start + BATCH_ROWS]
            voices = copies[start : start + BATCH_ROWS] // COPIES_OF_A_VOICE
            piece = base.take(own)
            noise = scale * rng.standard_normal(piece.embedding.shape, np.float32)
            names = {
                "clip": tuple(f"c{start + n:07}.wav" for n in range(len(own))),
                "speaker": tuple(
                    f"{speaker}v{voice:03}"
                    for speaker, voice in zip(piece.text["speaker"], voices, strict=True)
                ),
            }
            add(replace(piece, text=piece.text | names, embedding=piece.embedding + noise), {})
    return rows


def neighbour_agreement(
    positions: Points, codes: NDArray[np.integer[Any]], of: NDArray[np.intp]
) -> float | None:
    """Mean share of a point's `NEAREST` neighbours on a map (N, 2) that have its code (N,), over at most
    `QUERIES` of the rows `of`; None for no row."""
    from sklearn.neighbors import KDTree

    if not len(of):
        return None
    queries = of[sample_rows(len(of), QUERIES)]
    count = min(NEAREST + 1, len(positions))
    near = KDTree(positions).query(positions[queries], count, return_distance=False)
    others = near != queries[:, None]
    same = (codes[near] == codes[queries][:, None]) & others
    return round(float(same.sum() / others.sum()), 3)


def _peak_memory(arguments: list[str]) -> int:
    """Largest resident memory, in bytes, of a command of serdemo with its children, while it runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "serdemo", *arguments], stderr=subprocess.PIPE, text=True
    )
    tree, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        with suppress(psutil.Error):  # a process that has just ended
            members = [tree, *tree.children(recursive=True)]
            peak = max(peak, sum(member.memory_info().rss for member in members))
        time.sleep(WATCH_S)
    assert process.stderr is not None
    lines = process.stderr.read().splitlines()
    if process.returncode:
        raise SerdemoError(lines[-1] if lines else "`serdemo map` failed.")
    return peak


@click.command("map")
@number_option("--points", 1_000_000, 100, 100_000_000, "Clips of the table.")
@number_option("--sample", SAMPLE, 100, 1_000_000, "Clips that UMAP is fitted on.")
@click.option(
    "--table",
    "source",
    type=PATH,
    help="Table whose clips are repeated [default: the shipped map].",
)
@click.option("--out", type=PATH, help="Where the map is left [default: nowhere].")
@JSON
def command(points: int, sample: int, source: Path | None, out: Path | None, as_json: bool) -> None:
    """Time and memory of the map of many clips, and how far its neighbourhoods agree with labels."""
    print_figures(measure(points, sample, source, out), as_json)
