"""An entry of the model registry, and the files that belong to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serdemo.nn.checkpoint_files import DESCRIPTION, REPORT, has_weights, is_weights, weight_files
from serdemo.nn.transformers_files import FILES as TRANSFORMERS_FILES
from serdemo.nn.transformers_files import is_transformers
from serdemo.schema.files import recovered_path
from serdemo.training.events import EVENTS

CARD = "README.md"
FILES = (
    CARD,
    EVENTS,
    DESCRIPTION,
    REPORT,
    *TRANSFORMERS_FILES,
)  # of a checkpoint, beside its weights
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


def is_checkpoint_file(name: str) -> bool:
    """Whether a file of this name belongs to a checkpoint."""
    return name in FILES or is_weights(name)


def files_of(folder: Path) -> list[str]:
    """Names of the checkpoint files that exist in a folder; raises SerdemoError as `weight_files`."""
    path = recovered_path(folder)
    files = [*(path / name for name in FILES), *weight_files(folder)]
    return [file.name for file in files if file.is_file()]


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder holds weights, and a description of ours or a configuration of transformers."""
    described = (recovered_path(folder) / DESCRIPTION).is_file() or is_transformers(folder)
    return described and has_weights(folder)
