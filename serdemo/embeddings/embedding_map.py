"""A table with all that a map of it shows: places, clusters, figures. Kept as one Parquet file."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serdemo.embeddings import table as tables
from serdemo.embeddings.cluster_study import Codes, Figures, groups
from serdemo.embeddings.projection import FEWEST, NEIGHBOURS, Points, ReferenceMap, pca, umap
from serdemo.embeddings.table import Table
from serdemo.nn.checkpoint_files import bundled_checkpoint
from serdemo.schema.errors import SerdemoError

# Of each projection the columns it is kept in, those of other tools' `x` and `y` first.
PLACES: dict[str, tuple[str, ...]] = {
    "umap2": ("x", "y"),
    "umap3": ("x3", "y3", "z3"),
    "own": ("own_x", "own_y"),  # of each speaker by itself
    "pca": ("pca_x", "pca_y", "pca_z"),
}
CLUSTER = "cluster"
KEPT = 64  # numbers of an embedding that a small map keeps
MOST_BASIS = 4_000_000  # letters of a basis
MAPS = Path(__file__).parent / "shipped"
SHIPPED = ("speaker", "compact")  # of the checkpoints that come with a map, the first is shown


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingMap:
    """A `table` of N clips with `places`, (N, 2 or 3) by the names of `PLACES`, `clusters` (N,)
    and `figures` of `study`, as far as they are known.

    A small map's embeddings are shorter than the model's: `basis` (E, R) makes them so.
    """

    table: Table
    places: dict[str, Points] = field(default_factory=dict)
    clusters: Codes | None = None
    figures: Figures = field(default_factory=dict)
    basis: Points | None = None

    def shortened(self, embedding: Points) -> Points:
        """An embedding (E,) of the model as the table's embeddings are.

        Raises SerdemoError where it is of another model.
        """
        if self.basis is None:
            return embedding
        if len(self.basis) != len(embedding):
            raise SerdemoError("This map is of another model: choose the one that made it.")
        normal = embedding / max(float(np.linalg.norm(embedding)), 1e-12)
        return np.asarray(normal @ self.basis, np.float32)

    def ground(self, names: tuple[str, ...]) -> ReferenceMap:
        """The map to place newcomers on, the projections `names` beside each other."""
        return ReferenceMap(self.table.embedding, np.hstack([self.places[name] for name in names]))


def pca_only(table: Table) -> EmbeddingMap:
    """The map of a table as it can be had at once: by PCA."""
    return EmbeddingMap(table, {"pca": pca(table.embedding, 3)})


def project(table: Table, name: str, seed: int = 0) -> Points:
    """The places of one projection; for too few clips for UMAP, PCA's."""
    dimensions = len(PLACES[name])
    if name == "own":
        return _own(table, dimensions, seed)
    if name == "pca" or len(table) < FEWEST:
        return pca(table.embedding, dimensions)
    return umap(table.embedding, dimensions, seed)


def _own(table: Table, dimensions: int, seed: int) -> Points:
    """Each speaker's clips as if there were no others, in places of about the same extent."""
    found = np.zeros((len(table), dimensions), np.float32)
    for rows in groups(table.speakers).values():
        make = pca if len(rows) <= NEIGHBOURS else partial(umap, seed=seed)
        own = make(table.embedding[rows], dimensions)
        found[rows] = (own - own.mean(axis=0)) / max(float(np.abs(own).max()), 1e-9)
    return found


def compress(whole: EmbeddingMap) -> EmbeddingMap:
    """The same in little room: half precision, embeddings of length 1 turned to their main axes."""
    unit = whole.table.embedding / np.linalg.norm(whole.table.embedding, axis=1, keepdims=True)
    axes = np.linalg.svd(unit.T @ unit)[0][:, :KEPT].astype(np.float32)
    table = replace(
        whole.table,
        embedding=_half(unit @ axes),
        probabilities=_half(whole.table.probabilities),
    )
    places = {name: _half(values) for name, values in whole.places.items()}
    return replace(whole, table=table, places=places, basis=axes)


def write(path: Path, mapped: EmbeddingMap) -> None:
    """Write a map as a Parquet file that is a table too; raises SerdemoError where it cannot be."""
    columns: dict[str, Any] = {
        column: mapped.places[name][:, n]
        for name, axes in PLACES.items()
        if name in mapped.places
        for n, column in enumerate(axes)
    }
    if mapped.clusters is not None:
        columns[CLUSTER] = mapped.clusters
    notes: dict[str, Any] = {"figures": mapped.figures}
    if mapped.basis is not None:
        notes["basis"] = base64.b64encode(mapped.basis.astype("<f4").tobytes()).decode()
    tables.write(path, mapped.table, columns, notes)


def read(path: Path) -> EmbeddingMap:
    """The map of a table, with as much of it as the file holds, PCA at least.

    Raises SerdemoError as `table.read` does.
    """
    table = tables.read(path)
    wanted = [column for axes in PLACES.values() for column in axes]
    found, notes = tables.extras(path, [*wanted, CLUSTER])
    places = {
        name: np.stack([found[axis] for axis in axes], axis=1)
        for name, axes in PLACES.items()
        if all(axis in found for axis in axes)
    }
    clusters = found.get(CLUSTER)
    if clusters is not None and not (np.abs(clusters) < tables.MOST_ROWS).all():
        clusters = None  # no numbers of clusters
    return EmbeddingMap(
        table,
        places if "pca" in places else {**places, **pca_only(table).places},
        None if clusters is None else clusters.astype(np.int32),
        _figures(notes) if clusters is not None else {},
        _basis(notes, table.embedding.shape[1]),
    )


def default() -> Path:
    """The shipped map that is shown first: of the first of `SHIPPED` whose checkpoint is here."""
    for name in SHIPPED:
        try:
            bundled_checkpoint(name)
        except SerdemoError:
            continue
        if (MAPS / f"{name}.parquet").is_file():
            return MAPS / f"{name}.parquet"
    raise SerdemoError("This installation holds no map: choose a folder of clips or a table.")


def _half(values: NDArray[np.floating[Any]]) -> Points:
    return values.astype(np.float16).astype(np.float32)


def _figures(notes: dict[str, Any]) -> Figures:
    """Figures of the shape that `study` gives; none where a stranger wrote others."""
    found = notes.get("figures")
    if not isinstance(found, dict) or set(found) - {"new"} != {"speakers", "mean", "pooled"}:
        return {}
    speakers = found["speakers"]
    means = [found[key] for key in ("mean", "new") if key in found]
    good = (
        isinstance(speakers, dict)
        and all(_told(one, ("n", "clusters")) for one in [*speakers.values(), found["pooled"]])
        and all(_told(one, ("scored",)) for one in means)
    )
    return found if good else {}


def _told(one: Any, counts: tuple[str, ...]) -> bool:
    """Whether these are the figures of one speaker, or the mean of several."""
    return (
        isinstance(one, dict)
        and set(one) == {*counts, "found", "chance"}
        and all(type(one[name]) is int for name in counts)
        and all(isinstance(one[part], dict) for part in ("found", "chance"))
        and all(
            value is None or type(value) in (int, float)
            for part in ("found", "chance")
            for value in one[part].values()
        )
    )


def _basis(notes: dict[str, Any], width: int) -> Points | None:
    text = notes.get("basis")
    if not isinstance(text, str) or len(text) > MOST_BASIS:
        return None
    try:
        numbers = np.frombuffer(base64.b64decode(text, validate=True), "<f4")
        basis: Points = numbers.reshape(-1, width).astype(np.float32)
    except ValueError:
        return None
    return basis if np.isfinite(basis).all() else None
