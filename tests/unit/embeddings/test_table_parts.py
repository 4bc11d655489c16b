"""Tables in several parts, and in several row groups: the same table, or a sentence that names the part."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.command import here
from support.embedding_tables import clips

from serdemo.embeddings import table
from serdemo.embeddings.table import Table
from serdemo.schema.errors import SerdemoError


def same(one: Table, other: Table) -> bool:
    arrays = ("embedding", "probabilities")
    return (one.text, one.labels, one.about) == (other.text, other.labels, other.about) and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays
    )


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Thirty clips in three parts, the second without rows, as a batch run leaves them."""
    whole = clips()
    folder = tmp_path / "out" / "rows"
    folder.mkdir(parents=True)
    for number, rows in enumerate((range(20), range(0), range(20, 30))):
        own = np.array(rows, np.int64)
        path = folder / f"part-{number:05}.parquet"
        table.write(path, whole.take(own), {"row": 100 + own})
    return tmp_path / "out"


def test_parts_are_one_table(parts: Path) -> None:
    (parts / "errors").mkdir()
    table.write(parts / "errors" / "part-00000.parquet", clips(2))
    for path in (parts, parts / "rows"):
        assert same(table.read(path), clips())
        assert len(table.TableFile(path)) == 30
        columns, notes = table.read_extras(path, ["row", "gone"])
        assert columns["row"].tolist() == list(range(100, 130))
        assert (list(columns), notes) == (["row"], {})
    found = here("clusters", parts, "--json", "--k", 2).json()
    assert (found["n"], found["speakers"]) == (30, 2)


def wider(own: Table) -> Table:
    return replace(own, embedding=np.ones((len(own), 9), np.float32))


def without_labels(own: Table) -> Table:
    return replace(own, labels=(), probabilities=np.zeros((len(own), 0), np.float32))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (wider, "row 1 has 9 of them, row 1 of part-00000.parquet has 8"),
        (
            without_labels,
            "part-00002.parquet does not fit part-00000.parquet: one .* column p_angry",
        ),
        (lambda own: replace(own, about={"digest": "b"}), "they are of different checkpoints"),
    ],
)
def test_a_part_that_does_not_fit_is_named(
    parts: Path, change: Callable[[Table], Table], fault: str
) -> None:
    table.write(parts / "rows" / "part-00002.parquet", change(clips(3)))
    with pytest.raises(SerdemoError, match=f"part-00002.parquet.*{fault}|{fault}"):
        table.read(parts)


def test_a_folder_that_is_no_table_is_told(parts: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SerdemoError, match="There is no table"):
        table.read(tmp_path / "empty")
    (parts / "rows" / "part-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(SerdemoError, match=r"part-00000\.parquet is no Parquet table"):
        table.read(parts)


def test_row_groups_are_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "BATCH_ROWS", 7)
    path = tmp_path / "x.parquet"
    table.write(path, clips(), {"x": np.arange(30, dtype=np.float32)})
    assert pq.read_metadata(path).num_row_groups == 5
    assert [len(batch) for batch in table.TableFile(path).batches()] == [7, 7, 7, 7, 2]
    assert same(table.read(path), clips())
    assert pq.read_table(path)["x"].to_pylist() == list(range(30))
    values = pq.read_table(path)["embedding"].to_pylist()
    values[17] = values[17][:3]
    columns: dict[str, Any] = {"embedding": values, "speaker": ["a"] * 30, "emotion": ["sad"] * 30}
    pq.write_table(pa.table(columns), path)
    with pytest.raises(SerdemoError, match="row 18 has 3 of them, row 1 has 8"):
        table.read(path)


@pytest.mark.parametrize("width", [1, 64, 768, 2**20, 2**31 - 1])
def test_offsets_of_lists_fit_32_bits(width: int) -> None:
    assert 1 <= table.batch_rows(width) <= table.BATCH_ROWS
    assert table.batch_rows(width) * width < 2**31


def test_speakers_that_may_be_one_are_found_across_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "BATCH_ROWS", 2)
    names = ["7", "8", "9", "07"]
    columns = {"embedding": [[1.0]] * 4, "speaker": names, "emotion": ["sad"] * 4}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    with pytest.raises(SerdemoError, match=r"speakers 07 and 7 of x\.parquet"):
        table.read(tmp_path / "x.parquet")


def test_a_table_larger_than_the_memory_is_told(
    parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = SimpleNamespace(available=6000)
    monkeypatch.setattr(table.psutil, "virtual_memory", lambda: free)
    # 30 clips of 8 + 2 numbers, and their text
    with pytest.raises(SerdemoError, match=r"out holds 30 clips, which take 0\.0 GB of memory"):
        table.read(parts)
    free.available = 7500
    assert len(table.read(parts)) == 30


def test_a_file_with_fewer_rows_than_it_claims_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.write(tmp_path / "x.parquet", clips())
    file = table.TableFile(tmp_path / "x.parquet")
    file.parts[tmp_path / "x.parquet"] = 31
    with pytest.raises(SerdemoError, match="is damaged"):
        list(file.batches())
    assert json.loads(pq.read_schema(tmp_path / "x.parquet").metadata[b"serdemo"]) == {"a": 1}
