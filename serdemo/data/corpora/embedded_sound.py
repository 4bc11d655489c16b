"""Sound that tables hold as bytes, written to files of the cache folder.

Each clip is written once, named by the hash of its bytes; the cache may be deleted at any time.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serdemo.data.corpora.corpus import AUDIO_SUFFIXES
from serdemo.data.corpora.table_paths import ClipPaths
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import atomic, make_folder
from serdemo.schema.settings import cache_root

MAX_BYTES = 50_000_000_000  # of clips written per table


def sound_suffix(name: str) -> str:
    """The suffix for a file of the sound that was called `name`."""
    suffix = Path(name).suffix.lower()
    return suffix if suffix in AUDIO_SUFFIXES else ".wav"


def sound_of(value: Any) -> tuple[bytes | None, str]:
    """The bytes of a sound and its name, from bytes, a path, or a dictionary of them under `bytes` and `path`."""
    pair = value if isinstance(value, dict) else {}
    content = pair.get("bytes", value)
    name = pair.get("path") if pair or isinstance(value, bytes) else value
    return content if isinstance(content, bytes) else None, str(name or "")


@dataclass(slots=True)
class SoundCache:
    """Files for the sound of one table, which sentences name `table`."""

    table: str
    _written: int = 0

    def write(self, content: bytes, name: str) -> Path:
        """The file for the bytes of a clip, with the suffix of `name`.

        Raises SerdemoError for more than `MAX_BYTES` in a table.
        """
        self._written += len(content)
        if self._written > MAX_BYTES:
            raise SerdemoError(
                f"{self.table} holds more than {MAX_BYTES // 10**9} GB of sound: take a part of it,"
                " as in split=train[:1000]."
            )
        suffix = sound_suffix(name)
        key = hashlib.sha256(content).hexdigest()
        path = cache_root() / "clips" / key[:2] / f"{key}{suffix}"
        if not path.is_file() or path.stat().st_size != len(content):
            make_folder(path.parent)
            with atomic(path) as temporary:
                temporary.write_bytes(content)
        return path


@dataclass(frozen=True, slots=True)
class SoundFiles:
    """Files for the sound of a table's rows: those that it names, or its bytes in the cache."""

    paths: ClipPaths
    cache: SoundCache

    def find(self, value: Any, where: str) -> Path:
        """The file of a path, of bytes, or of a dictionary of them under `path` and `bytes`.

        Raises SerdemoError, which begins with the place `where`, if there is none.
        """
        content, name = sound_of(value)
        if content is not None:
            return self.cache.write(content, name)
        if not name:
            raise SerdemoError(f"{where}: no sound is stored.")
        return self.paths.find(name, where)
