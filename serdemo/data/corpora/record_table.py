"""Rows of tables in formats with types: JSON, JSON Lines and Parquet."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from serdemo.data.corpora import text_table
from serdemo.schema import parquet_pages
from serdemo.schema.errors import SerdemoError
from serdemo.schema.zipfiles import FREE_BYTES, MAX_RATIO

BATCH = 64  # rows of Parquet at once: they may hold sound
MAX_PAGE = 100_000_000  # unpacked bytes of a page of an untrusted table, and of a batch of its rows


def read_json(
    path: Path, encoding: str = "", *, bounded: bool = True
) -> tuple[list[str], list[tuple[str, Any]]]:
    """Columns and rows of a JSON list of objects, or of an object on each line.

    A row is a place, such as `t.jsonl, line 3`, and its values by column.
    Raises SerdemoError for anything else.
    """
    text, _ = text_table.read_text(path, encoding, bounded=bounded)
    limit = text_table.MAX_ROWS if bounded else sys.maxsize
    is_list = text.lstrip()[:1] == "["
    rows = _json_list(path, text, limit) if is_list else _json_lines(path, text, limit)
    for where, row in rows:
        if not isinstance(row, dict):
            raise SerdemoError(f"{where}: not a JSON object with a value for each column.")
    if not rows:
        raise SerdemoError(f"{path.name} is empty: it needs an object for each clip.")
    return list(dict.fromkeys(name for _, row in rows for name in row)), rows


class ParquetTable:
    """A Parquet table whose rows are read as they are iterated over.

    Class indices that the `datasets` library stored are replaced by their names. Raises SerdemoError
    for a `file` (default: that at `path`) that is no Parquet table or is damaged, and for an `untrusted` one that would take much
    memory: a value that is stored once may stand in every row.
    """

    def __init__(
        self, path: Path, *, untrusted: bool = False, file: BinaryIO | None = None
    ) -> None:
        import pyarrow.parquet as pq

        self._path, self._untrusted, self._source = path, untrusted, file or path
        with _readable(path):
            schema = pq.read_schema(self._source)
            self._batch = _bounded_batch(path) if untrusted else BATCH
        self.header: Sequence[str] = schema.names
        self._classes = _class_names(schema.metadata or {})

    def rows(self, columns: Iterable[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Places and values of `columns`, row by row."""
        import pyarrow.parquet as pq

        number = n_characters = 0
        with _readable(self._path), pq.ParquetFile(self._source) as file:
            for batch in file.iter_batches(self._batch, columns=list(dict.fromkeys(columns))):
                for row in batch.to_pylist():
                    number += 1
                    n_characters += _n_characters(row) if self._untrusted else 0
                    if n_characters > text_table.MAX_BYTES:
                        raise _too_large(self._path)
                    for column, names in self._classes.items():
                        if isinstance(index := row.get(column), int) and 0 <= index < len(names):
                            row[column] = names[index]
                    yield f"{self._path.name}, row {number}", row


def _bounded_batch(path: Path) -> int:
    """Rows of an untrusted table to be read at once; raises SerdemoError where it unpacks to too much."""
    pages = parquet_pages.measure(path)
    if (
        pages.n_bytes > MAX_RATIO * path.stat().st_size + FREE_BYTES
        or pages.n_values > text_table.MAX_CELLS
        or pages.largest > MAX_PAGE
    ):
        raise _too_large(path)
    return max(1, min(BATCH, MAX_PAGE // max(1, pages.largest)))


def _too_large(path: Path) -> SerdemoError:
    return SerdemoError(f"{path.name} unpacks to far more than its size: send it in smaller parts.")


def _n_characters(value: Any) -> int:
    """Characters of all texts in a value."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return sum(map(_n_characters, value))
    return len(value) if isinstance(value, str) else 0


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise SerdemoError(f"{path.name} is no Parquet table, or is damaged.") from problem


def _class_names(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """Names of classes by column, from the features that the `datasets` library writes."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _json_list(path: Path, text: str, limit: int) -> list[tuple[str, Any]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise SerdemoError(f"{path.name} is no valid JSON ({problem}).") from None
    if len(rows) > limit:
        raise text_table.too_many(path)
    return [(f"{path.name}, entry {n}", row) for n, row in enumerate(rows, 1)]


def _json_lines(path: Path, text: str, limit: int) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for line, content in enumerate(io.StringIO(text), 1):
        if content.strip():
            if len(rows) == limit:
                raise text_table.too_many(path)
            where = f"{path.name}, line {line}"
            try:
                rows.append((where, json.loads(content)))
            except (ValueError, RecursionError):
                raise SerdemoError(f"{where}: not a JSON object on a line of its own.") from None
    return rows
