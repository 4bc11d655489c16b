"""Maps fitted on a sample: the others lie among their own, and what is large is bounded."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pynndescent
import pytest
from support.command import here
from support.embedding_tables import clips

from serdemo.embeddings import cluster_study, embedding_map, html_map, projection, table
from serdemo.embeddings.cluster_study import probed_rows, study
from serdemo.embeddings.map_options import MapOptions
from serdemo.embeddings.projection import (
    SampledUmap,
    neighbour_weights,
    pca,
    sample_rows,
    umap,
)
from serdemo.embeddings.table import Table
from serdemo.metrics.clusters import unit_rows
from serdemo.schema.errors import SerdemoError, UsageError


def many(speakers: int = 6, each: int = 50) -> Table:
    """Clips of several speakers, of three emotions that part."""
    own = clips(speakers * each)
    names = tuple(f"s{n // each}" for n in range(len(own)))
    return replace(own, text=own.text | {"speaker": names})


def test_a_sample_is_sorted_random_and_repeats() -> None:
    rows = sample_rows(1000, 100, 3)
    assert (len(set(rows.tolist())), sorted(rows.tolist())) == (100, rows.tolist())
    assert np.array_equal(rows, sample_rows(1000, 100, 3))
    assert not np.array_equal(rows, sample_rows(1000, 100, 4))
    assert np.array_equal(sample_rows(100, 100), np.arange(100))


def test_weights_of_neighbours_by_hand() -> None:
    found = neighbour_weights(np.array([[0.9, 0.7, 0.6], [0.5, 0.5, 0.5]], np.float32))
    np.testing.assert_allclose(found, [[0.75, 0.25, 0], [1 / 3] * 3], atol=1e-6)


def test_axes_of_a_sample_are_nearly_those_of_all() -> None:
    own = many().embedding * np.array([3, 2, *[1] * 6], np.float32)
    assert np.array_equal(pca(own, 3, sample=300), pca(own, 3))
    found, whole = pca(own, 2, sample=200), pca(own, 2)
    assert found.shape == (300, 2)
    assert not np.array_equal(found, whole)
    for axis in range(2):
        assert abs(np.corrcoef(found[:, axis], whole[:, axis])[0, 1]) > 0.99


@pytest.mark.slow
def test_a_map_in_batches_is_the_map_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "BATCH_ROWS", 64)
    own, source, out = many(), tmp_path / "clips.parquet", tmp_path / "map.parquet"
    table.write(source, own)
    done: list[int] = []
    assert html_map.write_map(source, out, MapOptions(sample=100, seed=1), done.append) == 300
    assert done == [64, 128, 192, 256, 300]
    written = pq.read_table(out)
    for name, values in html_map.coordinates(own, MapOptions(sample=100, seed=1)).items():
        np.testing.assert_allclose(written[name].to_numpy(), values, atol=1e-5)
    mapped = embedding_map.read(out)
    assert (mapped.table.text, mapped.table.about) == (own.text, {"a": 1})
    assert np.array_equal(mapped.table.embedding, own.embedding)
    positions, rows = mapped.positions["umap2"], sample_rows(300, 100, 1)
    assert np.array_equal(positions[rows], umap(own.embedding[rows], 2, 1))
    others = np.setdiff1d(np.arange(300), rows)
    emotions = np.arange(300) % 3
    near = np.linalg.norm(positions[others, None] - positions[None, rows], axis=2).argmin(axis=1)
    assert (emotions[rows][near] == emotions[others]).all()
    fitted = SampledUmap(own.embedding[rows], 2, 1)
    assert np.array_equal(fitted.place(own.embedding[others]), positions[others])


def test_neighbours_in_a_large_sample_are_approximate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact search stands in for the library, which takes most of a minute to compile."""
    points = pca(many().embedding, 5)
    exact = projection._neighbour_search(points, 5, 0)
    arguments = inspect.signature(pynndescent.NNDescent)

    class Index:
        def __init__(self, *given: Any, **more: Any) -> None:
            bound = arguments.bind(*given, **more).arguments
            assert bound["data"] is points and bound["metric"] == "cosine"

        def prepare(self) -> None:
            pass

        def query(self, others: Any, k: int) -> Any:
            assert k == 5
            return exact(others)

    monkeypatch.setattr(pynndescent, "NNDescent", Index)
    monkeypatch.setattr(projection, "MAX_EXACT", 299)
    rows, distances = projection._neighbour_search(points, 5, 0)(points)
    assert np.array_equal(rows[:, 0], np.arange(300))
    assert np.abs(distances[:, 0]).max() < 1e-6 and (np.diff(distances) >= 0).all()
    cosines = unit_rows(points) @ unit_rows(points).T
    np.testing.assert_allclose(1 - distances[7], np.sort(cosines[7])[:-6:-1], atol=1e-6)


