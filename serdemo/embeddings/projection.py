"""Projections of embeddings to two or three dimensions by PCA and UMAP, and placement of new clips.

UMAP preserves neighbourhoods, not distances: how far apart groups lie on a map says nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serdemo.metrics.clusters import unit_rows
from serdemo.schema.errors import SerdemoError, UsageError

Points = NDArray[np.float32]

UMAP_COMPONENTS = 50  # principal components that UMAP starts from; more add noise and time
NEIGHBOURS = 15
MIN_POINTS = 4  # for UMAP


def pca(embeddings: Points, dimensions: int = 2) -> Points:
    """Principal components (N, `dimensions`) of `embeddings` (N, D), by decreasing variance.

    The largest weight of a component is positive; missing dimensions are 0. Raises SerdemoError
    for no points or values that are not finite, UsageError for dimensions below 1.
    """
    from sklearn.decomposition import PCA

    embeddings = check_points(embeddings)
    if dimensions < 1:
        raise UsageError(f"A map has 1 dimension or more, not {dimensions}.")
    count = min(dimensions, *embeddings.shape)
    points = np.zeros((len(embeddings), dimensions), np.float32)
    if np.ptp(embeddings, axis=0).any():
        solver = "full" if count == min(embeddings.shape) else "auto"
        fitted = PCA(count, svd_solver=solver, random_state=0)
        scores = fitted.fit_transform(embeddings)
        largest = np.abs(fitted.components_).argmax(1)
        signs = np.sign(fitted.components_[np.arange(count), largest])
        points[:, :count] = scores * np.where(signs == 0, 1, signs)
    return points


def umap(embeddings: Points, dimensions: int = 2, seed: int = 0) -> Points:
    """UMAP (McInnes et al., arXiv 1802.03426) of the first principal components, (N, `dimensions`).

    Cosine distance, 15 neighbours; deterministic for a seed. Raises SerdemoError for fewer than
    four points or values that are not finite.
    """
    embeddings = check_points(embeddings)
    if len(embeddings) < MIN_POINTS:
        raise SerdemoError(
            f"A map needs {MIN_POINTS} clips or more, and there are {len(embeddings)}: add some."
        )
    from umap import UMAP

    reduced = pca(embeddings, min(UMAP_COMPONENTS, *embeddings.shape))
    # Spectral initialisation needs a few more points than dimensions.
    init = "spectral" if len(embeddings) > dimensions + 2 else "random"
    model = UMAP(
        n_components=dimensions,
        n_neighbors=min(NEIGHBOURS, len(embeddings) - 1),
        metric="cosine",
        init=init,
        random_state=seed,
        n_jobs=1,  # the only choice with a seed
    )
    with warnings.catch_warnings(action="ignore"):  # about random initialisation
        return np.asarray(model.fit_transform(reduced), np.float32)


@dataclass(frozen=True, slots=True)
class Placement:
    """Position (dimensions,) of a new clip, and the `rows` and cosine `similarities` of its nearest
    neighbours, nearest first."""

    position: Points
    rows: tuple[int, ...]
    similarities: tuple[float, ...]


class ReferenceMap:
    """Fixed map on which new clips are placed by their nearest neighbours among its points."""

    def __init__(self, embeddings: Points, positions: Points) -> None:
        """Build from `embeddings` (N, D) and their `positions` (N, dimensions)."""
        self.embeddings = unit_rows(check_points(embeddings)).astype(np.float32)
        self.positions = check_points(positions)
        if len(self.embeddings) != len(self.positions):
            raise SerdemoError(
                f"The map has {len(self.positions)} places for {len(self.embeddings)} clips: make"
                " it anew."
            )

    def place(self, embedding: Sequence[float] | Points, neighbours: int = NEIGHBOURS) -> Placement:
        """Place an `embedding` (D,) at the weighted mean position of its nearest neighbours.

        The weights fall to zero at the last neighbour, so that the position is continuous in the
        embedding. Raises SerdemoError for an embedding of another size.
        """
        points = check_points(np.asarray(embedding, np.float32)[None])
        if points.shape[1] != self.embeddings.shape[1]:
            raise SerdemoError(
                f"This embedding has {points.shape[1]} numbers, the map's {self.embeddings.shape[1]}:"
                " they are of two models."
            )
        cosines = self.embeddings @ unit_rows(points)[0].astype(np.float32)
        count = min(neighbours, len(cosines))
        rows = np.argpartition(-cosines, count - 1)[:count]
        rows = rows[np.argsort(-cosines[rows], kind="stable")]
        weights = cosines[rows] - cosines[rows[-1]]
        if weights[0] <= 1e-9:  # all equal, or a single neighbour
            weights = np.ones(count, np.float32)
        position = (weights / weights.sum()) @ self.positions[rows]
        return Placement(
            position.astype(np.float32), tuple(rows.tolist()), tuple(cosines[rows].tolist())
        )


def check_points(values: Points) -> Points:
    """`values` as a float32 table (N, D) of finite numbers; raises SerdemoError for anything else."""
    try:
        table = np.asarray(values, np.float32)
    except (TypeError, ValueError) as problem:
        raise SerdemoError("The embeddings are no table of numbers.") from problem
    if table.ndim != 2 or 0 in table.shape:
        raise SerdemoError("There is no embedding to make a map of.")
    if not np.isfinite(table).all():
        raise SerdemoError("Some embeddings hold values that are not finite: embed anew.")
    return table
