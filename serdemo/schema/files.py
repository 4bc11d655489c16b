"""Reading of bounded JSON, and writing of files and folders all or nothing.

A file or folder is written beside its place and renamed when complete, so that a full disk or a
killed process leaves the previous one.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from serdemo.schema.errors import SerdemoError

MAX_JSON_BYTES = 20_000_000


def read_json(path: Path) -> Any:
    """Parse a JSON file of bounded size; raises SerdemoError when it is not valid JSON."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ValueError("too large")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        raise SerdemoError(f"{path.name} cannot be read as JSON: {problem}.") from problem


def write_json(path: Path, values: Any) -> None:
    """Write indented JSON to `path` atomically; raises SerdemoError on failure."""
    write_text(path, json.dumps(values, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to `path` atomically; raises SerdemoError on failure."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Context manager for an atomic write: yields a temporary path, then renames it to `path`.

    An error inside the block leaves `path` as it was; OSError becomes a SerdemoError. The temporary
    file lies in the same folder and is the thread's own; its name ends in `.part`.
    """
    owner = f"{os.getpid()}-{threading.get_ident()}"
    temporary = path.with_name(f".{path.name}.{owner}.part")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException as problem:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if not isinstance(problem, OSError):
            raise
        reason = problem.strerror or problem
        raise SerdemoError(f"{path.name} could not be written: {reason}.") from problem


def make_folder(folder: Path) -> None:
    """Create a folder and its parents if missing; raises SerdemoError on failure."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise SerdemoError(f"{folder} could not be made: {problem.strerror}.") from problem


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Replace `folder` by a new one that `write(path)` fills, or raise SerdemoError and leave it."""
    folder = folder.resolve()
    fresh, backup = _sibling(folder, "part"), _sibling(folder, "old")
    try:
        _recover(folder)
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        write(fresh)
        if folder.exists():
            os.replace(folder, backup)
        os.replace(fresh, folder)
        shutil.rmtree(backup, ignore_errors=True)
    except BaseException as problem:
        shutil.rmtree(fresh, ignore_errors=True)
        _recover(folder)
        if not isinstance(problem, OSError | SafetensorError):
            raise
        raise SerdemoError(
            f"{folder.name} could not be written ({problem}); what was saved before is untouched."
        ) from problem


def recovered_path(folder: Path) -> Path:
    """Path of a folder's content: its backup if a kill left `replace_folder` half-way, else itself."""
    folder = folder.resolve()
    backup = _sibling(folder, "old")
    return backup if backup.exists() and not folder.exists() else folder


def _recover(folder: Path) -> None:
    """Restore the backup that a kill inside `replace_folder` left, or delete it if not needed."""
    backup = _sibling(folder, "old")
    if recovered_path(folder) == backup:
        os.replace(backup, folder)
    else:
        shutil.rmtree(backup, ignore_errors=True)


def _sibling(folder: Path, ending: str) -> Path:
    return folder.with_name(f".{folder.name}.{ending}")
