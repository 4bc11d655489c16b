"""Checkpoints as zip files: packed as they are, and taken from strangers within bounds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from serdemo.nn import checkpoint
from serdemo.nn.checkpoint_files import DESCRIPTION, WEIGHTS, count_numbers
from serdemo.runs.registry.entry import FILES, Entry, files_of
from serdemo.schema import zipfiles
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import recovered_path

MOST_BYTES = 2_000_000_000  # of a checkpoint from elsewhere
LARGEST, DEEPEST = 200_000, 1000  # any size, and any count of layers, in an architecture


def pack(entry: Entry, archive: Path, *, force: bool = False) -> None:
    """Write a checkpoint's files to a zip; the same checkpoint gives the same bytes.

    Raises UsageError where the file exists, but for `force`; SerdemoError for no checkpoint.
    """
    if archive.is_dir() or not archive.absolute().parent.is_dir():
        raise UsageError(f"{archive} must name a file in a folder that is there.")
    if archive.exists() and not force:
        raise UsageError(f"{archive} exists: name another file, or give --force to replace it.")
    checkpoint.describe(entry.folder)
    zipfiles.pack(recovered_path(entry.folder), archive, files_of(entry.folder))


def unpack(archive: Path, folder: Path, most_bytes: int = MOST_BYTES) -> None:
    """Put the checkpoint of a zip into `folder`: its files alone, or in one folder inside.

    Raises SerdemoError, beside what `archives.unpack` refuses, for a zip that holds other things.
    """
    inside = folder.parent / "unpacked"
    kinds = {Path(name).suffix for name in FILES}
    zipfiles.unpack(archive, inside, kinds, most_bytes)
    found = [path for path in sorted(inside.rglob("*")) if path.is_file()]
    for path in found:
        within = path.relative_to(inside)
        if path.name not in FILES or len(within.parts) > 2:
            raise SerdemoError(
                f"{archive.name} is refused: {within.as_posix()[:80]!r} is no file of a checkpoint"
                f" ({', '.join(FILES)})."
            )
    if len({path.parent for path in found}) > 1:
        raise SerdemoError(f"{archive.name} holds several folders: zip one checkpoint by itself.")
    for path in found:
        os.replace(path, folder / path.name)


def verify(folder: Path) -> None:
    """Raise SerdemoError unless the folder holds a checkpoint that is whole and sound, and whose
    model needs no more memory than its weights."""
    description = checkpoint.describe(folder)
    held = count_numbers(folder / WEIGHTS)
    # What a stranger wrote may be beyond measure, so shapes alone are made of it at first.
    _refuse_beyond_measure(description.encoder_config, folder.name)
    with torch.device("meta"):
        model = checkpoint.build(description, folder.name)
    needed = sum(parameter.numel() for parameter in model.parameters())
    if needed > held:
        raise SerdemoError(
            f"{folder.name} does not fit its description: that needs {needed} numbers, its"
            f" weights are {held}."
        )
    checkpoint.load(folder)


def _refuse_beyond_measure(config: Any, name: str, key: str = "") -> None:
    """Raise SerdemoError for a number in an architecture that no model has."""
    inner = list(config.items()) if isinstance(config, dict) else []
    if isinstance(config, list):
        inner = [(key, value) for value in config]
    if len(inner) > DEEPEST or (
        isinstance(config, int | float) and not config <= (DEEPEST if "layers" in key else LARGEST)
    ):
        raise SerdemoError(f"{name} cannot be read: {key!r} in {DESCRIPTION} is beyond measure.")
    for below, value in inner:
        _refuse_beyond_measure(value, name, str(below))
