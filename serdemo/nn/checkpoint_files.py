"""Files of a checkpoint: where bundled ones lie, and reading tensors safely."""

from __future__ import annotations

import math
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from serdemo.schema.errors import SerdemoError

if TYPE_CHECKING:  # a command that needs no tensor need not wait for torch
    from torch import Tensor
WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"  # what makes a folder a checkpoint
SHIPPED = "compact"


def bundled_checkpoint(name: str = SHIPPED) -> Path:
    """The folder of a checkpoint that comes with serdemo; raises SerdemoError when there is none."""
    inside = Path(str(resources.files("serdemo"))) / "checkpoints" / name
    beside = Path(__file__).resolve().parents[2] / "checkpoints" / name
    for folder in (inside, beside):
        if folder.is_dir():
            return folder
    raise SerdemoError(f"This installation holds no checkpoint {name!r}; name one by its folder.")


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


def count_numbers(path: Path) -> int:
    """How many numbers the tensors of a safetensors file hold, read off its header alone.

    Raises SerdemoError as `read_tensors` does.
    """
    try:
        with safe_open(path, framework="pt") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as problem:
        raise SerdemoError(
            f"{path.name} is not a safetensors file or is damaged: {problem}."
        ) from problem
    return sum(map(math.prod, shapes))
