"""Disk cache of arrays that frozen networks compute from clips."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import atomic, make_folder
from serdemo.schema.options import Options, option
from serdemo.schema.settings import cache_root

SUFFIXES = {2: ".f16.npy", 4: ".f32.npy"}  # by bytes a number; no file of anybody else ends so
# All that lies in a cache: arrays, those whose writing was killed, and files of earlier versions.
PATTERNS = (
    *(f"*/{name}" for suffix in SUFFIXES.values() for name in (f"*{suffix}", f".*{suffix}.*.part")),
    "*/*.f16",
)
UNUSED_S = 7 * 24 * 3600.0
TOUCH_S = 3600.0


@dataclass(frozen=True)
class CacheOptions(Options):
    """Where computed features are cached."""

    cache: str = option(
        "", "folder for cached outputs of frozen networks [default: .cache/serdemo at home]"
    )
    cache_gb: float = option(
        4.0,
        "its maximum size, in GB; arrays unused for a week make room, what exceeds it is not cached",
        low=0,
        high=1e4,
    )

    @property
    def folder(self) -> Path:
        """The folder of the option, or the default one."""
        return Path(self.cache).expanduser() if self.cache else cache_root()


def digest(*parts: str | Path) -> str:
    """SHA-256 (hex) of texts and of file contents; raises SerdemoError for a missing file."""
    total = hashlib.sha256()
    for part in parts:
        try:
            content = part.read_bytes() if isinstance(part, Path) else part.encode()
        except OSError as problem:
            raise SerdemoError(f"{part} could not be read: {problem.strerror}.") from problem
        total.update(hashlib.sha256(content).digest())
    return total.hexdigest()


class ArrayCache:
    """Arrays (F, D) by key in a folder, one file each; several processes may use it at once.

    They are stored as `dtype`, float16 or float32.

    At most `limit_gb` is used by the folder and those beside it. Beyond that, arrays that nobody
    read for a week are deleted, oldest first, and new ones are not stored where that is too little.
    """

    def __init__(self, folder: Path, limit_gb: float, dtype: DTypeLike = np.float16) -> None:
        self.folder, self.limit, self.dtype = folder, int(limit_gb * 1e9), np.dtype(dtype)
        self.suffix = SUFFIXES[self.dtype.itemsize]
        self._size = -1  # bytes in all the folders, -1 until counted

    def __len__(self) -> int:
        return sum(1 for _ in self.folder.glob(f"*{self.suffix}"))

    def __contains__(self, key: str) -> bool:
        path = self._path(key)
        try:
            if path.stat().st_mtime < time.time() - TOUCH_S:
                os.utime(path)  # in use again, so that no other process deletes it
        except OSError:
            return path.exists()
        return True

    def get(self, key: str) -> np.ndarray:
        """The (F, D) array of `key`; raises KeyError if absent, SerdemoError if damaged."""
        if key not in self:
            raise KeyError(key)
        try:
            values: np.ndarray = np.load(self._path(key), allow_pickle=False)
        except (OSError, ValueError, EOFError) as problem:
            raise SerdemoError(
                f"The cache {self.folder} is damaged: delete that folder, and it is made anew."
            ) from problem
        return values

    def put(self, key: str, values: np.ndarray) -> np.ndarray:
        """Store (F, D) `values` if there is room; returns them clipped and rounded to the dtype."""
        largest = float(np.finfo(self.dtype).max)
        rounded = np.clip(values, -largest, largest).astype(self.dtype)
        if self._make_room(rounded.nbytes):
            try:
                make_folder(self.folder)
                with atomic(self._path(key)) as temporary, temporary.open("wb") as file:
                    np.save(file, rounded, allow_pickle=False)
                    self._size += file.tell()
            except SerdemoError as problem:
                reason = getattr(problem.__cause__, "strerror", problem)
                raise SerdemoError(
                    f"The cache {self.folder} could not be written ({reason}): make room, or name"
                    " another folder with --cache; what it holds stays."
                ) from problem
        return rounded

    def _path(self, key: str) -> Path:
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}{self.suffix}"

    def _make_room(self, size: int) -> bool:
        """Whether `size` more bytes fit, once unused files are deleted."""
        if self._size < 0:
            files = sorted(self._files())
            self._size = sum(n_bytes for _, n_bytes, _ in files)
            for used, n_bytes, path in files:
                if self._size + size <= self.limit or used > time.time() - UNUSED_S:
                    break
                path.unlink(missing_ok=True)
                path.with_suffix(".jsonl").unlink(missing_ok=True)  # beside one of earlier versions
                self._size -= n_bytes
        return self._size + size <= self.limit

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """(time of use, bytes, path) of each file in this folder and in those beside it."""
        for pattern in PATTERNS:
            for path in self.folder.parent.glob(pattern):
                with suppress(OSError):  # deleted by another process
                    stat = path.stat()
                    yield stat.st_mtime, stat.st_size, path
