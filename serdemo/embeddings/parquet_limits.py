"""Checks of an untrusted Parquet file by its schema and metadata, before its data is read.

A small file can expand without bound when read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from serdemo.schema import parquet_pages
from serdemo.schema.errors import SerdemoError

TEXT_COLUMNS = ("clip", "corpus", "speaker", "gender", "language", "emotion", "prediction")
PROBABILITY_PREFIX = "p_"  # + label: the column of its probability
REQUIRED = ("embedding", "speaker", "emotion")
LISTS, PARTS = "lists of as many finite numbers each", "numbers from 0 to 1"
MAX_ROWS, MAX_VALUES, MAX_BYTES = 100_000, 20_000_000, 200_000_000  # of an untrusted file
MAX_VALUE = 1e12  # of an embedding's numbers: squares of larger ones leave single precision
MAX_TEXT_LENGTH = 1000  # of a value there: stored once, it may stand in every row


def table_columns(path: Path, schema: Any) -> list[str]:
    """Columns of a table; raises SerdemoError where one is missing, occurs twice or has another type."""
    if missing := [name for name in REQUIRED if name not in schema.names]:
        raise SerdemoError(
            f"{path.name} has no column {missing[0]}: make the table with `serdemo embed`."
        )
    columns = [
        name for name in schema.names if name in _TYPES or name.startswith(PROBABILITY_PREFIX)
    ]
    for name in columns:
        if not _is_unique(schema, name):
            raise SerdemoError(f"{path.name} has more than one column {name}: leave one of them.")
        has_type, description = _TYPES.get(name, (_is_number, PARTS))
        if not has_type(stored_type(schema.field(name).type)):
            raise SerdemoError(f"The column {name} of {path.name} must hold {description}.")
    return columns


def numeric_columns(schema: Any, names: Sequence[str]) -> list[str]:
    """Those of `names` that are columns of numbers and occur once."""
    return [
        name
        for name in names
        if name in schema.names and _is_unique(schema, name) and _is_number(schema.field(name).type)
    ]


def refuse_large(path: Path) -> None:
    """Raise SerdemoError for a file that would need much memory, or whose columns make no table.

    Counted are its pages, not what its metadata claim.
    """
    try:
        with pq.ParquetFile(path) as file:
            table_columns(path, file.schema_arrow)
            metadata = file.metadata
            groups = [metadata.row_group(n) for n in range(metadata.num_row_groups)]
        n_rows = max(metadata.num_rows, sum(group.num_rows for group in groups))
        pages = parquet_pages.measure(path)
        large = (
            n_rows > MAX_ROWS
            or pages.n_values > MAX_VALUES
            or pages.n_bytes > MAX_BYTES
            or _max_text_length(path) > MAX_TEXT_LENGTH
        )
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise SerdemoError(
            f"{path.name} is no Parquet table, or is damaged: make one with `serdemo embed`."
        ) from problem
    if large:
        raise SerdemoError(
            f"{path.name} holds {n_rows} clips, too much for the page: send at most"
            f" {MAX_ROWS} clips of a few hundred numbers, with short names."
        )


def _max_text_length(path: Path) -> int:
    """Length of the longest text value, read from dictionaries where values are stored so."""
    with pq.ParquetFile(path) as file:
        names = [name for name in TEXT_COLUMNS if name in file.schema_arrow.names]
    lengths = [0]
    with pq.ParquetFile(path, read_dictionary=names) as file:
        columns = file.read(names).columns
    for chunk in (chunk for column in columns for chunk in column.chunks):
        values = chunk.dictionary if pt.is_dictionary(chunk.type) else chunk
        if _is_text(values.type):
            lengths.append(pc.max(pc.binary_length(values)).as_py() or 0)
    return max(lengths)


def _is_unique(schema: Any, name: str) -> bool:
    """Whether reading `name` gives one column: `name.x` counts as a part of `name`."""
    first = name.split(".")[0]
    return sum(other.split(".")[0] == first for other in schema.names) == 1


def stored_type(kind: Any) -> Any:
    """The type that an extension type, such as a tensor's, is stored in; others as they are."""
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _is_number(kind: Any) -> bool:
    return bool(pt.is_floating(kind) or pt.is_integer(kind))


def _is_text(kind: Any) -> bool:
    return bool(pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind))


def _is_text_like(kind: Any) -> bool:
    value_type = kind.value_type if pt.is_dictionary(kind) else kind
    return bool(_is_text(value_type) or pt.is_null(value_type) or pt.is_primitive(value_type))


def _is_number_list(kind: Any) -> bool:
    kinds = (pt.is_list, pt.is_large_list, pt.is_fixed_size_list, pt.is_list_view)
    is_list = any(is_kind(kind) for is_kind in (*kinds, pt.is_large_list_view))
    return bool(is_list and _is_number(kind.value_type))


_TYPES: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(TEXT_COLUMNS, (_is_text_like, "text")),
    "embedding": (_is_number_list, LISTS),
}
