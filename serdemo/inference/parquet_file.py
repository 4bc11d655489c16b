"""Tables of answers as Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from serdemo.inference.answers import Table, encoded


def read_parts(folder: Path) -> dict[str, list[Any]]:
    """The columns of all Parquet files of a folder that `write_parquet` wrote, one after another by their
    names; no columns where there is none."""
    parts = [parquet.ParquetFile(path).read() for path in sorted(folder.glob("*.parquet"))]
    columns: dict[str, list[Any]] = pa.concat_tables(parts).to_pydict() if parts else {}
    return columns


def write_parquet(table: Table, path: Path, group_size: int | None = None) -> None:
    """Write a Parquet file of strings, integers, doubles and booleans, in groups of so many rows."""
    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(_encodable(name), kinds[kind]) for name, kind in table.columns.items()])
    columns = [
        pa.array([_encodable(row.get(name)) for row in table.rows], kinds[kind])
        for name, kind in table.columns.items()
    ]
    parquet.write_table(pa.Table.from_arrays(columns, schema=schema), path, group_size)


def _encodable(value: Any) -> Any:
    """The value; of a file name that is no Unicode, with its bytes spelt out."""
    return encoded(value).decode() if isinstance(value, str) else value
