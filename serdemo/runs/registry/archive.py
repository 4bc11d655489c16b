"""Checkpoints as zip files, and the verification of checkpoints from strangers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from serdemo.nn.checkpoint_files import DESCRIPTION, WEIGHTS, count_parameters
from serdemo.nn.plausibility import refuse_implausible_sizes
from serdemo.nn.transformers_files import LABEL_MAP
from serdemo.runs.registry.entry import FILES, Entry, files_of, is_checkpoint_file
from serdemo.schema import zipfiles
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import recovered_path, write_json

MAX_BYTES = 2_000_000_000  # of an imported checkpoint


def pack(entry: Entry, archive: Path, *, force: bool = False) -> None:
    """Write the files of a checkpoint to a zip; equal checkpoints give equal bytes.

    Raises UsageError for a file that exists unless `force` is set, SerdemoError when the entry is no checkpoint.
    """
    from serdemo.nn.description import read_description

    if archive.is_dir() or not archive.absolute().parent.is_dir():
        raise UsageError(f"{archive} must name a file in a folder that is there.")
    if archive.exists() and not force:
        raise UsageError(f"{archive} exists: name another file, or give --force to replace it.")
    read_description(entry.folder)
    zipfiles.pack(recovered_path(entry.folder), archive, files_of(entry.folder))


def copy(source: Path, folder: Path, *, label_map: Mapping[str, str] | None = None) -> None:
    """Copy the files of the checkpoint in the folder `source` to `folder`, with a label map if given.

    Raises SerdemoError when it is no checkpoint.
    """
    from serdemo.nn.description import read_description

    read_description(source, label_map)
    for name in files_of(source):
        shutil.copyfile(recovered_path(source) / name, folder / name)
    _write_label_map(folder, label_map)


def _write_label_map(folder: Path, label_map: Mapping[str, str] | None) -> None:
    if label_map:
        write_json(folder / LABEL_MAP, dict(label_map))


def unpack(
    archive: Path,
    folder: Path,
    max_bytes: int = MAX_BYTES,
    *,
    label_map: Mapping[str, str] | None = None,
) -> None:
    """Extract the checkpoint of a zip into `folder`, and write a label map if given beside it.

    The zip may hold the checkpoint in one folder of its own.

    Raises SerdemoError for a zip that `zipfiles.unpack` refuses or that holds other files.
    """
    scratch = folder.parent / "unpacked"
    zipfiles.unpack(archive, scratch, {Path(name).suffix for name in (*FILES, WEIGHTS)}, max_bytes)
    paths = [path for path in sorted(scratch.rglob("*")) if path.is_file()]
    for path in paths:
        relative = path.relative_to(scratch)
        if not is_checkpoint_file(path.name) or len(relative.parts) > 2:
            raise SerdemoError(
                f"{archive.name} is refused: {relative.as_posix()[:80]!r} is no file of a checkpoint"
                f" ({', '.join((*FILES, WEIGHTS))})."
            )
    if len({path.parent for path in paths}) > 1:
        raise SerdemoError(f"{archive.name} holds several folders: zip one checkpoint by itself.")
    for path in paths:
        os.replace(path, folder / path.name)
    _write_label_map(folder, label_map)


def verify(folder: Path) -> None:
    """Raise SerdemoError unless a folder holds a loadable checkpoint whose model has no more
    parameters than its weights file has numbers."""
    import torch

    from serdemo.nn import checkpoint
    from serdemo.nn.description import read_description

    description = read_description(folder)
    if description.is_foreign:
        from serdemo.nn import transformers_model

        transformers_model.check(folder)
        return
    available = count_parameters(folder)
    # A hostile description may ask for any amount of memory: at first only shapes are made.
    refuse_implausible_sizes(description.encoder_config, folder.name, DESCRIPTION)
    with torch.device("meta"):
        model = checkpoint.build(description, folder.name)
    constant = checkpoint.constants(model)
    needed = sum(p.numel() for name, p in model.named_parameters() if name not in constant)
    if needed > available:
        raise SerdemoError(
            f"{folder.name} does not fit its description: that needs {needed} numbers, its"
            f" weights are {available}."
        )
    checkpoint.load(folder)
