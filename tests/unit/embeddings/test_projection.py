"""Maps of embeddings: the same for the same, groups kept together, newcomers put among their own."""

from __future__ import annotations

import time

import numpy as np
import pytest

from serdemo.embeddings.projection import ReferenceMap, pca, umap
from serdemo.schema.errors import SerdemoError, UsageError


def groups(count: int = 40, size: int = 64, spread: float = 0.15) -> tuple[np.ndarray, np.ndarray]:
    """Three groups of embeddings around three directions, and who belongs to which."""
    rng = np.random.default_rng(0)
    centres = np.linalg.qr(rng.standard_normal((size, 3)))[0].T
    names = np.repeat(np.arange(3), count)
    points = centres[names] + spread * rng.standard_normal((3 * count, size)) / np.sqrt(size) * 3
    return points.astype(np.float32), names


def purity(positions: np.ndarray, names: np.ndarray, neighbours: int = 5) -> float:
    """The share of nearest neighbours on the map that are of the same group."""
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    nearest = apart.argsort(1)[:, :neighbours]
    return float((names[nearest] == names[:, None]).mean())


def test_principal_components_by_hand() -> None:
    # Widest along the second number, then along the first.
    points = np.array([[1, 3], [-1, 3], [1, -3], [-1, -3]], np.float32) + 5
    np.testing.assert_allclose(pca(points), [[3, 1], [3, -1], [-3, 1], [-3, -1]], atol=1e-5)
    assert pca(points, 3).shape == (4, 3)
    assert (pca(points, 3)[:, 2] == 0).all()
    assert pca(points[:1]).tolist() == [[0.0, 0.0]]
    assert np.abs(pca(np.ones((5, 4), np.float32))).max() < 1e-5
    with pytest.raises(UsageError, match="1 dimension"):
        pca(points, 0)


@pytest.mark.slow
@pytest.mark.parametrize("dimensions", [2, 3])
def test_umap_keeps_groups_together_and_repeats(dimensions: int) -> None:
    points, names = groups()
    made = umap(points, dimensions)
    assert made.shape == (120, dimensions)
    assert purity(made, names) > 0.95
    assert np.array_equal(made, umap(points, dimensions))
    assert not np.array_equal(made, umap(points, dimensions, seed=1))


@pytest.mark.slow
@pytest.mark.parametrize("count", [4, 5, 7, 16])
def test_umap_of_a_few(count: int) -> None:
    points, _ = groups(count)
    assert np.isfinite(umap(points[:count])).all()
    assert np.isfinite(umap(np.ones((count, 8), np.float32))).all()


@pytest.mark.slow
def test_a_newcomer_is_put_among_its_own() -> None:
    points, names = groups()
    positions = umap(points)
    fresh, of = groups(50)
    ground = ReferenceMap(points, positions)
    centres = np.array([positions[names == name].mean(0) for name in range(3)])
    for row in range(0, 150, 7):
        placed = ground.place(fresh[row] + 0.01)
        apart = np.linalg.norm(centres - placed.position, axis=1)
        assert apart.argmin() == of[row]
        assert len(placed.rows) == 15
        assert list(placed.similarities) == sorted(placed.similarities, reverse=True)
        assert (names[list(placed.rows[:5])] == of[row]).all()


def test_weights_by_hand() -> None:
    ground = ReferenceMap(
        np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32),
        np.array([[0, 0], [10, 0], [0, 10]], np.float32),
    )
    placed = ground.place([2.0, 0.0], 3)  # cosines 1, 0.6, 0: weights 1 and 0.6
    assert placed.rows == (0, 1, 2)
    assert placed.similarities == pytest.approx((1.0, 0.6, 0.0))
    assert placed.position.tolist() == pytest.approx([10 * 0.6 / 1.6, 0.0])
    assert ground.place([0.0, 5.0], 1).position.tolist() == [0.0, 10.0]


def test_the_place_moves_without_a_jump() -> None:
    points, _ = groups()
    ground = ReferenceMap(points, pca(points))
    path = np.linspace(points[0], points[80], 400)
    places = np.array([ground.place(at).position for at in path])
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    whole = np.linalg.norm(places[-1] - places[0])
    assert steps.max() < 0.1 * whole


def test_placing_is_quick() -> None:
    rng = np.random.default_rng(0)
    ground = ReferenceMap(
        rng.standard_normal((50_000, 192)).astype(np.float32),
        rng.standard_normal((50_000, 2)).astype(np.float32),
    )
    began = time.perf_counter()
    for _ in range(5):
        ground.place(rng.standard_normal(192))
    assert (time.perf_counter() - began) / 5 < 0.5  # far above what it takes, far below a pause


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((0, 4)), "no embedding"),
        (np.zeros(4), "no embedding"),
        (np.full((9, 4), np.nan), "not finite"),
        ([["a"]], "no table of numbers"),
    ],
)
def test_what_is_no_embedding_is_one_sentence(values: np.ndarray, words: str) -> None:
    for make in (pca, umap):
        with pytest.raises(SerdemoError, match=words):
            make(values)
    with pytest.raises(SerdemoError, match=words):
        ReferenceMap(values, values)


def test_three_points_make_no_map() -> None:
    with pytest.raises(SerdemoError, match="4 clips or more"):
        umap(np.eye(3, dtype=np.float32))


def test_a_map_of_others_is_refused() -> None:
    points, _ = groups()
    with pytest.raises(SerdemoError, match="119 places for 120 clips"):
        ReferenceMap(points, points[:119, :2])
    with pytest.raises(SerdemoError, match="two models"):
        ReferenceMap(points, points[:, :2]).place([1.0, 2.0])
