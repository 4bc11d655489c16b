"""Encoder of a serdemo checkpoint, used as the source of a pretrained encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from serdemo.nn.checkpoint_files import DESCRIPTION, WEIGHTS, is_checkpoint, read_tensors
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import read_json

PREFIX = "encoder.model."  # of a pretrained encoder's tensors in a checkpoint


def load_config(kind: str, source: str) -> dict[str, Any] | None:
    """Encoder configuration of the checkpoint `source`; None where `source` is no checkpoint.

    Raises UsageError when its encoder is not of `kind`, SerdemoError when it is damaged.
    """
    if not is_checkpoint(source):
        return None
    folder = Path(source)
    values = read_json(folder / DESCRIPTION)
    config = values.get("encoder_config") if isinstance(values, dict) else None
    if not isinstance(config, dict):
        raise SerdemoError(f"{folder.name} is damaged: its {DESCRIPTION} tells of no encoder.")
    if values.get("encoder") != kind:
        raise UsageError(f"{folder.name} has the encoder {values.get('encoder')}, not {kind}.")
    return config


def load_state(source: str) -> dict[str, Tensor] | None:
    """Encoder tensors (float32) of the checkpoint `source`; None where `source` is no checkpoint.

    Raises UsageError for an encoder with LoRA adapters, SerdemoError when it cannot be read.
    """
    if not is_checkpoint(source):
        return None
    folder = Path(source)
    state = {
        name.removeprefix(PREFIX): value.float()
        for name, value in read_tensors(folder / WEIGHTS).items()
        if name.startswith(PREFIX)
    }
    if any("lora_" in name for name in state):
        raise UsageError(
            f"{folder.name} was trained with LoRA: begin with it by --init-from, not by --source."
        )
    return state
