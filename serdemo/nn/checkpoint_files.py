"""Files of a checkpoint folder: bundled checkpoints, and safe reading of tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from serdemo.schema.errors import SerdemoError

if TYPE_CHECKING:  # importing torch takes a second, and few commands read tensors
    from torch import Tensor

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"
REPORT = "report.json"  # scores on the test clips, beside them
SHIPPED = "compact"
SMALLEST = "compact"  # answers live sound where the shipped default is too slow
ENCODER_CHECKPOINT = "base"  # the bundled one with a pretrained encoder


def bundled_checkpoint(name: str = SHIPPED) -> Path:
    """Folder of a checkpoint that comes with serdemo; raises SerdemoError for an unknown name."""
    installed = Path(str(resources.files("serdemo"))) / "checkpoints" / name
    in_repository = Path(__file__).resolve().parents[2] / "checkpoints" / name
    for folder in (installed, in_repository):
        if folder.is_dir():
            return folder
    raise SerdemoError(f"This installation holds no checkpoint {name!r}; name one by its folder.")


def is_checkpoint(path: str) -> bool:
    """Whether `path`, which may be empty or a hub id, is the folder of a serdemo checkpoint."""
    return bool(path) and (Path(path) / DESCRIPTION).is_file()


def source_folder(source: str) -> Path | None:
    """Folder of the serdemo checkpoint that `--source` names, by its path or as the bundled one; None for
    another source. Raises SerdemoError where the bundled one is missing."""
    if is_checkpoint(source):
        return Path(source)
    return bundled_checkpoint(source) if source == ENCODER_CHECKPOINT else None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file; raises SerdemoError when it is damaged or another format."""
    with _open_safetensors(path) as file:
        # Copied: a tensor that still maps the file keeps Windows from replacing it.
        return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118


def count_parameters(path: Path) -> int:
    """Number of values in a safetensors file, from its header; raises SerdemoError as `read_tensors`."""
    with _open_safetensors(path) as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118


@contextmanager
def _open_safetensors(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError, ValueError) as problem:
        raise SerdemoError(
            f"{path.name} is not a safetensors file or is damaged: {problem}."
        ) from problem
