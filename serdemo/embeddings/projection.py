"""Projections of embeddings to two or three dimensions by PCA and UMAP, and placement of new clips.

UMAP preserves neighbourhoods, not distances: how far apart groups lie on a map says nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serdemo.embeddings.map_options import MIN_DIST, NEIGHBOURS, SAMPLE
from serdemo.metrics.clusters import unit_rows
from serdemo.schema.errors import SerdemoError, UsageError

Points = NDArray[np.float32]

UMAP_COMPONENTS = 50  # principal components that UMAP starts from; more add noise and time
MIN_POINTS = 4  # for UMAP
# Of a point that is placed in a sample; 15 make positions that agree less with those of UMAP of all points.
PLACED_BY = 5
MAX_EXACT = 4096  # points whose neighbours are found exactly, as in UMAP
BLOCK = 32_768  # points that are projected at a time


@dataclass(frozen=True, slots=True)
class PrincipalAxes:
    """Principal axes of points: their `mean` (D,) and `components` (dimensions, D)."""

    mean: Points
    components: Points

    def project(self, embeddings: Points) -> Points:
        """Coordinates (N, dimensions) of `embeddings` (N, D)."""
        return np.asarray((embeddings - self.mean) @ self.components.T, np.float32)


def pca(embeddings: Points, dimensions: int = 2, seed: int = 0, *, sample: int = SAMPLE) -> Points:
    """Principal components (N, `dimensions`) of `embeddings` (N, D), by decreasing variance.

    The largest weight of a component is positive; missing dimensions are 0. The axes of more than
    `sample` points are those of a random sample by `seed`. Raises SerdemoError for no points or values that are
    not finite, UsageError for dimensions below 1.
    """
    embeddings = check_points(embeddings)
    if len(embeddings) <= sample:
        return fit_pca(embeddings, dimensions)[0]
    _, axes = fit_pca(embeddings[sample_rows(len(embeddings), sample, seed)], dimensions)
    return np.concatenate([axes.project(block) for block in _blocks(embeddings)])


def fit_pca(embeddings: Points, dimensions: int) -> tuple[Points, PrincipalAxes]:
    """Principal components of all `embeddings` as in `pca`, and their axes."""
    from sklearn.decomposition import PCA

    embeddings = check_points(embeddings)
    if dimensions < 1:
        raise UsageError(f"A map has 1 dimension or more, not {dimensions}.")
    count = min(dimensions, *embeddings.shape)
    points = np.zeros((len(embeddings), dimensions), np.float32)
    components = np.zeros((dimensions, embeddings.shape[1]), np.float32)
    if np.ptp(embeddings, axis=0).any():
        solver = "full" if count == min(embeddings.shape) else "auto"
        fitted = PCA(count, svd_solver=solver, random_state=0)
        scores = fitted.fit_transform(embeddings)
        largest = np.abs(fitted.components_).argmax(1)
        signs = np.sign(fitted.components_[np.arange(count), largest])
        signs = np.where(signs == 0, 1, signs)
        points[:, :count] = scores * signs
        components[:count] = fitted.components_ * signs[:, None]
    return points, PrincipalAxes(embeddings.mean(axis=0), components)


def umap(
    embeddings: Points,
    dimensions: int = 2,
    seed: int = 0,
    *,
    neighbours: int = NEIGHBOURS,
    min_dist: float = MIN_DIST,
    sample: int = SAMPLE,
) -> Points:
    """UMAP (McInnes et al., arXiv 1802.03426) of the first principal components, (N, `dimensions`).

    Cosine distance, deterministic for a seed. `min_dist` is the smallest distance of points on the
    map, 0 to 1. More than `sample` points are a `SampledUmap` of so many of them. Raises SerdemoError
    for fewer than four points or values that are not finite, UsageError for as many `neighbours` as
    points or more, unless these are as few as the default's.
    """
    embeddings = check_points(embeddings)
    if len(embeddings) <= sample:
        return _fit_umap(embeddings, dimensions, seed, neighbours, min_dist)
    rows = sample_rows(len(embeddings), sample, seed)
    fitted = SampledUmap(
        embeddings[rows], dimensions, seed, neighbours=neighbours, min_dist=min_dist
    )
    positions = np.concatenate([fitted.place(block) for block in _blocks(embeddings)])
    positions[rows] = fitted.positions
    return positions


def _fit_umap(
    embeddings: Points, dimensions: int, seed: int, neighbours: int, min_dist: float
) -> Points:
    count = len(embeddings)
    if count < MIN_POINTS:
        raise SerdemoError(
            f"A map needs {MIN_POINTS} clips or more, and there are {count}: add some."
        )
    if neighbours > max(count - 1, NEIGHBOURS):
        raise UsageError(
            f"--neighbours {neighbours} must be fewer than the {count} clips that UMAP is fitted on."
        )
    from umap import UMAP

    reduced, _ = fit_pca(embeddings, min(UMAP_COMPONENTS, *embeddings.shape))
    # Spectral initialisation needs a few more points than dimensions.
    init = "spectral" if count > dimensions + 2 else "random"
    model = UMAP(
        n_components=dimensions,
        n_neighbors=min(neighbours, count - 1),
        min_dist=min_dist,
        metric="cosine",
        init=init,
        random_state=seed,
        n_jobs=1,  # the only choice with a seed
    )
    with warnings.catch_warnings(action="ignore"):  # about random initialisation
        return np.asarray(model.fit_transform(reduced), np.float32)


class SampledUmap:
    """UMAP of a sample of points, with `positions` (S, dimensions), on which the others are placed."""

    def __init__(
        self,
        sample: Points,
        dimensions: int = 2,
        seed: int = 0,
        *,
        neighbours: int = NEIGHBOURS,
        min_dist: float = MIN_DIST,
    ) -> None:
        """Fit UMAP to the `sample` (S, D) of embeddings, as `umap` does."""
        self.positions = _fit_umap(sample, dimensions, seed, neighbours, min_dist)
        reduced, self._axes = fit_pca(sample, min(UMAP_COMPONENTS, *sample.shape))
        self._nearest = _neighbour_search(reduced, min(PLACED_BY, len(sample)), seed)

    def place(self, embeddings: Points) -> Points:
        """Positions (N, dimensions) of `embeddings` (N, D) by their nearest neighbours in the sample, weighted
        as in `ReferenceMap.place`."""
        rows, distances = self._nearest(self._axes.project(embeddings))
        weights = neighbour_weights(1 - distances)
        return np.einsum("nk,nkd->nd", weights, self.positions[rows]).astype(np.float32)


def _neighbour_search(
    points: Points, count: int, seed: int
) -> Callable[[Points], tuple[NDArray[np.integer[Any]], Points]]:
    """A function of points (N, D) that finds the `count` nearest of `points` by cosine distance, as rows and
    distances (N, count); approximate where there are more than `MAX_EXACT`."""
    if len(points) <= MAX_EXACT:
        from sklearn.neighbors import NearestNeighbors

        exact = NearestNeighbors(n_neighbors=count, metric="cosine", algorithm="brute").fit(points)
        return lambda others: exact.kneighbors(others)[::-1]
    from pynndescent import NNDescent  # type: ignore[import-untyped]

    index = NNDescent(
        points,
        metric="cosine",
        n_neighbors=2 * NEIGHBOURS,
        random_state=seed,
        n_jobs=1,
        parallel_batch_queries=True,  # with random numbers of its own for each
    )
    index.prepare()
    return lambda others: index.query(others, k=count)


def sample_rows(count: int, limit: int, seed: int = 0) -> NDArray[np.intp]:
    """Sorted indices of a random sample of at most `limit` of `count` rows."""
    if count <= limit:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, limit, replace=False))


def neighbour_weights(similarities: Points) -> Points:
    """Weights (..., K) of a point's neighbours, whose sum is 1, by their `similarities`, nearest first.

    They fall to zero at the last neighbour, so that a weighted mean is continuous in the point.
    """
    weights = similarities - similarities[..., -1:]
    weights = np.where(weights[..., :1] <= 1e-9, np.float32(1), weights)  # all equal, or one
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), np.float32)


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
        blocks = _blocks(check_points(embeddings))  # as doubles for a moment
        self.embeddings = np.concatenate([unit_rows(b).astype(np.float32) for b in blocks])
        self.positions = check_points(positions)
        if len(self.embeddings) != len(self.positions):
            raise SerdemoError(
                f"The map has {len(self.positions)} places for {len(self.embeddings)} clips: make"
                " it anew."
            )

    def place(self, embedding: Sequence[float] | Points, neighbours: int = NEIGHBOURS) -> Placement:
        """Place an `embedding` (D,) at the mean position of its nearest neighbours, weighted by
        `neighbour_weights`. Raises SerdemoError for an embedding of another size.
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
        position = neighbour_weights(cosines[rows]) @ self.positions[rows]
        return Placement(
            position.astype(np.float32), tuple(rows.tolist()), tuple(cosines[rows].tolist())
        )


def _blocks(points: Points) -> Iterator[Points]:
    """Points in pieces of at most `BLOCK`."""
    return (points[start : start + BLOCK] for start in range(0, len(points), BLOCK))


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
