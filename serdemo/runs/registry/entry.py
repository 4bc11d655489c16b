"""An entry of the model registry, and the files that belong to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serdemo.nn.checkpoint_files import DESCRIPTION, REPORT, WEIGHTS
from serdemo.schema.files import recovered_path
from serdemo.training.events import EVENTS

CARD = "README.md"
FILES = (CARD, EVENTS, DESCRIPTION, WEIGHTS, REPORT)  # of a checkpoint, required and optional ones
PART = ".part-"  # prefix of folders that are being written or deleted

Origin = Literal["shipped", "run", "imported", "folder"]
PREFIXES: dict[str, str] = {"run": "runs/", "imported": "models/"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A checkpoint of the registry: its name, where it comes from, and its folder."""

    name: str
    origin: Origin
    folder: Path

    @property
    def key(self) -> str:
        """Its unique key: `compact`, `runs/NAME`, `models/NAME`, or the path of its folder."""
        if self.origin == "folder":
            return str(self.folder)
        return PREFIXES.get(self.origin, "") + self.name


def files_of(folder: Path) -> list[str]:
    """Names of the checkpoint files that exist in a folder."""
    return [name for name in FILES if (recovered_path(folder) / name).is_file()]


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder holds a description and weights."""
    return {DESCRIPTION, WEIGHTS} <= set(files_of(folder))
