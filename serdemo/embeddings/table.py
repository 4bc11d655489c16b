"""A corpus as a table of embeddings, a row a clip, in a Parquet file that other tools open too."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from serdemo.embeddings import parquet_limits
from serdemo.embeddings.parquet_limits import PROBABILITY_PREFIX
from serdemo.embeddings.parquet_limits import TEXT_COLUMNS as TEXT_COLUMNS
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import atomic

MAX_ROWS = 1_000_000
ABOUT = b"serdemo"  # the entry of the file's metadata that says what made it
NOTES = b"serdemo_map"  # and the one of what else is known


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """N clips: their `words` by column (`WORDS`), `embedding` (N, E) float32 and, for C `labels`,
    `probabilities` (N, C) float32; without a classifier C is 0 and `prediction` empty.

    `about` says what made it: the checkpoint's name and `digest`, and the version.
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
        """`corpus/speaker` of each clip, unique over all corpora."""
        pairs = zip(self.text["corpus"], self.text["speaker"], strict=True)
        return tuple(f"{corpus}/{speaker}" for corpus, speaker in pairs)

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotion of each clip, empty where it is not known."""
        return self.text["emotion"]


def write(
    path: Path,
    table: Table,
    more: Mapping[str, NDArray[Any]] | None = None,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Write a table as Parquet, whole or not at all, with `more` columns of N numbers and `notes`,
    values for JSON that `extras` gives back.

    Raises SerdemoError where that cannot be.
    """
    own: dict[str, Any] = {name: pa.array(table.text[name], pa.string()) for name in TEXT_COLUMNS}
    confidence = table.probabilities.max(axis=1) if table.labels else np.full(len(table), np.nan)
    for name, values in zip(table.labels, table.probabilities.T, strict=True):
        own[PROBABILITY_PREFIX + name] = pa.array(values, pa.float32())
    own["confidence"] = pa.array(confidence, pa.float32(), from_pandas=True)
    ends = np.arange(len(table) + 1, dtype=np.int32) * table.embedding.shape[1]
    own["embedding"] = pa.ListArray.from_arrays(ends, table.embedding.ravel())
    for name, values in (more or {}).items():
        kind = pa.int32() if np.issubdtype(values.dtype, np.integer) else pa.float32()
        own[name] = pa.array(values, kind)
    said = {ABOUT: json.dumps(table.about)} | ({NOTES: json.dumps(notes)} if notes else {})
    made = pa.table(own).replace_schema_metadata(said)
    with atomic(path) as temporary:
        pq.write_table(
            made,
            temporary,
            compression="zstd",
            # Numbers of half precision take half the room so, and text is told once.
            use_dictionary=list(TEXT_COLUMNS),
            use_byte_stream_split=[
                f"{field.name}.list.element" if field.name == "embedding" else field.name
                for field in made.schema
                if field.name not in TEXT_COLUMNS
            ],
        )


def read(path: Path) -> Table:
    """The table of a Parquet file, ours or another's with the columns embedding, speaker, emotion.

    Raises SerdemoError for a file that is none, that lacks a column, or has no clip in it.
    """
    if not path.is_file():
        raise SerdemoError(f"There is no table {path}: make one with `serdemo embed`.")
    try:
        with pq.ParquetFile(path) as file:
            if file.metadata.num_rows > MAX_ROWS:
                raise SerdemoError(f"{path.name} holds more than {MAX_ROWS} clips: split it.")
            found = file.read(parquet_limits.table_columns(path, file.schema_arrow))
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise SerdemoError(
            f"{path.name} is no Parquet table, or is damaged: make one with `serdemo embed`."
        ) from problem
    if not len(found):
        raise SerdemoError(f"{path.name} holds no clips: embed a corpus that has some.")
    labels = tuple(
        n.removeprefix(PROBABILITY_PREFIX)
        for n in found.column_names
        if n.startswith(PROBABILITY_PREFIX)
    )
    shares = [_shares(path, found, PROBABILITY_PREFIX + name) for name in labels]
    empty = np.zeros((len(found), 0), np.float32)
    return Table(
        text={name: _words(path, found, name) for name in TEXT_COLUMNS},
        embedding=_embedding(path, found),
        labels=labels,
        probabilities=np.stack(shares, axis=1) if shares else empty,
        about=_json(found, ABOUT),
    )


def read_extras(
    path: Path, names: Sequence[str]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """Those of the columns `names` that a readable table has once and that are N finite numbers, as
    float32, and the notes it was written with."""
    with pq.ParquetFile(path) as file:
        found = file.read(parquet_limits.numeric_columns(file.schema_arrow, names))
    values = {name: _floats(found[name]) for name in found.column_names}
    finite = {name: own for name, own in values.items() if np.isfinite(own).all()}
    return finite, _json(found, NOTES)


def _words(path: Path, found: Any, name: str) -> tuple[str, ...]:
    if name not in found.column_names:
        return ("",) * len(found)
    try:
        values = found[name].cast(pa.string()).to_pylist()
    except (pa.ArrowException, ValueError) as problem:
        raise SerdemoError(f"The column {name} of {path.name} must hold text.") from problem
    return tuple(value or "" for value in values)


def _floats(column: Any) -> NDArray[np.float32]:
    """A column of numbers (N,), what lacks as NaN and what is too large as infinite."""
    with np.errstate(over="ignore"):
        values: NDArray[np.float32] = column.to_numpy(zero_copy_only=False).astype(np.float32)
    return values


def _shares(path: Path, found: Any, name: str) -> NDArray[np.float32]:
    values = _floats(found[name])
    if not (np.abs(values - 0.5) <= 0.501).all():
        raise SerdemoError(f"The column {name} of {path.name} must hold {parquet_limits.PARTS}.")
    return values


def _embedding(path: Path, found: Any) -> NDArray[np.float32]:
    """The (N, E) embeddings; raises SerdemoError unless each row is as many finite numbers."""
    column = found["embedding"].combine_chunks()
    if not column.null_count:
        flat = _floats(column.flatten())
        width, rest = divmod(len(flat), len(column))
        sizes = (
            {width}
            if pa.types.is_fixed_size_list(column.type)
            else set(np.unique(column.value_lengths().to_numpy(zero_copy_only=False)).tolist())
        )
        if not rest and sizes == {width} and width and np.isfinite(flat).all():
            return flat.reshape(len(column), width)
    raise SerdemoError(f"The column embedding of {path.name} must hold {parquet_limits.LISTS}.")


def _json(found: Any, key: bytes) -> dict[str, Any]:
    """What the file says under a key; empty where another program made it."""
    try:
        said = json.loads((found.schema.metadata or {}).get(key, b"{}"))
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
