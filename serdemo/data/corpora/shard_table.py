"""A corpus in shards: Parquet tables with sound, at an address that fsspec knows, such as `s3://bucket/corpus`.

Only the columns that say what the clips are, and not the sound, are read here; `serdemo.data.shards` fetches that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from serdemo.data.corpora.corpus import Note, ignore
from serdemo.data.corpora.embedded_sound import sound_of, sound_suffix
from serdemo.data.corpora.record_table import ParquetTable
from serdemo.data.corpora.spec import NO_OPTIONS, SpecOptions
from serdemo.data.corpora.table_clips import RowReader
from serdemo.data.corpora.table_columns import choose_columns
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.remote_files import file_system, local_copy, readable
from serdemo.schema.types import ShardRow, Utterance

SUFFIX = ".parquet"
CACHE_GB = 50.0
END_BYTES = 8


def read(
    address: str,
    options: SpecOptions = NO_OPTIONS,
    *,
    root: Path | None = None,
    unlabelled: bool = True,
    note: Note = ignore,
) -> list[Utterance]:
    """The clips of a shard, or of all shards below an address, in the order of their names and rows.

    Columns are found as those of a table are (`csv_table.read`); the sound is a column of bytes, or of `bytes` and
    `path` as Hugging Face datasets store it. A clip is named by its `path`, else by its row.

    Raises SerdemoError for an address that cannot be read, holds no shards, or tables without sound.
    """
    limit = _cache_gb(options)
    files, inside = file_system(address)
    single = inside.endswith(SUFFIX)
    with readable(address):
        found = [inside] if single else sorted(files.glob(f"{inside.rstrip('/')}/**/*{SUFFIX}"))
    if not found:
        raise SerdemoError(f"There is no shard {address.rstrip('/')}/*{SUFFIX}.")
    shards = {path: address if single else files.unstrip_protocol(path) for path in found}
    with _opened(files, found[0], shards[found[0]]) as table:
        name = PurePosixPath(found[0]).name
        columns = choose_columns(name, table.header, options.columns, note, "audio")
    places: dict[str, ShardRow] = {}
    reader = RowReader(
        table=address,
        corpus=PurePosixPath(inside).stem,
        columns=columns,
        find=lambda value, where: Path(value),
        options=options,
        labels=options.read_label_map(root),
        unlabelled=unlabelled,
        note=note,
    )
    clips = reader.read(_rows(files, shards, columns, limit, places))
    return [replace(clip, shard=places[str(clip.path)]) for clip in clips]


def _rows(
    files: Any,
    shards: Mapping[str, str],
    columns: Mapping[str, str],
    cache_gb: float,
    places: dict[str, ShardRow],
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The rows of all shards, with a name in place of the sound, whose place goes into `places`."""
    sound = columns["audio"]
    wanted = [*(name for name in columns.values() if name != sound), f"{sound}.path"]
    for path, address in shards.items():
        with readable(address):
            version = str(files.ukey(path))
        with _opened(files, path, address) as table:
            for number, (where, row) in enumerate(table.rows(wanted)):
                _, name = sound_of(row.get(sound))
                own = str(Path(path, PurePosixPath(name).name or str(number)))
                if own in places:
                    own = str(Path(path, str(number), PurePosixPath(name).name))
                places[own] = ShardRow(
                    address, version, sound, number, sound_suffix(name), cache_gb
                )
                yield where, {**row, sound: own}


@contextmanager
def _opened(files: Any, path: str, address: str) -> Iterator[ParquetTable]:
    """A shard, of which only what is read is fetched where its server allows that."""
    with readable(address):
        file = files.open(path, "rb")
    with file:
        if _has_ranges(file):
            yield ParquetTable(Path(path), file=file)
            return
    with local_copy(address) as copy:
        yield ParquetTable(copy)


def _has_ranges(file: BinaryIO) -> bool:
    """Whether a server gives the end of a file without the rest, where a table says what it holds."""
    try:
        file.seek(-END_BYTES, os.SEEK_END)
        file.read(END_BYTES)
    except Exception:  # each store has errors of its own
        return False
    return True


def _cache_gb(options: SpecOptions) -> float:
    try:
        limit = float(options.cache_gb or CACHE_GB)
    except ValueError:
        limit = 0.0
    if not 0 < limit < 1e6:
        raise UsageError(f"cache_gb is {options.cache_gb!r}: give a number of gigabytes.")
    return limit
