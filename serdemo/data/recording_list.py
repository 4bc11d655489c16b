"""Lists of recordings: files that name a path or an address for each, and what they say of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serdemo.audio.waveform import RemoteFile
from serdemo.data.corpora import text_table
from serdemo.data.corpora.class_folders import audio_files
from serdemo.data.corpora.corpus import AUDIO_SUFFIXES
from serdemo.data.corpora.record_table import ParquetTable, read_json
from serdemo.schema.errors import SerdemoError
from serdemo.schema.remote_files import is_address

PATH_COLUMNS = ("path", "file", "filename", "file_name", "filepath", "audio")
Named = tuple[str, Path | RemoteFile]
TEXT_COLUMNS = ("corpus", "speaker", "gender", "language", "emotion")  # of those a list has


@dataclass(frozen=True, slots=True)
class RecordingList:
    """The recordings of a list: `files` (N,) as it names them, and its columns of `TEXT_COLUMNS`.

    Relative paths are those in `folder`.
    """

    folder: Path
    files: Sequence[str]
    text: Mapping[str, Sequence[str]]

    def __len__(self) -> int:
        return len(self.files)

    @property
    def digest(self) -> str:
        """A digest of all that the list says, wherever it lies."""
        total = hashlib.sha256()
        for name, values in {"": self.files, **self.text}.items():
            total.update(f"{name}\n{len(values)}\n".encode())
            for value in values:
                total.update(value.encode("utf-8", "surrogateescape") + b"\n")
        return total.hexdigest()

    def location(self, row: int) -> str:
        """The path or address of a recording."""
        file = self.files[row]
        return file if is_address(file) else str(_below(self.folder, file))


def named_recordings(paths: Iterable[Path], list_file: Path | None) -> list[Named]:
    """(name as given, path or address) of each recording, those of folders and of the list included.

    Raises SerdemoError for a folder without sound, and for a list that cannot be read.
    """
    named: list[Named] = [(str(path), path) for path in paths]
    if list_file is not None:
        listed = read_list(list_file)
        named += [(file, source(listed.location(row))) for row, file in enumerate(listed.files)]
    found: list[Named] = []
    for name, path in named:
        if isinstance(path, RemoteFile) or not os.path.isdir(path):
            found.append((name, path))
            continue
        inside: list[Named] = [(str(file), file) for file in audio_files(path)]
        if not inside:
            raise SerdemoError(f"There is no sound file in the folder {name}.")
        found += inside
    return found


def source(location: str) -> Path | RemoteFile:
    """What is opened for a path or an address."""
    return RemoteFile(location) if is_address(location) else Path(location)


def listed_recordings(paths: Sequence[Path], list_file: Path | None) -> RecordingList:
    """All recordings of a command as one list; that of a file alone keeps its columns."""
    if list_file is not None and not paths:
        return read_list(list_file)
    return RecordingList(Path(), [str(path) for _, path in named_recordings(paths, list_file)], {})


def read_list(path: Path) -> RecordingList:
    """The recordings of a list: a path a line, or the column `path` or `file` of CSV, Parquet or JSONL.

    Raises SerdemoError where there is none.
    """
    if path.suffix.lower() in AUDIO_SUFFIXES:
        raise SerdemoError(f"{path.name} is a recording and no list: name it without --list.")
    header, rows = _table(path)
    column = _path_column(path, header)
    known = {name.strip().lower(): name for name in header}
    named = {name: known[name] for name in TEXT_COLUMNS if name in known}
    files: list[str] = []
    text: dict[str, list[str]] = {name: [] for name in named}
    for place, row in rows:
        if not (file := _path_text(place, row.get(column))):
            continue
        files.append(file)
        for name, own in named.items():
            value = row.get(own)
            text[name].append("" if value is None else str(value))
    if not files:
        raise SerdemoError(f"{path.name} names no recording: write the path of one on each line.")
    return RecordingList(path.parent, files, text)


def _table(path: Path) -> tuple[Sequence[str], Iterator[tuple[object, Mapping[str, Any]]]]:
    """The columns and the rows of a list, each with its place; a text file has the column `path`."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        table = ParquetTable(path)
        wanted = {*PATH_COLUMNS, *TEXT_COLUMNS}
        columns = [name for name in table.header if name.strip().lower() in wanted]
        return columns, table.rows(columns)
    if suffix in (".jsonl", ".ndjson", ".json"):
        names, objects = read_json(path, bounded=False)
        return names, iter(objects)
    if suffix in (".csv", ".tsv"):
        text = text_table.read(path, bounded=False)
        return text.header, ((f"{path.name}, line {line}", row) for line, row in text.rows)
    content, _ = text_table.read_text(path, bounded=False)
    lines = (_unquoted(line.strip()) for line in content.splitlines())
    return ["path"], (("", {"path": line}) for line in lines)


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
