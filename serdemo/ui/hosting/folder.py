"""A folder that a command writes as a whole, and writes again in place of an earlier version."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from pathlib import Path

from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import atomic, make_folder, read_json

LIST = "files.json"  # every other file of the folder, with its SHA-256: so it is known again
PROJECT = Path(__file__).parents[3]  # of a source checkout


def with_list(content: dict[str, bytes]) -> dict[str, bytes]:
    """The content of a folder's files by path, and their list."""
    sums = {path: hashlib.sha256(data).hexdigest() for path, data in sorted(content.items())}
    return {**content, LIST: (json.dumps(sums, indent=1) + "\n").encode()}


def write(folder: Path, content: dict[str, bytes]) -> list[str]:
    """Write files, their list among them, into `folder`, and delete those of an earlier version; returns
    their paths.

    Hidden files such as `.git` stay. Raises UsageError where the folder holds anything else, and
    SerdemoError where something cannot be written.
    """
    earlier = _earlier_files(folder)
    make_folder(folder)
    # The list first: a folder that is half written is known too.
    for path in (LIST, *sorted(content.keys() - {LIST})):
        make_folder((folder / path).parent)
        with atomic(folder / path) as temporary:
            temporary.write_bytes(content[path])
    for path in earlier - content.keys():
        (folder / path).unlink(missing_ok=True)
    return sorted(content)


def _earlier_files(folder: Path) -> set[str]:
    """Paths of the files that `write` left in a folder; raises UsageError where it holds others."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: name a folder.")
    if not folder.is_dir() or all(path.name.startswith(".") for path in folder.iterdir()):
        return set()
    try:
        listed = set(read_json(folder / LIST))
    except (SerdemoError, TypeError):
        raise UsageError(
            f"{folder} holds other files: name an empty folder, or one that this command has written."
        ) from None
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return listed.intersection(found)


def own_licence() -> bytes:
    """Text of serdemo's licence; raises SerdemoError where it is missing."""
    path = PROJECT / "LICENSE"
    return path.read_bytes() if path.is_file() else licence_of("serdemo")


def licence_of(distribution: str) -> bytes:
    """Text of an installed package's licence; raises SerdemoError where it is missing."""
    for file in metadata.files(distribution) or ():
        if file.name.startswith("LICENSE"):
            return Path(str(file.locate())).read_bytes()
    raise SerdemoError(f"The licence of {distribution} is missing: install it once more.")
