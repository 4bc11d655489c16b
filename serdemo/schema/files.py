"""Reading and writing of JSON, tensors and whole folders: bounded, never a pickle, all or nothing.

A folder is written whole beside its place and then put there, so that a full disk or a killed
process leaves the one before.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from serdemo.schema.errors import SerdemoError

if TYPE_CHECKING:  # a command that needs no tensor need not wait for torch
    pass

MAX_JSON_BYTES = 20_000_000


def read_json(path: Path) -> Any:
    """Parsed JSON of bounded size; raises SerdemoError when it is none."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ValueError("too large")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        raise SerdemoError(f"{path.name} cannot be read as JSON: {problem}.") from problem


def write_json(path: Path, values: Any) -> None:
    """JSON that a person can read, written at once or not at all."""
    write_text(path, json.dumps(values, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """A text, written at once or not at all; raises SerdemoError when it cannot be."""
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    except OSError as problem:
        beside.unlink(missing_ok=True)
        raise SerdemoError(f"{path.name} could not be written: {problem.strerror}.") from problem


def make_folder(folder: Path) -> None:
    """A folder with all above it, where it is not there; raises SerdemoError when it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise SerdemoError(f"{folder} could not be made: {problem.strerror}.") from problem


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a new folder, then put it in place of `folder`.

    Raises SerdemoError when it cannot be written; what stood there before is then untouched.
    """
    folder = folder.resolve()
    fresh, old = _beside(folder, "part"), _beside(folder, "old")
    try:
        _recover(folder)
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        write(fresh)
        if folder.exists():
            os.replace(folder, old)
        os.replace(fresh, folder)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException as problem:
        shutil.rmtree(fresh, ignore_errors=True)
        _recover(folder)
        if not isinstance(problem, OSError | SafetensorError):
            raise
        raise SerdemoError(
            f"{folder.name} could not be written ({problem}); what was saved before is untouched."
        ) from problem


def recovered_path(folder: Path) -> Path:
    """Where the folder's content is: aside, if a kill between two renames left it there."""
    folder = folder.resolve()
    old = _beside(folder, "old")
    return old if old.exists() and not folder.exists() else folder


def _recover(folder: Path) -> None:
    """Put back the folder that a kill between two renames left aside."""
    old = _beside(folder, "old")
    if recovered_path(folder) == old:
        os.replace(old, folder)
    else:
        shutil.rmtree(old, ignore_errors=True)


def _beside(folder: Path, ending: str) -> Path:
    return folder.with_name(f".{folder.name}.{ending}")
