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

from serdemo.data.corpora.emotion_names import emotion_word
from serdemo.data.corpora.registry import CORPORA, normalise_speaker
from serdemo.data.corpora.speakers import refuse_look_alikes
from serdemo.data.corpora.table_clips import UNLABELLED, value_text
from serdemo.embeddings import parquet_limits
from serdemo.embeddings.parquet_limits import PROBABILITY_PREFIX
from serdemo.embeddings.parquet_limits import TEXT_COLUMNS as TEXT_COLUMNS
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import atomic
from serdemo.schema.types import UNKNOWN_SPEAKER

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

    Text may be of any type; emotions and speakers get one form (`Angry`, `anger` and `ANG` are angry,
    and a missing speaker is unknown).

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
        text=_texts(path, data),
        embedding=_embedding(path, data),
        labels=_labels([name.removeprefix(PROBABILITY_PREFIX) for name in columns]),
        probabilities=probabilities,
        about=_about(data),
    )


def read_extras(
    path: Path, names: Sequence[str]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """Those of the columns `names` that occur once and hold finite numbers (N,) up to `MAX_VALUE`, and
    the notes."""
    with pq.ParquetFile(path) as file:
        data = file.read(parquet_limits.numeric_columns(file.schema_arrow, names))
    columns = {name: _floats(data[name]) for name in data.column_names}
    limit = parquet_limits.MAX_VALUE
    finite = {name: values for name, values in columns.items() if (np.abs(values) <= limit).all()}
    return finite, _json(data, NOTES)


def _texts(path: Path, data: Any) -> dict[str, tuple[str, ...]]:
    """The text columns in one form: missing values are empty, emotions are ours where they are known,
    speakers as in `registry.normalise_speaker`.

    Raises SerdemoError for a column of no text, UsageError for speakers such as 7 and 07.
    """
    text = {name: _text(path, data, name) for name in TEXT_COLUMNS}
    known = {word: _emotion_of_text(word) for word in {*text["emotion"], *text["prediction"]}}
    for name in ("emotion", "prediction"):
        text[name] = tuple(known[word] for word in text[name])
    pairs = list(zip(text["corpus"], text["speaker"], strict=True))
    speakers = {pair: normalise_speaker(*pair) for pair in set(pairs)}
    for corpus in {corpus for corpus, _ in speakers} - CORPORA.keys():
        names = [speaker for (own, _), speaker in speakers.items() if own == corpus]
        refuse_look_alikes(corpus or path.name, names)
    return text | {"speaker": tuple(speakers[pair] for pair in pairs)}


def _emotion_of_text(text: str) -> str:
    """Our label for an emotion in any usual form, empty for a missing one, other text as it is."""
    return "" if text.casefold() in UNLABELLED else emotion_word(text) or text


def _labels(names: Sequence[str]) -> tuple[str, ...]:
    """Labels in our words, or as they are where two would fall together."""
    ours = tuple(map(_emotion_of_text, names))
    return ours if len(set(ours)) == len(ours) and all(ours) else tuple(names)


def _text(path: Path, data: Any, name: str) -> tuple[str, ...]:
    """A column as text, "" where it is missing; a word that stands in many rows is stored once."""
    if name not in data.column_names:
        return ("",) * len(data)
    texts: list[str] = []
    try:
        for chunk in data[name].chunks:
            if pa.types.is_string_view(chunk.type):
                chunk = chunk.cast(pa.large_string())
            coded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
            words = [value_text(value) for value in coded.dictionary.to_pylist()]
            texts += ["" if at is None else words[at] for at in coded.indices.to_pylist()]
    except (pa.ArrowException, ValueError) as problem:
        raise SerdemoError(f"The column {name} of {path.name} must hold text.") from problem
    return tuple(texts)


def _floats(column: Any) -> NDArray[np.float32]:
    """Column of numbers as float32 (N,): missing values become NaN, too large ones infinite."""
    with np.errstate(over="ignore"):
        values: NDArray[np.float32] = column.to_numpy(zero_copy_only=False).astype(np.float32)
    return values


def _embedding(path: Path, data: Any) -> NDArray[np.float32]:
    """Embeddings (N, E); raises SerdemoError, which names the row, unless all are equally many finite
    numbers up to `MAX_VALUE`."""
    column = data["embedding"].combine_chunks()
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_list_view(column.type) or pa.types.is_large_list_view(column.type):
        # a cast gives wrong offsets in pyarrow 26
        column = pa.array(column.to_pylist(), pa.large_list(column.type.value_type))
    fault = ""
    if column.null_count:
        fault = f"row {pc.index(column.is_null(), True).as_py() + 1} has none"
    else:
        lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
        width = int(lengths[0])
        if width and (lengths == width).all():
            flat = _floats(column.flatten()).reshape(len(column), width)
            unfit = np.flatnonzero(~(np.abs(flat) <= parquet_limits.MAX_VALUE).all(axis=1))
            if not len(unfit):
                return flat
            large = f"beyond {parquet_limits.MAX_VALUE:.0e}"
            fault = f"row {unfit[0] + 1} has one that is missing, not finite or {large}"
        else:
            row = int(np.argmax(lengths != width)) if width else 0
            fault = f"row {row + 1} has {lengths[row]} of them, row 1 has {width}"
    raise SerdemoError(
        f"The column embedding of {path.name} must hold {parquet_limits.LISTS}: {fault}."
    )


def _about(data: Any) -> dict[str, Any]:
    """What made the table; names of speakers seen in training are in the form of its speakers."""
    about = _json(data, ABOUT)
    if isinstance(seen := about.get("seen"), list):
        pairs = [name.partition("/") for name in seen if isinstance(name, str)]
        about["seen"] = [f"{corpus}/{normalise_speaker(corpus, name)}" for corpus, _, name in pairs]
    return about


def _json(data: Any, key: bytes) -> dict[str, Any]:
    """Metadata entry `key` as parsed JSON; empty where another tool wrote the file."""
    try:
        values = json.loads((data.schema.metadata or {}).get(key, b"{}"))
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
