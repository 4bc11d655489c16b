"""Table of embeddings, a row per clip, stored as a Parquet file that other tools read too."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from serdemo.data.corpora.registry import normalise_speaker
from serdemo.embeddings import parquet_limits, table_values
from serdemo.embeddings.parquet_limits import PROBABILITY_PREFIX
from serdemo.embeddings.parquet_limits import TEXT_COLUMNS as TEXT_COLUMNS
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import atomic
from serdemo.schema.types import UNKNOWN_SPEAKER

# Rows, and numbers of their embeddings, that are read and written at a time.
BATCH_ROWS, BATCH_VALUES = 32_768, 2**26
BUFFER_BYTES = 2**20  # of a column that is being read
ROW_BYTES = 200  # of a row's text in memory
PARTS_FOLDER = "rows"  # of the folder that `embed --list` writes
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
    def speaker_known(self) -> tuple[bool, ...]:
        """Whether it is known who speaks in each clip."""
        return tuple(speaker != UNKNOWN_SPEAKER for speaker in self.text["speaker"])

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


@contextmanager
def open_writer(
    path: Path, about: Mapping[str, Any], notes: Mapping[str, Any] | None = None
) -> Iterator[Callable[[Table, Mapping[str, NDArray[Any]]], None]]:
    """Context manager that writes a table as Parquet atomically, in pieces of the same columns.

    Yields a function of a piece and its extra columns of numbers, which writes them as row groups.
    """
    metadata = {ABOUT: json.dumps(about)} | ({NOTES: json.dumps(notes)} if notes else {})
    with atomic(path) as temporary, ExitStack() as stack:
        file: Any = None

        def add(piece: Table, extra: Mapping[str, NDArray[Any]]) -> None:
            nonlocal file
            step = batch_rows(piece.embedding.shape[1])
            for start in range(0, max(len(piece), 1), step):
                parquet = _arrow_table(piece, extra, slice(start, start + step))
                parquet = parquet.replace_schema_metadata(metadata)
                if file is None:
                    file = stack.enter_context(_parquet_writer(temporary, parquet.schema))
                file.write_table(parquet)

        yield add


def write(
    path: Path,
    table: Table,
    extra: Mapping[str, NDArray[Any]] | None = None,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Write a table as Parquet atomically, with `extra` columns of N numbers and JSON `notes`."""
    with open_writer(path, table.about, notes) as add:
        add(table, extra or {})


