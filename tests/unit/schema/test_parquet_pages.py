"""Sizes of the pages of Parquet files, those of true files and those of files that lie."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serdemo.embeddings import parquet_limits
from serdemo.schema import parquet_pages
from serdemo.schema.errors import SerdemoError

ROWS = 40
TABLE = pa.table(
    {
        "speaker": ["anna", "bert"] * (ROWS // 2),
        "emotion": ["angry", "sad"] * (ROWS // 2),
        "embedding": np.arange(4 * ROWS, dtype=np.float32).reshape(ROWS, 4).tolist(),
    }
)


def stored(**options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(TABLE, buffer, **options)
    return buffer.getvalue()


def footer(content: bytes) -> range:
    return range(len(content) - 8 - int.from_bytes(content[-8:-4], "little"), len(content) - 8)


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_pages_of_all_groups_are_counted(compression: str, version: str, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    options = dict(use_dictionary=False, row_group_size=10, data_page_version=version)
    path.write_bytes(stored(compression=compression, **options))
    pages = parquet_pages.measure(path)
    assert pages.n_values == ROWS * (1 + 1 + 4)
    # Four bytes before a text, and eight of a number; what it takes to tell lists and gaps is little.
    texts = sum(
        4 + len(text) for name in ("speaker", "emotion") for text in TABLE[name].to_pylist()
    )
    assert 0 <= pages.n_bytes - (texts + 8 * 4 * ROWS) < 200
    assert 0 <= pages.largest - 8 * 4 * 10 < 20  # the numbers of a group


def test_dictionaries_are_counted_with_the_pages(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(stored())
    assert parquet_pages.measure(tmp_path / "x.parquet").n_values == ROWS * 6 + 2 + 2 + 4 * ROWS


@pytest.mark.parametrize("change", [0x01, 0x02, 0x10, 0x80, 0xFF])
def test_a_changed_footer_is_read_or_refused(change: int, tmp_path: Path) -> None:
    """pyarrow ends the process where a column is said to be without gaps, and its statistics are not."""
    whole = stored(compression="none")
    path = tmp_path / "x.parquet"
    n_refused = 0
    for place in footer(whole):
        content = bytearray(whole)
        content[place] ^= change
        path.write_bytes(content)
        try:
            parquet_limits.refuse_large(path)
        except SerdemoError:
            n_refused += 1
    assert len(footer(whole)) > 500 and n_refused > 100


def struct(*fields: tuple[int, bytes]) -> bytes:
    """A struct of Thrift's compact protocol from the kind and the content of each field, from 1 on."""
    return b"".join(bytes([16 + kind]) + content for kind, content in fields) + b"\0"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x15",  # a number is missing
        struct((13, b"")),  # of no kind
        b"\x15\x02\x05\x02\x04\0",  # field 1 a second time
        b"\x05\x82\x80\x08\x04\0",  # field 65537, which Thrift takes for 1
        b"\x19\xfc\xff\xff\xff\xff\x0f",  # a list of four billion
        b"\x19" + b"\x19" * 100_000,  # lists in lists
        b"\x1c" * 100_000,  # structs in structs
        b"\x15" + b"\xff" * 1_000_000 + b"\0",  # a number of a million digits
        b"\x19\xf1\xff\xff\x7f" + b"\1" * (1 << 21),  # two million members
    ],
)
def test_no_struct_is_refused_at_once(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut off|too many|kind|twice|64 bits"):
        parquet_pages._Compact(content).struct()


def test_what_a_struct_holds_is_read() -> None:
    content = struct((5, b"\x03"), (1, b""), (8, b"\x02ab"), (9, b"\x25\x02\x04"), (12, b"\0"))
    found = parquet_pages._Compact(content).struct()
    assert found == {1: -2, 2: None, 3: None, 4: [1, 2], 5: {}}


@pytest.mark.parametrize("field", [b"\x11", b"\x15\x02", b"\x1c\0"])
def test_pages_of_another_shape_are_refused(field: bytes, tmp_path: Path) -> None:
    """A page whose sizes, or whose number of values, are no numbers."""
    whole = stored(compression="none", use_dictionary=False)
    with pq.ParquetFile(io.BytesIO(whole)) as file:
        start = file.metadata.row_group(0).column(0).data_page_offset
    path = tmp_path / "x.parquet"
    path.write_bytes(whole[:start] + field + b"\0" * 9 + whole[start + len(field) + 9 :])
    with pytest.raises(SerdemoError, match="damaged"):
        parquet_limits.refuse_large(path)