@pytest.mark.slow
def test_the_command_says_what_it_was_fitted_on(tmp_path: Path) -> None:
    source, out = tmp_path / "clips.parquet", tmp_path / "map.parquet"
    table.write(source, many())
    ran = here("map", source, "--out", out, "--sample", 100, "--neighbours", 5, "--min-dist", 0.5)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.splitlines()[-1].endswith("a map of 300 clips, fitted on 100 of them.")
    assert len(table.read(out)) == 300


def test_what_cannot_be_mapped_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tmp_path / "out" / "rows"
    rows.mkdir(parents=True)
    table.write(rows / "part-00000.parquet", many())
    monkeypatch.setattr(html_map, "MAX_PAGE_CLIPS", 299)
    for out, more, fault in (
        ("map.html", (), "A page shows at most 299 clips, and out has 300"),
        ("out/rows/map.parquet", (), "would be one more part of the table"),
        ("map.parquet", ("--sample", 100, "--neighbours", 100), "fewer than the 100 clips"),
        ("map.parquet", ("--min-dist", 2), "--min-dist must lie between 0 and 1, not 2"),
    ):
        ran = here("map", tmp_path / "out", "--out", tmp_path / out, *more)
        assert (ran.code, ran.out) == (2, "")
        assert fault in ran.err
        assert len(ran.err.splitlines()) == 1
        assert not (tmp_path / out).exists()


def test_of_many_speakers_a_sample_is_studied() -> None:
    own = many()
    clusters, figures = study(own, max_speakers=2)
    speakers = figures["speakers"]
    assert list(speakers) == [f"one/s{n}" for n in range(6)]
    studied = [name for name, found in speakers.items() if found["found"]["nmi"] is not None]
    assert len(studied) == figures["mean"]["scored"] == 2
    whole = study(own)[1]["speakers"]
    assert all(speakers[name] == whole[name] for name in studied)
    for at, found in enumerate(speakers.values()):
        assert (found["clusters"], len(set(clusters[50 * at : 50 * at + 50].tolist()))) == (3, 3)


def test_of_many_clips_a_sample_is_clustered_and_the_others_join() -> None:
    own = many(speakers=2, each=150)
    clusters, figures = study(own, max_clips=60)
    found = figures["speakers"]["one/s0"]
    assert (found["n"], found["clusters"], figures["pooled"]["n"]) == (60, 3, 60)
    # Emotions part, so that every clip joins the cluster of its emotion.
    pairs = set(zip(own.emotions[:150], clusters[:150].tolist(), strict=True))
    assert len(pairs) == 3


def test_rows_that_clusters_compares_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    speakers = ["a"] * 900 + [f"s{n // 10}" for n in range(100)]
    assert np.array_equal(probed_rows(speakers), np.arange(1000))
    monkeypatch.setattr(cluster_study, "MAX_PROBED_CLIPS", 100)
    rows = probed_rows(speakers)
    assert 50 < len(rows) <= 100 and (np.diff(rows) > 0).all()
    counts = [sum(speakers[row] == name for row in rows) for name in dict.fromkeys(speakers)]
    assert max(counts) - min(counts) <= 1
    monkeypatch.setattr(cluster_study, "MAX_PROBED_SPEAKERS", 3)
    assert len({speakers[row] for row in probed_rows(speakers)}) == 3


def test_clusters_says_what_it_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table.write(tmp_path / "clips.parquet", many())
    monkeypatch.setattr(cluster_study, "MAX_PROBED_SPEAKERS", 2)
    ran = here("clusters", tmp_path / "clips.parquet", "--json", "--k", 3)
    assert (ran.json()["n"], ran.json()["speakers"]) == (100, 2)
    assert "100 of 300 clips, by 2 of 6 speakers, are compared, chosen at random." in ran.err


def test_many_speakers_are_projected_by_pca(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_map, "MAX_UMAP_SPEAKERS", 5)
    own = many()
    found = embedding_map.project(own, "own")
    expected = pca(own.embedding[:50], 2)
    np.testing.assert_allclose(found[:50], expected / np.abs(expected).max(), atol=1e-5)


def test_a_page_of_too_few_or_no_clips(tmp_path: Path) -> None:
    with pytest.raises(SerdemoError, match="There is no table"):
        html_map.write_map(tmp_path, tmp_path / "map.html")
    with pytest.raises(UsageError, match="must end in"):
        html_map.write_map(tmp_path, tmp_path / "map.csv")
