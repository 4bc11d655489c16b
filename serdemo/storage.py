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
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from serdemo.schema import SerdemoError

MAX_JSON_BYTES = 20_000_000


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file; raises SerdemoError when it is none or is cut short."""
    try:
        with safe_open(path, framework="pt") as file:
            # Copied: a tensor that still maps the file keeps Windows from replacing it.
            return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as problem:
        raise SerdemoError(
            f"{path.name} is not a safetensors file or is damaged: {problem}."
        ) from problem


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
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(beside, path)
    except OSError as problem:
        beside.unlink(missing_ok=True)
        raise SerdemoError(f"{path.name} could not be written: {problem.strerror}.") from problem


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


def present(folder: Path) -> Path:
    """Where the folder's content is: aside, if a kill between two renames left it there."""
    folder = folder.resolve()
    old = _beside(folder, "old")
    return old if old.exists() and not folder.exists() else folder


def _recover(folder: Path) -> None:
    """Put back the folder that a kill between two renames left aside."""
    old = _beside(folder, "old")
    if present(folder) == old:
        os.replace(old, folder)
    else:
        shutil.rmtree(old, ignore_errors=True)


def _beside(folder: Path, ending: str) -> Path:
    return folder.with_name(f".{folder.name}.{ending}")
