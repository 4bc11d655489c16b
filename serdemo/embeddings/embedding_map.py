"""Map of an embedding table: projections, clusters and figures, stored as one Parquet file."""

from __future__ import annotations

import base64
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serdemo.embeddings import table as tables
from serdemo.embeddings.cluster_study import Codes, Figures
from serdemo.embeddings.map_options import NEIGHBOURS
from serdemo.embeddings.projection import MIN_POINTS, Points, ReferenceMap, pca, umap
from serdemo.embeddings.table import Table
from serdemo.metrics.clusters import rows_by_name, single_thread, unit_rows
from serdemo.nn.checkpoint_files import bundled_checkpoint
from serdemo.schema.errors import SerdemoError

# Projection -> its columns in the file; `x` and `y` are what other tools look for.
PROJECTIONS: dict[str, tuple[str, ...]] = {
    "umap2": ("x", "y"),
    "umap3": ("x3", "y3", "z3"),
    "own": ("own_x", "own_y"),  # each speaker projected separately
    "pca": ("pca_x", "pca_y", "pca_z"),
}
CLUSTER_COLUMN = "cluster"
MAX_UMAP_SPEAKERS = 2000  # UMAP takes a tenth of a second or more of each
MAX_CLUSTERS = 1_000_000  # larger numbers in that column are none of clusters
COMPRESSED_WIDTH = 64  # of the embeddings of a compressed map
MAX_BASIS_CHARS = 4_000_000  # of a basis in base64
MAPS = Path(__file__).parent / "shipped"
SHIPPED = ("speaker", "compact")  # checkpoints with a shipped map; the first is the default


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingMap:
    """A `table` of N clips with `positions` (N, 2 or 3) by projection, and the `clusters` (N,) and
    `figures` of `cluster_study.study`. In a compressed map the table's embeddings are the model's
    projected on `basis` (E, R).
    """

    table: Table
    positions: dict[str, Points] = field(default_factory=dict)
    clusters: Codes | None = None
    figures: Figures = field(default_factory=dict)
    basis: Points | None = None

    def compress_embedding(self, embedding: Points) -> Points:
        """Project an embedding (E,) into the table's space; raises SerdemoError for another model's."""
        if self.basis is None:
            return embedding
        if len(self.basis) != len(embedding):
            raise SerdemoError("This map is of another model: choose the one that made it.")
        normal = embedding / max(float(np.linalg.norm(embedding)), 1e-12)
        return np.asarray(normal @ self.basis, np.float32)

    def reference_map(self, names: tuple[str, ...]) -> ReferenceMap:
        """Reference map for placing new clips in the projections `names`, whose columns are stacked."""
        positions = np.hstack([self.positions[name] for name in names])
        return ReferenceMap(self.table.embedding, positions)


def pca_only(table: Table) -> EmbeddingMap:
    """Map of a table by PCA alone, which takes no time."""
    return EmbeddingMap(table, {"pca": pca(table.embedding, 3)})


def project(table: Table, name: str, seed: int = 0) -> Points:
    """Positions (N, 2 or 3) of a projection by its name in `PROJECTIONS`; PCA where UMAP has too few clips."""
    dimensions = len(PROJECTIONS[name])
    if name == "own":
        return _project_each_speaker(table, dimensions, seed)
    if name == "pca" or len(table) < MIN_POINTS:
        return pca(table.embedding, dimensions)
    return umap(table.embedding, dimensions, seed)


def _project_each_speaker(table: Table, dimensions: int, seed: int) -> Points:
    """Project each speaker's clips separately, every speaker scaled to the range -1 to 1; by PCA where
    there are too few clips, or too many speakers, for UMAP."""
    positions = np.zeros((len(table), dimensions), np.float32)
    by_speaker = rows_by_name(table.speakers)
    many = len(by_speaker) > MAX_UMAP_SPEAKERS
    with single_thread() if many else nullcontext():
        for rows in by_speaker.values():
            projection = pca if many or len(rows) <= NEIGHBOURS else partial(umap, seed=seed)
            points = projection(table.embedding[rows], dimensions)
            scale = max(float(np.abs(points).max()), 1e-9)
            positions[rows] = (points - points.mean(axis=0)) / scale
    return positions


