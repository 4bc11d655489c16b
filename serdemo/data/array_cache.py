"""What a frozen network says of clips, kept on disk in half precision: teachers' frames, features.

A folder holds, for each process that ever wrote to it, a file of numbers and one that lists them.
Nobody writes to another's files, and a line is written after the numbers it names, so that what a
kill leaves half written is passed over and runs side by side do not disturb each other.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from serdemo.schema.errors import SerdemoError
from serdemo.schema.options import Options, option

NUMBERS, LIST = ".f16", ".jsonl"
UNUSED_S = 7 * 24 * 3600.0


@dataclass(frozen=True)
class CacheOptions(Options):
    """Where what is computed once is kept."""

    cache: str = option(
        "", "folder for what frozen networks say of clips [default: .cache/serdemo at home]"
    )
    cache_gb: float = option(
        4.0,
        "its largest size, in GB; what nobody used for a week makes room, the rest is not kept",
        low=0,
        high=1e4,
    )

    @property
    def folder(self) -> Path:
        """The folder meant."""
        return Path(self.cache).expanduser() if self.cache else Path.home() / ".cache" / "serdemo"


def digest(*parts: str | Path) -> str:
    """SHA-256 (hex) of texts and of what files hold; raises SerdemoError for one that is not there."""
    whole = hashlib.sha256()
    for part in parts:
        try:
            content = part.read_bytes() if isinstance(part, Path) else part.encode()
        except OSError as problem:
            raise SerdemoError(f"{part} could not be read: {problem.strerror}.") from problem
        whole.update(hashlib.sha256(content).digest())
    return whole.hexdigest()


class ArrayCache:
    """Arrays (F, D) by key in a folder.

    At most `limit_gb` are kept in it and in the folders beside it, whoever wrote them: what nobody
    opened for a week makes room, and what would go beyond is not kept.
    """

    def __init__(self, folder: Path, limit_gb: float) -> None:
        self.folder, self.limit = folder, int(limit_gb * 1e9)
        self._held = -1  # bytes in all the folders, once they are counted
        self.places: dict[str, tuple[Path, int, int, int]] = {}  # file, first byte, rows, columns
        self._open: dict[Path, IO[bytes]] = {}
        self._own: Path | None = None
        for listed in sorted(folder.glob(f"*{LIST}")):
            self._read_list(listed)

    def __len__(self) -> int:
        return len(self.places)

    def __contains__(self, key: str) -> bool:
        return key in self.places

    def get(self, key: str) -> np.ndarray:
        """The (F, D) float16 array of a key; raises KeyError when it is not kept, SerdemoError
        when its file is damaged."""
        path, start, rows, columns = self.places[key]
        try:
            if path not in self._open:
                self._open[path] = path.open("rb")
            file = self._open[path]
            file.seek(start)
            values = np.frombuffer(file.read(2 * rows * columns), np.float16)
            return values.reshape(rows, columns)
        except (OSError, ValueError) as problem:
            raise SerdemoError(
                f"The cache {self.folder} is damaged: delete that folder, and it is made anew."
            ) from problem

    def put(self, key: str, values: np.ndarray) -> np.ndarray:
        """Keep an (F, D) array, clipped to what half precision holds; returns it as it is kept.

        Raises SerdemoError when it cannot be written.
        """
        largest = float(np.finfo(np.float16).max)
        half = np.clip(values, -largest, largest).astype(np.float16)
        try:
            if self._has_room(half.nbytes):
                self._append(key, half)
        except OSError as problem:
            raise SerdemoError(
                f"The cache {self.folder} could not be written ({problem.strerror}): make room, or"
                " name another folder with --cache; what it holds stays."
            ) from problem
        return half

    def close(self) -> None:
        """Close its files; it can still be read and written."""
        for file in self._open.values():
            file.close()
        self._open.clear()

    def _append(self, key: str, half: np.ndarray) -> None:
        if self._own is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._own = self.folder / f"{uuid.uuid4().hex}{NUMBERS}"
        with self._own.open("ab") as file:
            start = file.tell()
            file.write(half.tobytes())
        line = json.dumps({"key": key, "start": start, "shape": half.shape}) + "\n"
        with self._own.with_suffix(LIST).open("a", encoding="utf-8") as file:
            file.write(line)
        self._held += half.nbytes + len(line)
        self.places[key] = (self._own, start, *half.shape)

    def _has_room(self, size: int) -> bool:
        """Whether so many bytes more may be kept."""
        if self._held < 0:
            files = dict(self._files())
            self._held = sum(stat.st_size for stat in files.values())
            for path, stat in files.items():
                full = self._held + size > self.limit
                if full and stat.st_mtime < time.time() - UNUSED_S:
                    path.unlink(missing_ok=True)
                    self._held -= stat.st_size
        return self._held + size <= self.limit

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Those of this folder and of the ones beside it, and of others in them nothing."""
        for numbers in self.folder.parent.glob(f"*/*{NUMBERS}"):
            for path in (numbers, numbers.with_suffix(LIST)):
                with suppress(OSError):  # somebody else has made room
                    yield path, path.stat()

    def _read_list(self, listed: Path) -> None:
        """Every whole line whose numbers are there."""
        numbers = listed.with_suffix(NUMBERS)
        try:
            size = numbers.stat().st_size
            lines = listed.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            return
        for path in (numbers, listed):
            with suppress(OSError):  # that it is used is told if it can be
                os.utime(path)
        for line in lines:
            try:
                found = json.loads(line)
                key, start, (rows, columns) = found["key"], int(found["start"]), found["shape"]
                if 0 <= start <= start + 2 * int(rows) * int(columns) <= size:
                    self.places[str(key)] = (numbers, start, int(rows), int(columns))
            except (ValueError, TypeError, KeyError):
                continue  # cut short by a kill
