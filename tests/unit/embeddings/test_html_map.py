"""`map`: a table with coordinates, and a page that stands alone."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.command import here
from support.embedding_tables import clips

from serdemo.embeddings import html_map, table
from serdemo.embeddings.map_options import MapOptions
from serdemo.embeddings.projection import pca
from serdemo.embeddings.table import Table
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.palette import style_of


@pytest.fixture
def source(tmp_path: Path) -> Path:
    table.write(tmp_path / "clips.parquet", clips())
    return tmp_path / "clips.parquet"


@pytest.mark.slow
def test_a_table_with_coordinates_is_still_a_table(source: Path, tmp_path: Path) -> None:
    assert html_map.write_map(source, tmp_path / "map.parquet", MapOptions(dimensions=3)) == 30
    again = table.read(tmp_path / "map.parquet")
    assert again.text == clips().text
    assert again.about == {"a": 1}
    np.testing.assert_array_equal(again.embedding, clips().embedding)
    found = pq.read_table(tmp_path / "map.parquet").to_pandas()
    expected = pca(clips().embedding, 3)
    for number, axis in enumerate("xyz"):
        assert found[axis].nunique() == 30
        np.testing.assert_allclose(found[f"pca_{axis}"], expected[:, number])


@pytest.mark.slow
def test_too_few_for_umap_are_shown_by_pca() -> None:
    whole = clips(4)
    three = Table(
        {name: values[:3] for name, values in whole.text.items()},
        whole.embedding[:3],
        whole.labels,
        whole.probabilities[:3],
        {},
    )
    found = html_map.coordinates(three, MapOptions())
    np.testing.assert_array_equal(found["x"], found["pca_x"])
    assert not np.array_equal(html_map.coordinates(whole, MapOptions())["x"], found["pca_x"])


@pytest.mark.slow
@pytest.mark.parametrize("dimensions", [2, 3])
def test_what_the_page_draws(dimensions: int) -> None:
    given = clips()
    figure = html_map.make_figure(
        given, html_map.coordinates(given, MapOptions(dimensions=dimensions))
    )
    shown = [trace for trace in figure.data if trace.visible]
    assert sorted(trace.name for trace in shown) == ["<b>odd</b> (10)", "angry (10)", "sad (10)"]
    assert sum(len(trace.x) for trace in shown) == 30
    angry = next(trace for trace in shown if trace.name.startswith("angry"))
    assert angry.marker.color == style_of("angry").colour
    assert (angry.marker.symbol == "triangle-up") == (dimensions == 2)
    colours, projections = figure.layout.updatemenus
    assert [b.label for b in colours.buttons] == [
        f"coloured by {kind}" for kind in ("emotion", "prediction", "speaker")
    ]
    for button in colours.buttons:
        visible = button.args[0]["visible"]
        chosen = [t for t, seen in zip(figure.data, visible, strict=True) if seen]
        assert sum(len(trace.x) for trace in chosen) == 30
    assert [b.label for b in projections.buttons] == ["UMAP", "PCA"]
    assert len(projections.buttons[1].args[0]["x"]) == len(figure.data)


def test_what_is_told_of_a_clip() -> None:
    told = html_map.hover_text(clips(), 2)
    assert told.split("<br>") == [
        "<b>2.wav</b>",
        "one, a",
        "meant: &lt;b&gt;odd&lt;/b&gt;",
        "heard: angry (75%)",
    ]


@pytest.mark.slow
def test_very_many_names_are_put_together() -> None:
    given = clips(120)
    many = replace(given, text={**given.text, "speaker": tuple(f"s{n % 60}" for n in range(120))})
    figure = html_map.make_figure(many, html_map.coordinates(many, MapOptions()))
    names = [trace.name for trace in figure.data if trace.name.startswith(("s", "all"))]
    assert f"{html_map.OTHERS} (40)" in names


@pytest.mark.slow
def test_the_page_stands_alone(source: Path, tmp_path: Path) -> None:
    ran = here("map", str(source), "--out", str(tmp_path / "map.html"))
    assert (ran.code, ran.out) == (0, "")
    assert "a map of 30 clips" in ran.err
    text = (tmp_path / "map.html").read_text(encoding="utf-8")
    assert "<title>clips: a map of voices</title>" in text
    assert not re.findall(r'<script[^>]+src="', text)
    assert "says nothing" in text


@pytest.mark.slow
def test_bad_wishes_are_one_sentence(source: Path, tmp_path: Path) -> None:
    for out, options, words in (
        ("map.png", {}, "must end in .parquet or .html"),
        ("map.html", {"dimensions": 4}, "--dimensions must lie between 2 and 3"),
        ("map.html", {"neighbours": 30}, "--neighbours 30 must be fewer than the 30 clips"),
        ("map.html", {"min_dist": 1.5}, "--min-dist must lie between 0 and 1"),
        ("map.html", {"min_dist": float("nan")}, "--min-dist must lie between 0 and 1"),
        ("no/map.html", {}, "must name a file in an existing folder"),
    ):
        with pytest.raises(UsageError, match=words):
            html_map.write_map(source, tmp_path / out, MapOptions(**options))
    with pytest.raises(SerdemoError, match="There is no table"):
        html_map.write_map(tmp_path / "gone.parquet", tmp_path / "map.html")