def compress(full: EmbeddingMap) -> EmbeddingMap:
    """Compressed copy of a map: half precision, unit embeddings reduced to their principal axes."""
    unit = unit_rows(full.table.embedding)
    axes = np.linalg.svd(unit.T @ unit)[0][:, :COMPRESSED_WIDTH].astype(np.float32)
    table = replace(
        full.table,
        embedding=_round_to_half(unit @ axes),
        probabilities=_round_to_half(full.table.probabilities),
    )
    positions = {name: _round_to_half(values) for name, values in full.positions.items()}
    return replace(full, table=table, positions=positions, basis=axes)


def write(path: Path, mapped: EmbeddingMap) -> None:
    """Write a map as a Parquet file, which `table.read` also reads; raises SerdemoError on failure."""
    columns: dict[str, Any] = {
        column: mapped.positions[name][:, n]
        for name, axes in PROJECTIONS.items()
        if name in mapped.positions
        for n, column in enumerate(axes)
    }
    if mapped.clusters is not None:
        columns[CLUSTER_COLUMN] = mapped.clusters
    notes: dict[str, Any] = {"figures": mapped.figures}
    if mapped.basis is not None:
        notes["basis"] = base64.b64encode(mapped.basis.astype("<f4").tobytes()).decode()
    tables.write(path, mapped.table, columns, notes)


def read(path: Path) -> EmbeddingMap:
    """Read the map of a table, with the parts that the file holds; PCA is added if missing."""
    table = tables.read(path)
    coordinates = [column for axes in PROJECTIONS.values() for column in axes]
    columns, notes = tables.read_extras(path, [*coordinates, CLUSTER_COLUMN])
    positions = {
        name: np.stack([columns[axis] for axis in axes], axis=1)
        for name, axes in PROJECTIONS.items()
        if all(axis in columns for axis in axes)
    }
    clusters = columns.get(CLUSTER_COLUMN)
    if clusters is not None and not (np.abs(clusters) < MAX_CLUSTERS).all():
        clusters = None  # not cluster numbers
    return EmbeddingMap(
        table,
        positions if "pca" in positions else {**positions, **pca_only(table).positions},
        None if clusters is None else clusters.astype(np.int32),
        _figures(notes) if clusters is not None else {},
        _basis(notes, table.embedding.shape[1]),
    )


def default_path() -> Path:
    """Path of the default map: that of the first of `SHIPPED` whose checkpoint and map are installed."""
    for name in SHIPPED:
        try:
            bundled_checkpoint(name)
        except SerdemoError:
            continue
        if (MAPS / f"{name}.parquet").is_file():
            return MAPS / f"{name}.parquet"
    raise SerdemoError("This installation holds no map: choose a folder of clips or a table.")


def _round_to_half(values: NDArray[np.floating[Any]]) -> Points:
    return values.astype(np.float16).astype(np.float32)


def _figures(notes: dict[str, Any]) -> Figures:
    """Figures in the format of `cluster_study.study`; empty where an untrusted file has others."""
    figures = notes.get("figures")
    if not isinstance(figures, dict) or set(figures) - {"new"} != {"speakers", "mean", "pooled"}:
        return {}
    speakers = figures["speakers"]
    means = [figures[key] for key in ("mean", "new") if key in figures]
    valid = (
        isinstance(speakers, dict)
        and all(_is_figures(x, ("n", "clusters")) for x in (*speakers.values(), figures["pooled"]))
        and all(_is_figures(x, ("scored",)) for x in means)
    )
    return figures if valid else {}


def _is_figures(values: Any, counts: tuple[str, ...]) -> bool:
    """Whether `values` is an entry of figures: integer `counts`, and two tables of rates."""
    if not isinstance(values, dict) or set(values) != {*counts, "found", "chance"}:
        return False
    rates = (values["found"], values["chance"])
    if not all(isinstance(table, dict) for table in rates):
        return False
    numbers = (number for table in rates for number in table.values() if number is not None)
    return all(type(values[name]) is int for name in counts) and all(
        type(number) in (int, float) for number in numbers
    )


def _basis(notes: dict[str, Any], width: int) -> Points | None:
    """Basis (E, `width`) of a compressed map; None where there is none, or an untrusted file's is bad."""
    text = notes.get("basis")
    if not isinstance(text, str) or len(text) > MAX_BASIS_CHARS:
        return None
    try:
        numbers = np.frombuffer(base64.b64decode(text, validate=True), "<f4")
        basis: Points = numbers.reshape(-1, width).astype(np.float32)
    except ValueError:
        return None
    return basis if np.isfinite(basis).all() else None
