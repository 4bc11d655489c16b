"""Rows of tables in formats with types: JSON, JSON Lines and Parquet."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serdemo.data.corpora import text_table
from serdemo.schema.errors import SerdemoError

BATCH = 64  # rows of Parquet at once: they may hold sound


def read_json(path: Path, encoding: str = "") -> tuple[list[str], list[tuple[str, Any]]]:
    """Columns and rows of a JSON list of objects, or of an object on each line.

    A row is a place, such as `t.jsonl, line 3`, and its values by column.
    Raises SerdemoError for anything else.
    """
    text, _ = text_table.read_text(path, encoding)
    rows = _json_list(path, text) if text.lstrip()[:1] == "[" else _json_lines(path, text)
    for where, row in rows:
        if not isinstance(row, dict):
            raise SerdemoError(f"{where}: not a JSON object with a value for each column.")
    if not rows:
        raise SerdemoError(f"{path.name} is empty: it needs an object for each clip.")
    return list(dict.fromkeys(name for _, row in rows for name in row)), rows


class ParquetTable:
    """A Parquet table whose rows are read as they are iterated over.

    Class indices that the `datasets` library stored are replaced by their names. Raises SerdemoError
    for a file that is no Parquet table or is damaged.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self._path = path
        with _readable(path):
            schema = pq.read_schema(path)
        self.header: Sequence[str] = schema.names
        self._classes = _class_names(schema.metadata or {})

    def rows(self, columns: Iterable[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Places and values of `columns`, row by row."""
        import pyarrow.parquet as pq

        number = 0
        with _readable(self._path), pq.ParquetFile(self._path) as file:
            for batch in file.iter_batches(BATCH, columns=list(dict.fromkeys(columns))):
                for row in batch.to_pylist():
                    number += 1
                    for column, names in self._classes.items():
                        if isinstance(index := row.get(column), int) and 0 <= index < len(names):
                            row[column] = names[index]
                    yield f"{self._path.name}, row {number}", row


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


def _json_list(path: Path, text: str) -> list[tuple[str, Any]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise SerdemoError(f"{path.name} is no valid JSON ({problem}).") from None
    if len(rows) > text_table.MAX_ROWS:
        raise text_table.too_many(path)
    return [(f"{path.name}, entry {n}", row) for n, row in enumerate(rows, 1)]


def _json_lines(path: Path, text: str) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for line, content in enumerate(io.StringIO(text), 1):
        if content.strip():
            if len(rows) == text_table.MAX_ROWS:
                raise text_table.too_many(path)
            where = f"{path.name}, line {line}"
            try:
                rows.append((where, json.loads(content)))
            except (ValueError, RecursionError):
                raise SerdemoError(f"{where}: not a JSON object on a line of its own.") from None
    return rows
