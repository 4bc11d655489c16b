"""Table of embeddings, a row per clip, stored as a Parquet file that other tools read too."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from serdemo.embeddings import parquet_limits
from serdemo.embeddings.parquet_limits import PROBABILITY_PREFIX
from serdemo.embeddings.parquet_limits import TEXT_COLUMNS as TEXT_COLUMNS
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import atomic

MAX_ROWS = 1_000_000
# Keys of the file's metadata: what made the table, and notes about its map.
ABOUT, NOTES = b"serdemo", b"serdemo_map"


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Embeddings of N clips.

    `text` holds the N values of each of `TEXT_COLUMNS`, `embedding` is (N, E), `probabilities`
    (N, C) of C `labels`, none without a classifier. `about` has the name and digest of the
    checkpoint, the version, and the speakers seen in training.
    """

    text: dict[str, tuple[str, ...]]
    embedding: NDArray[np.float32]
    labels: tuple[str, ...]
    probabilities: NDArray[np.float32]
    about: dict[str, Any]

    def __len__(self) -> int:
        return len(self.embedding)

    @property
    def speakers(self) -> tuple[str, ...]:
        """`corpus/speaker` of each clip: ids repeat across corpora."""
        pairs = zip(self.text["corpus"], self.text["speaker"], strict=True)
        return tuple(f"{corpus}/{speaker}" for corpus, speaker in pairs)

    @property
    def emotions(self) -> tuple[str, ...]:
        """Emotion of each clip, empty where unknown."""
        return self.text["emotion"]

    def take(self, rows: NDArray[np.integer[Any]]) -> Table:
        """The table of some clips, by the indices `rows` (K,)."""
        return replace(
            self,
            text={name: tuple(values[row] for row in rows) for name, values in self.text.items()},
            embedding=self.embedding[rows],
            probabilities=self.probabilities[rows],
        )


def write(
    path: Path,
    table: Table,
    extra: Mapping[str, NDArray[Any]] | None = None,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Write a table as Parquet atomically, with `extra` columns of N numbers and JSON `notes`."""
    columns: dict[str, Any] = {
        name: pa.array(table.text[name], pa.string()) for name in TEXT_COLUMNS
    }
    confidence = table.probabilities.max(axis=1) if table.labels else np.full(len(table), np.nan)
    for name, values in zip(table.labels, table.probabilities.T, strict=True):
        columns[PROBABILITY_PREFIX + name] = pa.array(values, pa.float32())
    columns["confidence"] = pa.array(confidence, pa.float32(), from_pandas=True)
    ends = np.arange(len(table) + 1, dtype=np.int32) * table.embedding.shape[1]
    columns["embedding"] = pa.ListArray.from_arrays(ends, table.embedding.ravel())
    for name, values in (extra or {}).items():
        kind = pa.int32() if np.issubdtype(values.dtype, np.integer) else pa.float32()
        columns[name] = pa.array(values, kind)
    metadata = {ABOUT: json.dumps(table.about)} | ({NOTES: json.dumps(notes)} if notes else {})
    parquet = pa.table(columns).replace_schema_metadata(metadata)
    with atomic(path) as temporary:
        pq.write_table(
            parquet,
            temporary,
            compression="zstd",
            # Values rounded to half precision take half the space so, and text is stored once.
            use_dictionary=list(TEXT_COLUMNS),
            use_byte_stream_split=[
                f"{field.name}.list.element" if field.name == "embedding" else field.name
                for field in parquet.schema
                if field.name not in TEXT_COLUMNS
            ],
        )


def read(path: Path) -> Table:
    """Read a table of `write`, or of another tool with the columns embedding, speaker and emotion.

    Raises SerdemoError for another format, a missing column, or a table without clips.
    """
    if not path.is_file():
        raise SerdemoError(f"There is no table {path}: make one with `serdemo embed`.")
    try:
        with pq.ParquetFile(path) as file:
            if file.metadata.num_rows > MAX_ROWS:
                raise SerdemoError(f"{path.name} holds more than {MAX_ROWS} clips: split it.")
            data = file.read(parquet_limits.table_columns(path, file.schema_arrow))
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise SerdemoError(
            f"{path.name} is no Parquet table, or is damaged: make one with `serdemo embed`."
        ) from problem
    if not len(data):
        raise SerdemoError(f"{path.name} holds no clips: embed a corpus that has some.")
    columns = [name for name in data.column_names if name.startswith(PROBABILITY_PREFIX)]
    probabilities = np.zeros((len(data), len(columns)), np.float32)
    for n, name in enumerate(columns):
        probabilities[:, n] = _floats(data[name])
        if not (np.abs(probabilities[:, n] - 0.5) <= 0.501).all():
            raise SerdemoError(
                f"The column {name} of {path.name} must hold {parquet_limits.PARTS}."
            )
    return Table(
        text={name: _text(path, data, name) for name in TEXT_COLUMNS},
        embedding=_embedding(path, data),
        labels=tuple(name.removeprefix(PROBABILITY_PREFIX) for name in columns),
        probabilities=probabilities,
        about=_json(data, ABOUT),
    )


def read_extras(
    path: Path, names: Sequence[str]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """Those of the columns `names` that occur once and hold finite numbers (N,), and the notes."""
    with pq.ParquetFile(path) as file:
        data = file.read(parquet_limits.numeric_columns(file.schema_arrow, names))
    columns = {name: _floats(data[name]) for name in data.column_names}
    finite = {name: values for name, values in columns.items() if np.isfinite(values).all()}
    return finite, _json(data, NOTES)


def _text(path: Path, data: Any, name: str) -> tuple[str, ...]:
    if name not in data.column_names:
        return ("",) * len(data)
    try:
        values = data[name].cast(pa.string()).to_pylist()
    except (pa.ArrowException, ValueError) as problem:
        raise SerdemoError(f"The column {name} of {path.name} must hold text.") from problem
    return tuple(value or "" for value in values)


def _floats(column: Any) -> NDArray[np.float32]:
    """Column of numbers as float32 (N,): missing values become NaN, too large ones infinite."""
    with np.errstate(over="ignore"):
        values: NDArray[np.float32] = column.to_numpy(zero_copy_only=False).astype(np.float32)
    return values


def _embedding(path: Path, data: Any) -> NDArray[np.float32]:
    """Embeddings (N, E); raises SerdemoError unless all rows are equally many finite numbers."""
    column = data["embedding"].combine_chunks()
    if not column.null_count:
        flat = _floats(column.flatten())
        width, rest = divmod(len(flat), len(column))
        fixed = pa.types.is_fixed_size_list(column.type)
        equal = fixed or pc.all(pc.equal(column.value_lengths(), width)).as_py()
        if equal and width and not rest and np.isfinite(flat).all():
            return flat.reshape(len(column), width)
    raise SerdemoError(f"The column embedding of {path.name} must hold {parquet_limits.LISTS}.")


def _json(data: Any, key: bytes) -> dict[str, Any]:
    """Metadata entry `key` as parsed JSON; empty where another tool wrote the file."""
    try:
        values = json.loads((data.schema.metadata or {}).get(key, b"{}"))
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
