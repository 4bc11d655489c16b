"""Recordings named on the command line: files, folders, and lists of them in a file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from serdemo.data.corpora import text_table
from serdemo.data.corpora.class_folders import audio_files
from serdemo.data.corpora.record_table import ParquetTable, read_json
from serdemo.schema.errors import SerdemoError

PATH_COLUMNS = ("path", "file", "filename", "file_name", "filepath", "audio")


def named_recordings(paths: Iterable[Path], list_file: Path | None) -> list[tuple[str, Path]]:
    """(name as given, path) of each recording, those of folders and of the list included.

    Raises SerdemoError for a folder without sound, and for a list that cannot be read.
    """
    named = [(str(path), path) for path in paths]
    if list_file is not None:
        named += [(text, _below(list_file.parent, text)) for text in read_list(list_file)]
    found: list[tuple[str, Path]] = []
    for name, path in named:
        if not os.path.isdir(path):
            found.append((name, path))
            continue
        inside = [(str(file), file) for file in audio_files(path)]
        if not inside:
            raise SerdemoError(f"There is no sound file in the folder {name}.")
        found += inside
    return found


def read_list(path: Path) -> list[str]:
    """The paths in a list: a line each, or the column `path` or `file` of CSV, Parquet or JSONL.

    Raises SerdemoError where there is none.
    """
    suffix = path.suffix.lower()
    rows: Iterable[tuple[object, Mapping[str, Any]]]
    if suffix == ".parquet":
        table = ParquetTable(path)
        column = _path_column(path, table.header)
        rows = table.rows([column])
    elif suffix in (".jsonl", ".ndjson", ".json"):
        header, rows = read_json(path)
        column = _path_column(path, header)
    elif suffix in (".csv", ".tsv"):
        text_rows = text_table.read(path)
        column = _path_column(path, text_rows.header)
        rows = [(f"{path.name}, line {line}", row) for line, row in text_rows.rows]
    else:
        text, _ = text_table.read_text(path)
        lines = [_unquoted(line.strip()) for line in text.splitlines()]
        column, rows = "path", [("", {"path": line}) for line in lines]
    values = [_path_text(place, row.get(column)) for place, row in rows]
    values = [value for value in values if value]
    if not values:
        raise SerdemoError(f"{path.name} names no recording: write the path of one on each line.")
    return values


def _below(folder: Path, text: str) -> Path:
    """A path of a list in `folder`; backslashes of Windows separate folders elsewhere too."""
    path = folder / text
    if os.sep == "/" and "\\" in text and not path.exists():
        windows = folder / text.replace("\\", "/")
        return windows if windows.exists() else path
    return path


def _unquoted(line: str) -> str:
    quoted = len(line) > 1 and line[0] == line[-1] == '"'  # as Windows copies a path
    return line[1:-1] if quoted else line


def _path_column(path: Path, columns: Iterable[str]) -> str:
    """The name of the column with the paths."""
    known = {name.strip().lower(): name for name in columns}
    for name in PATH_COLUMNS:
        if name in known:
            return known[name]
    raise SerdemoError(
        f"{path.name} has no column path or file: give it one, or name the recordings in a text file,"
        " a path a line."
    )


def _path_text(place: object, value: Any) -> str:
    """A path; that of a data set's audio value too."""
    if isinstance(value, dict):
        value = value.get("path")
    if value is not None and not isinstance(value, str):
        raise SerdemoError(f"{place}: the path is no text; mend it.")
    return value or ""