def batch_rows(width: int) -> int:
    """Number of rows with embeddings of `width` numbers that are read or written at a time; the offsets
    of their lists fit 32 bits."""
    return max(1, min(BATCH_ROWS, BATCH_VALUES // max(width, 1)))


def _arrow_table(table: Table, extra: Mapping[str, NDArray[Any]], rows: slice) -> Any:
    """Some rows of a table and of its extra columns as Arrow data."""
    columns: dict[str, Any] = {
        name: pa.array(table.text[name][rows], pa.string()) for name in TEXT_COLUMNS
    }
    embedding, probabilities = table.embedding[rows], table.probabilities[rows]
    confidence = probabilities.max(axis=1) if table.labels else np.full(len(embedding), np.nan)
    for name, values in zip(table.labels, probabilities.T, strict=True):
        columns[PROBABILITY_PREFIX + name] = pa.array(values, pa.float32())
    columns["confidence"] = pa.array(confidence, pa.float32(), from_pandas=True)
    ends = np.arange(len(embedding) + 1, dtype=np.int32) * embedding.shape[1]
    columns["embedding"] = pa.ListArray.from_arrays(ends, embedding.ravel())
    for name, values in extra.items():
        kind = pa.int32() if np.issubdtype(values.dtype, np.integer) else pa.float32()
        columns[name] = pa.array(values[rows], kind)
    return pa.table(columns)


def _parquet_writer(path: Path, schema: Any) -> Any:
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        # Values rounded to half precision take half the space so, and text is stored once.
        use_dictionary=list(TEXT_COLUMNS),
        use_byte_stream_split=[
            f"{field.name}.list.element" if field.name == "embedding" else field.name
            for field in schema
            if field.name not in TEXT_COLUMNS
        ],
    )


class TableFile:
    """A table of N clips in a Parquet file, or in the parts of a folder, read in batches of rows.

    The parts are the Parquet files of its folder `rows`, as `embed --list` writes it, or else of the
    folder itself, in the order of their names. `labels` and `about` are those of `Table`.

    Raises SerdemoError for another format, a missing column, parts that do not fit together, or a
    table without clips.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parts: dict[Path, int] = {}  # rows of each
        self.about: dict[str, Any] = {}
        self._columns: list[str] = []
        values = 0
        for part in part_files(path):
            with _damage_as_error(part), pq.ParquetFile(part) as file:
                schema, metadata = file.schema_arrow, file.metadata
                if metadata.num_rows:
                    self._add_part(part, parquet_limits.table_columns(part, schema), schema)
                    self.parts[part] = metadata.num_rows
                    values += _embedding_values(metadata)
        if not self.parts:
            raise SerdemoError(f"{path.name} holds no clips: embed a corpus that has some.")
        names = [name for name in self._columns if name.startswith(PROBABILITY_PREFIX)]
        self.labels = table_values.labels([name.removeprefix(PROBABILITY_PREFIX) for name in names])
        self._batch_rows = batch_rows(values // len(self))

    def __len__(self) -> int:
        return sum(self.parts.values())

    def _add_part(self, part: Path, columns: list[str], schema: Any) -> None:
        """Note the columns and the origin of the first part; raises SerdemoError unless others have them."""
        about = _about(schema)
        if not self.parts:
            self._columns, self.about = columns, about
            return
        first = next(iter(self.parts))
        if differing := set(columns) ^ set(self._columns):
            raise SerdemoError(
                f"{part.name} does not fit {first.name}: one of them alone has the column"
                f" {min(differing)}."
            )
        if about.get("digest") != self.about.get("digest"):
            raise SerdemoError(
                f"{part.name} does not fit {first.name}: they are of different checkpoints."
            )

    def batches(self) -> Iterator[Table]:
        """The rows in order, a few ten thousand at a time; checked are all values and, at the end, names
        of speakers such as 7 and 07. Raises SerdemoError for values that make no table."""
        speakers: set[tuple[str, str]] = set()
        width = 0
        for part, rows in self.parts.items():
            read = 0
            with _damage_as_error(part), pq.ParquetFile(part, buffer_size=BUFFER_BYTES) as file:
                for batch in file.iter_batches(self._batch_rows, columns=self._columns):
                    data = pa.Table.from_batches([batch])
                    if (read := read + len(data)) > rows:
                        break
                    if not len(data):
                        continue
                    piece = self._piece(part, data, read - len(data), width)
                    width = piece.embedding.shape[1]
                    speakers.update(zip(piece.text["corpus"], piece.text["speaker"], strict=True))
                    yield piece
            if read != rows:
                raise _damaged(part)
        table_values.refuse_similar_speakers(self.path, speakers)

    def _piece(self, part: Path, data: Any, first: int, width: int) -> Table:
        """A batch from row `first` of a part on; `width` is that of earlier batches, 0 without one."""
        names = [name for name in self._columns if name.startswith(PROBABILITY_PREFIX)]
        origin = "row 1" if len(self.parts) == 1 else f"row 1 of {next(iter(self.parts)).name}"
        return Table(
            text=table_values.texts(part, data),
            embedding=table_values.embedding(part, data, first, width, origin),
            labels=self.labels,
            probabilities=table_values.probabilities(part, data, names),
            about=self.about,
        )


def part_files(path: Path) -> list[Path]:
    """The Parquet files of a table: itself, or those of a folder by name; raises SerdemoError for none."""
    if path.is_file():
        return [path]
    for folder in (path / PARTS_FOLDER, path):
        if files := sorted(file for file in folder.glob("*.parquet") if file.is_file()):
            return files
    raise SerdemoError(f"There is no table {path}: make one with `serdemo embed`.")


def read(path: Path) -> Table:
    """Read a table of `write`, or of another tool with the columns embedding, speaker and emotion, or the
    parts of one in a folder (see `TableFile`).

    Text may be of any type; emotions and speakers get one form (`Angry`, `anger` and `ANG` are angry,
    and a missing speaker is unknown).

    Raises SerdemoError as `TableFile` does, and for a table that is larger than the free memory.
    """
    file = TableFile(path)
    text: dict[str, list[str]] = {name: [] for name in TEXT_COLUMNS}
    embedding, probabilities = (np.empty((0, 0), np.float32) for _ in range(2))
    n_read = 0
    for batch in file.batches():
        if not n_read:
            width = batch.embedding.shape[1]
            _refuse_beyond_memory(file, width)
            embedding = np.empty((len(file), width), np.float32)
            probabilities = np.empty((len(file), len(file.labels)), np.float32)
        rows = slice(n_read, n_read := n_read + len(batch))
        embedding[rows], probabilities[rows] = batch.embedding, batch.probabilities
        for name, values in text.items():
            values += batch.text[name]
    return Table(
        text={name: tuple(text.pop(name)) for name in TEXT_COLUMNS},
        embedding=embedding,
        labels=file.labels,
        probabilities=probabilities,
        about=file.about,
    )


def _refuse_beyond_memory(file: TableFile, width: int) -> None:
    """Raise SerdemoError where a table with embeddings of `width` numbers is larger than the free memory."""
    needed = len(file) * (4 * (width + len(file.labels)) + ROW_BYTES)
    free = psutil.virtual_memory().available
    if needed > free:
        raise SerdemoError(
            f"{file.path.name} holds {len(file)} clips, which take {needed / 1e9:.1f} GB of memory, and"
            f" {free / 1e9:.1f} GB are free: choose fewer, or map it with `serdemo map`, which reads it"
            " in batches."
        )


def read_extras(
    path: Path, names: Sequence[str]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """Those of the columns `names` that occur once in each part and hold finite numbers (N,) up to
    `MAX_VALUE`, and the notes of the first part."""
    columns: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    notes: dict[str, Any] | None = None
    for part in TableFile(path).parts:
        with _damage_as_error(part), pq.ParquetFile(part) as file:
            data = file.read(parquet_limits.numeric_columns(file.schema_arrow, names))
            notes = _json(file.schema_arrow, NOTES) if notes is None else notes
        columns = {
            name: [*columns[name], table_values.floats(data[name])]
            for name in data.column_names
            if name in columns
        }
    whole = {name: np.concatenate(values) for name, values in columns.items()}
    limit = parquet_limits.MAX_VALUE
    return {
        name: found for name, found in whole.items() if (np.abs(found) <= limit).all()
    }, notes or {}


def _embedding_values(metadata: Any) -> int:
    """Number of the values of all embeddings, as a file's metadata claim."""
    total = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = (group.column(n) for n in range(group.num_columns))
        total += sum(c.num_values for c in columns if c.path_in_schema.startswith("embedding."))
    return total


@contextmanager
def _damage_as_error(path: Path) -> Iterator[None]:
    """Context manager that raises SerdemoError for what no Parquet file holds."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise _damaged(path) from problem


def _damaged(path: Path) -> SerdemoError:
    return SerdemoError(
        f"{path.name} is no Parquet table, or is damaged: make one with `serdemo embed`."
    )


def _about(schema: Any) -> dict[str, Any]:
    """What made the table; names of speakers seen in training are in the form of its speakers."""
    about = _json(schema, ABOUT)
    if isinstance(seen := about.get("seen"), list):
        pairs = [name.partition("/") for name in seen if isinstance(name, str)]
        about["seen"] = [f"{corpus}/{normalise_speaker(corpus, name)}" for corpus, _, name in pairs]
    return about


def _json(schema: Any, key: bytes) -> dict[str, Any]:
    """Metadata entry `key` as parsed JSON; empty where another tool wrote the file."""
    try:
        values = json.loads((schema.metadata or {}).get(key, b"{}"))
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
