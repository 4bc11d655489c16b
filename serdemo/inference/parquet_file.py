"""Tables of answers as Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from serdemo.inference.answers import Table, encoded


def write_parquet(table: Table, path: Path) -> None:
    """Write a Parquet file of strings, doubles and booleans."""
    kinds = {str: pa.string(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(_encodable(name), kinds[kind]) for name, kind in table.columns.items()])
    columns = [
        pa.array([_encodable(row.get(name)) for row in table.rows], kinds[kind])
        for name, kind in table.columns.items()
    ]
    parquet.write_table(pa.Table.from_arrays(columns, schema=schema), path)


def _encodable(value: Any) -> Any:
    """The value; of a file name that is no Unicode, with its bytes spelt out."""
    return encoded(value).decode() if isinstance(value, str) else value
