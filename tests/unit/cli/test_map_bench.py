"""`bench map`: the table that it maps, its agreement, and its figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.command import here
from support.embedding_tables import clips

from serdemo.cli.benchmarks import map as map_bench
from serdemo.embeddings import table


def test_agreement_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    positions = np.array([[0, 0], [0, 1], [0, 2.5], [9, 0], [9, 1.5], [9, 2.5]], np.float32)
    codes = np.array([0, 0, 1, 1, 1, 1])
    monkeypatch.setattr(map_bench, "NEAREST", 2)
    agreement = map_bench.neighbour_agreement
    assert agreement(positions, codes, np.array([0])) == 0.5  # one of its two neighbours
    assert agreement(positions, codes, np.array([3, 4, 5])) == 1.0
    assert agreement(positions, codes, np.array([2])) == 0.0
    assert agreement(positions, codes, np.arange(0)) is None


def test_clips_are_repeated_with_noise_under_new_names(tmp_path: Path) -> None:
    base = clips()
    rows = map_bench.write_repeated(base, tmp_path / "x.parquet", 200)
    made = table.read(tmp_path / "x.parquet")
    assert (len(made), len(set(made.text["clip"]))) == (200, 200)
    assert made.text["clip"][0] == "c0000000.wav"
    assert made.emotions == tuple(base.emotions[row] for row in rows)
    assert len(set(made.speakers)) == 4  # two voices of each, of four copies and of three
    noise = made.embedding - base.embedding[rows]
    ratio = noise.std(axis=0) / base.embedding.std(axis=0)
    np.testing.assert_allclose(ratio, map_bench.NOISE, rtol=0.25)


@pytest.mark.slow
def test_figures_of_a_small_map(tmp_path: Path) -> None:
    table.write(tmp_path / "x.parquet", clips())
    out = tmp_path / "map.parquet"
    line = ("bench", "map", "--points", 150, "--table", tmp_path / "x.parquet", "--json")
    figures = here(*line, "--out", out).json()
    assert (figures["points"], figures["sample"], figures["width"]) == (150, 150, 8)
    assert figures["points_per_s"] == pytest.approx(150 / figures["seconds"], abs=1)
    assert figures["peak_mb"] > 100
    agreement = figures["emotion_agreement"]
    assert agreement["fitted"] > 2 * agreement["chance"] and agreement["placed"] is None
    assert len(table.read(out)) == 150
    ran = here(*line[:-1], "--out", tmp_path / "no" / "map.parquet")
    assert (ran.code, ran.out) == (1, "") and "must name a file in an existing folder" in ran.err
