"""Embeddings on a plane or in a cube: PCA at once, UMAP when it is ready, newcomers beside the
points they are nearest to.

Distances on a UMAP map are not distances between embeddings: who is near whom is kept, how far
apart groups lie is not.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serdemo.schema.errors import SerdemoError, UsageError

Points = NDArray[np.float32]

UMAP_COMPONENTS = 50  # UMAP is given these many: the rest is noise to it, and time
NEIGHBOURS = 15
MIN_POINTS = 4  # points that make a map


def pca(embeddings: Points, dimensions: int = 2) -> Points:
    """Principal components (N, dimensions) of embeddings (N, D), the widest first.

    Signs are fixed (the largest weight of a component is positive), so that the same embeddings
    always give the same map; missing dimensions are 0. Raises SerdemoError for no points or
    numbers that are not finite, UsageError for dimensions below 1.
    """
    from sklearn.decomposition import PCA

    embeddings = check_points(embeddings)
    if dimensions < 1:
        raise UsageError(f"A map has 1 dimension or more, not {dimensions}.")
    kept = min(dimensions, *embeddings.shape)
    found = np.zeros((len(embeddings), dimensions), np.float32)
    if np.ptp(embeddings, axis=0).any():
        fitted = PCA(
            kept, svd_solver="full" if kept == min(embeddings.shape) else "auto", random_state=0
        )
        values = fitted.fit_transform(embeddings)
        rows = np.arange(kept)
        signs = np.sign(fitted.components_[rows, np.abs(fitted.components_).argmax(1)])
        found[:, :kept] = values * np.where(signs == 0, 1, signs)
    return found


def umap(embeddings: Points, dimensions: int = 2, seed: int = 0) -> Points:
    """UMAP (McInnes et al., arXiv 1802.03426) on the first principal components, (N, dimensions).

    Cosine distance, 15 neighbours, the same for the same seed. Raises SerdemoError for fewer than
    four points or numbers that are not finite.
    """
    embeddings = check_points(embeddings)
    if len(embeddings) < MIN_POINTS:
        raise SerdemoError(
            f"A map needs {MIN_POINTS} clips or more, and there are {len(embeddings)}: add some."
        )
    with warnings.catch_warnings(action="ignore"):  # of a start at random, which is as good here
        return _umap(embeddings, dimensions, seed)


def _umap(embeddings: Points, dimensions: int, seed: int) -> Points:
    from umap import UMAP

    reduced = pca(embeddings, min(UMAP_COMPONENTS, *embeddings.shape))
    # A spectral start asks for more points than dimensions by some.
    start = "spectral" if len(embeddings) > dimensions + 2 else "random"
    made = UMAP(
        n_components=dimensions,
        n_neighbors=min(NEIGHBOURS, len(embeddings) - 1),
        metric="cosine",
        init=start,
        random_state=seed,
        n_jobs=1,  # with a seed there is only one, and it says so otherwise
    ).fit_transform(reduced)
    return np.asarray(made, np.float32)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a newcomer lies: `position` (dimensions,), and the `rows` of its nearest neighbours
    with their cosine `similarities`, nearest first."""

    position: Points
    rows: tuple[int, ...]
    similarities: tuple[float, ...]


class ReferenceMap:
    """A frozen map that newcomers are placed on, by the neighbours they have among its points."""

    def __init__(self, embeddings: Points, positions: Points) -> None:
        """`embeddings` (N, D) and their `positions` (N, dimensions).

        Raises SerdemoError where the two do not fit or hold numbers that are not finite.
        """
        self.embeddings = _normalised(check_points(embeddings))
        self.positions = check_points(positions)
        if len(self.embeddings) != len(self.positions):
            raise SerdemoError(
                f"The map has {len(self.positions)} places for {len(self.embeddings)} clips: make"
                " it anew."
            )

    def place(self, embedding: Sequence[float] | Points, neighbours: int = NEIGHBOURS) -> Placement:
        """Put an embedding (D,) among its nearest neighbours, the nearer ones counting more.

        The weights fall to zero at the last neighbour, so that the place moves without a jump as
        the embedding does. Raises SerdemoError for an embedding of another size.
        """
        own = check_points(np.asarray(embedding, np.float32)[None])
        if own.shape[1] != self.embeddings.shape[1]:
            raise SerdemoError(
                f"This embedding has {own.shape[1]} numbers, the map's {self.embeddings.shape[1]}:"
                " they are of two models."
            )
        near = self.embeddings @ _normalised(own)[0]
        count = min(neighbours, len(near))
        rows = np.argpartition(-near, count - 1)[:count]
        rows = rows[np.argsort(-near[rows], kind="stable")]
        weights = near[rows] - near[rows[-1]]
        if weights[0] <= 1e-9:  # all alike, or only one
            weights = np.ones(count, np.float32)
        position = (weights / weights.sum()) @ self.positions[rows]
        return Placement(
            position.astype(np.float32),
            tuple(int(row) for row in rows),
            tuple(float(value) for value in near[rows]),
        )


def check_points(values: Points) -> Points:
    """The same as a float32 table of finite numbers; raises SerdemoError when it is none."""
    try:
        table = np.asarray(values, np.float32)
    except (TypeError, ValueError) as problem:
        raise SerdemoError("The embeddings are no table of numbers.") from problem
    if table.ndim != 2 or 0 in table.shape:
        raise SerdemoError("There is no embedding to make a map of.")
    if not np.isfinite(table).all():
        raise SerdemoError("Some embeddings hold values that are not finite: embed anew.")
    return table


def _normalised(table: Points) -> Points:
    size = np.linalg.norm(table, axis=1, keepdims=True)
    least: Points = np.maximum(size, 1e-12).astype(np.float32)
    return table / least
