"""An encoder out of a checkpoint of our own, as a source like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from serdemo.nn.checkpoint_files import DESCRIPTION, WEIGHTS, read_tensors
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import read_json

INSIDE = "encoder.model."  # before the names of a pretrained encoder's tensors


def is_ours(source: str) -> bool:
    """Whether it is the folder of a checkpoint of our own."""
    return bool(source) and (Path(source) / DESCRIPTION).is_file()


def configuration(kind: str, source: str) -> dict[str, Any] | None:
    """What `source` keeps of its encoder's architecture; None where it is no checkpoint of ours.

    Raises UsageError when its encoder is of another kind, SerdemoError when it is damaged.
    """
    if not is_ours(source):
        return None
    folder = Path(source)
    told = read_json(folder / DESCRIPTION)
    config = told.get("encoder_config") if isinstance(told, dict) else None
    if not isinstance(config, dict):
        raise SerdemoError(f"{folder.name} is damaged: its {DESCRIPTION} tells of no encoder.")
    if told.get("encoder") != kind:
        raise UsageError(f"{folder.name} has the encoder {told.get('encoder')}, not {kind}.")
    return config


def state(source: str) -> dict[str, Tensor] | None:
    """The encoder's tensors as float32, named as in its own model; None where it is none of ours.

    Raises UsageError for one with adapters, SerdemoError when it cannot be read.
    """
    if not is_ours(source):
        return None
    folder = Path(source)
    found = {
        name.removeprefix(INSIDE): value.float()
        for name, value in read_tensors(folder / WEIGHTS).items()
        if name.startswith(INSIDE)
    }
    if any("lora_" in name for name in found):
        raise UsageError(
            f"{folder.name} was trained with LoRA: begin with it by --init-from, not by --source."
        )
    return found
