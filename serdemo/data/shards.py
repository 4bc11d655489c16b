"""Clips whose sound lies in shards at an address: fetched as they are needed, into a bounded cache on disk."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from serdemo.audio import waveform
from serdemo.audio.waveform import Clip
from serdemo.data.corpora.embedded_sound import sound_of, sound_suffix
from serdemo.data.corpora.record_table import ParquetTable
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import make_folder, replace_folder
from serdemo.schema.remote_files import local_copy
from serdemo.schema.settings import cache_root
from serdemo.schema.types import ShardRow, Utterance

ATTEMPTS = 8  # to read a clip before another process drops its shard again


def sound_path(clip: Utterance) -> Path:
    """The file with a clip's sound, fetched with its shard where it lies in one.

    Raises SerdemoError where the shard cannot be read or there is no room for it.
    """
    return clip.path if clip.shard is None else _unpacked(clip.shard)


def decode_clip(clip: Utterance) -> Clip:
    """The decoded sound of a clip; raises the errors of `sound_path` and `waveform.decode`."""
    for _ in range(ATTEMPTS if clip.shard else 0):
        path = sound_path(clip)
        try:
            return waveform.decode(path, name=clip.path.name)
        except SerdemoError:
            if path.exists():  # else its shard has just made room for another one
                raise
    return waveform.decode(sound_path(clip), name=clip.path.name)


def cache_folder() -> Path:
    """The folder of the cache, with a folder for each shard."""
    return cache_root() / "shards"


def _unpacked(row: ShardRow) -> Path:
    """The file of a row in the cache, once its shard is there."""
    key = hashlib.sha256(f"{row.address}\n{row.version}".encode()).hexdigest()[:32]
    folder = cache_folder() / key
    if not _used(folder):
        make_folder(folder.parent)
        with FileLock(folder.parent / ".lock"):  # one shard at a time, so that the bound holds
            if not _used(folder):
                with local_copy(row.address) as table:
                    replace_folder(folder, lambda fresh: _unpack(table, fresh, row))
    path = folder / f"{row.row}{row.suffix}"
    if folder.exists() and not path.exists():
        raise SerdemoError(f"{row.address} has changed since its clips were listed: start again.")
    return path


def _used(folder: Path) -> bool:
    """Whether a shard is in the cache; if so it is now the one that was used last."""
    try:
        os.utime(folder)
    except OSError:
        return False
    return True


def _unpack(table: Path, fresh: Path, row: ShardRow) -> None:
    """Write the sound of every row to a file in a `fresh` folder, and make room for it."""
    size = 0
    for number, (_, values) in enumerate(ParquetTable(table).rows([row.column])):
        content, name = sound_of(values[row.column])
        if content is None:
            raise SerdemoError(f"{row.address}, row {number + 1}: {row.column} holds no sound.")
        (fresh / f"{number}{sound_suffix(name)}").write_bytes(content)
        size += len(content)
    limit = row.cache_gb * 1e9
    if size > limit:
        raise SerdemoError(
            f"{row.address} holds {size / 1e9:.1f} GB of sound, more than cache_gb={row.cache_gb:g}:"
            " raise it."
        )
    _make_room(fresh.parent, limit - size)


def _make_room(cache: Path, limit: float) -> None:
    """Delete the shards that were used longest ago until the others take at most `limit` bytes."""
    for rest in cache.glob(".*.dropped"):  # of a process that was killed
        shutil.rmtree(rest, ignore_errors=True)
    folders = [path for path in cache.iterdir() if path.is_dir() and not path.name.startswith(".")]
    sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in folders}
    for path in sorted(folders, key=lambda path: path.stat().st_mtime_ns):
        if sum(sizes.values()) <= limit:
            return
        with suppress(OSError):  # Windows lets nobody rename what is being read
            path.rename(dropped := path.with_name(f".{path.name}.dropped"))  # all of it at once
            shutil.rmtree(dropped, ignore_errors=True)
            del sizes[path]
