"""A corpus as a table of clips: a text file such as CSV, JSON or JSON Lines, or Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from serdemo.data.corpora import record_table, text_table
from serdemo.data.corpora.corpus import Note, ignore
from serdemo.data.corpora.embedded_sound import SoundCache, SoundFiles
from serdemo.data.corpora.spec import NO_OPTIONS, RECORD_SUFFIXES, SpecOptions
from serdemo.data.corpora.table_clips import RowReader
from serdemo.data.corpora.table_columns import choose_columns
from serdemo.data.corpora.table_paths import ClipPaths
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Utterance

Rows = Iterable[tuple[str, Mapping[str, Any]]]


def read(
    path: Path,
    options: SpecOptions = NO_OPTIONS,
    *,
    root: Path | None = None,
    confined: bool = False,
    unlabelled: bool = True,
    note: Note = ignore,
) -> list[Utterance]:
    """Read a table of clips, whose files are named relative to its folder, then to `root`.

    A column names the file, one the emotion (in any form that `emotion_word` knows or `options` map,
    or empty unless `unlabelled` is false), one the speaker (unknown without). Optional columns are
    corpus (default: the table's name), language, gender, duration_s (seconds) and fold (or
    session); others are ignored. `table_columns` knows other names. Text may be separated by commas,
    semicolons or tabs, in the encodings of `text_table.read_text`; Parquet may hold the sound itself,
    as Hugging Face datasets do. `confined` refuses files outside of the table's folder, and Parquet
    that unpacks to too much.

    Raises SerdemoError with the line number of a fault.
    """
    table = _table(path, options, note, confined)
    columns = choose_columns(path.name, table.header, options.columns, note, table.sound)
    if "speaker" not in columns:
        note(f"{path.name} has no column speaker.")
    paths = ClipPaths(path.absolute().parent, root, confined=confined, note=note)
    reader = RowReader(
        table=path.name,
        corpus=path.stem,
        columns=columns,
        find=SoundFiles(paths, SoundCache(path.name)).find,
        options=options,
        labels=options.read_label_map(root),
        unlabelled=unlabelled,
        note=note,
    )
    return reader.read(table.rows(set(columns.values())))


@dataclass(frozen=True, slots=True)
class _Table:
    """Column names, the rows of some columns, and the usual name of the sound's column."""

    header: Sequence[str]
    rows: Callable[[Iterable[str]], Rows]
    sound: str = "path"


def _table(path: Path, options: SpecOptions, note: Note, untrusted: bool) -> _Table:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        parquet = record_table.ParquetTable(path, untrusted=untrusted)
        return _Table(parquet.header, parquet.rows, "audio")
    if suffix in RECORD_SUFFIXES:
        header, records = record_table.read_json(path, options.encoding)
        return _Table(header, lambda columns: records)
    text = text_table.read(path, options.encoding)
    for sentence in text.notes:
        note(sentence)
    rows = [(f"{path.name}, line {line}", row) for line, row in text.rows]
    return _Table(text.header, partial(_whole_rows, text.header, rows))


def _whole_rows(
    header: Sequence[str], rows: Sequence[tuple[str, Mapping[str, str]]], columns: Iterable[str]
) -> Rows:
    """The rows; raises SerdemoError for one that ends before a column."""
    needed = list(columns)
    for where, row in rows:
        if short_of := [column for column in needed if column not in row]:
            raise SerdemoError(
                f"{where}: {len(row)} fields where the header has {len(header)}, and none for"
                f" {short_of[0][:40]}; quote a field that holds a separator."
            )
        yield where, row
