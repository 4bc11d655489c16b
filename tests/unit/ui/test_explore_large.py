"""Maps that are larger than a visitor's may be: opened by their path, few at once, computed on request."""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serdemo.embeddings import background, embedding_map, parquet_limits
from serdemo.embeddings.embedding_map import PROJECTIONS, EmbeddingMap
from serdemo.embeddings.parquet_limits import TEXT_COLUMNS
from serdemo.embeddings.table import Table
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.ui.explore import handlers, open_maps, payload, sources
from serdemo.ui.explore.handlers import Explore
from serdemo.ui.explore.open_maps import MapSessions
from serdemo.ui.shell.page import Page
from serdemo.ui.shell.session import WarmPredictor

CLIPS = 300  # a speaker each, more than a byte tells


@pytest.fixture(autouse=True)
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A map of `CLIPS` is large."""
    monkeypatch.setattr(parquet_limits, "MAX_ROWS", CLIPS - 1)


def made() -> EmbeddingMap:
    """A map with all but the projections in a cube and of each speaker."""
    rng = np.random.default_rng(0)
    words = {name: ("",) * CLIPS for name in TEXT_COLUMNS} | {"corpus": ("one",) * CLIPS}
    words["clip"] = tuple(f"{n}.wav" for n in range(CLIPS))
    words["speaker"] = tuple(f"s{n}" for n in range(CLIPS))
    words["emotion"] = tuple(("angry", "sad")[n % 2] for n in range(CLIPS))
    embeddings = rng.standard_normal((CLIPS, 8)).astype(np.float32)
    table = Table(words, embeddings, (), np.zeros((CLIPS, 0), np.float32), {})
    places = {
        name: rng.standard_normal((CLIPS, len(PROJECTIONS[name]))) for name in ("umap2", "pca")
    }
    return EmbeddingMap(table, {name: at.astype(np.float32) for name, at in places.items()})


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with the map in a file, and in the part of a folder."""
    folder = tmp_path / "data"
    (folder / "parts" / "rows").mkdir(parents=True)
    embedding_map.write(folder / "large.parquet", made())
    shutil.copy(folder / "large.parquet", folder / "parts" / "rows" / "part-00000.parquet")
    monkeypatch.setenv("SERDEMO_DATA", str(folder))
    return folder


@pytest.fixture
def served(root: Path) -> Iterator[Explore]:
    explore = Explore(Page(WarmPredictor(lambda: pytest.fail("no model is needed"))))
    yield explore
    for session in list(explore.maps._open.values()):
        session.stop()


def call(served: Explore, name: str, host: str = "127.0.0.1", **fields: Any) -> Any:
    headers = {"host": "localhost:7860", "origin": "http://localhost:7860"}
    visit: Any = SimpleNamespace(client=SimpleNamespace(host=host), headers=headers)
    return served.call({"call": name, **fields}, visit)


def opened(served: Explore, typed: str, **fields: Any) -> Any:
    """The map at a path, once it is read."""
    key = call(served, "folder", folder=typed, **fields)["hearing"]
    for _ in range(1000):
        answer = call(served, "hearing", hearing=key)
        if "total" not in answer:
            return answer
        assert answer["total"] == 0
        time.sleep(0.01)
    raise AssertionError("the table was not read in time")


@pytest.mark.slow
def test_a_table_under_the_data_root_is_opened_by_its_path(served: Explore) -> None:
    told = opened(served, "large.parquet")
    assert told["n"] == CLIPS and told["title"] == "large" and told["on_request"]
    speaker = told["kinds"]["speaker"]
    codes = np.frombuffer(base64.b64decode(speaker["codes"]), "<u2")
    assert [speaker["names"][code] for code in codes] == [f"one/s{n}" for n in range(CLIPS)]
    assert told["kinds"]["corpus"] == {"names": ["one"], "codes": ""}
    assert set(told["places"]) == {"umap2"}  # the others when they are chosen
    assert set(told["layouts"]) == {"umap2", "pca"}
    assert set(told["missing"]) == {"study", "own", "umap3"}
    pca = call(served, "progress", map=told["map"], wanted=["pca"])["places"]["pca"]
    assert len(base64.b64decode(pca)) == CLIPS * 3 * 4


def test_what_is_a_table_is_seen_by_its_columns(root: Path) -> None:
    pq.write_table(pa.table({"audio": [b"sound"]}), root / "clips.parquet")
    (root / "broken.parquet").write_bytes(b"no")
    (root / "empty").mkdir()
    assert sources.table_at("large.parquet") == root / "large.parquet"
    assert sources.table_at("parts") == sources.table_at("parts/rows").parent == root / "parts"
    for other in ("clips.parquet", "broken.parquet", "empty", "ravdess", "", "a,large.parquet"):
        assert sources.table_at(other) is None
    for outside in ("/etc", "..", "parts/../../x.parquet"):
        with pytest.raises(UsageError, match="outside the data folder"):
            sources.table_at(outside)


def test_a_visitor_opens_no_table_by_its_path(served: Explore) -> None:
    told = call(served, "folder", host="192.0.2.7", folder="large.parquet")
    assert told == {"refused": handlers.ONLY_HERE}


def test_the_parts_of_a_large_map_are_computed_on_request(
    served: Explore, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def start(folder: Path, table: Table) -> Any:
        started.append(len(table))
        return SimpleNamespace(poll=lambda: None, kill=lambda: None, wait=lambda: None)

    monkeypatch.setattr(background, "start", start)
    session = served.maps.add("large", made(), None)
    for _ in range(2):
        told = call(served, "progress", map=session.key, wanted=session.missing)
        assert not told["working"] and not started
    assert call(served, "progress", map=session.key, wanted=[], start=True)["working"]
    assert started == [CLIPS]


@pytest.mark.slow
def test_a_large_map_without_umap_is_saved_without_waiting(served: Explore) -> None:
    whole = made()
    bare = EmbeddingMap(whole.table, {"pca": whole.positions["pca"]})
    session = served.maps.add("bare", bare, None)
    assert payload.payload(session)["places"].keys() == {"pca"}
    path = Path(call(served, "save", map=session.key, rows=None, ending=".csv")["path"])
    assert len(path.read_text(encoding="utf-8").splitlines()) == CLIPS + 1


def test_few_large_maps_are_open_at_once_and_those_of_who_leaves_are_closed() -> None:
    maps = MapSessions()
    small = maps.add("small", embedding_map.EmbeddingMap(made().table.take(np.arange(9))), None)
    first, *later = (maps.add("large", made(), None, visitor="v") for _ in range(3))
    assert len(later) == open_maps.MAX_LARGE_OPEN
    with pytest.raises(SerdemoError, match="was closed"):
        maps.get(first.key)
    assert [maps.get(session.key) for session in (small, *later)] == [small, *later]
    maps.close("v")
    with pytest.raises(SerdemoError, match="was closed"):
        maps.get(later[0].key)
    assert maps.get(small.key) is small
