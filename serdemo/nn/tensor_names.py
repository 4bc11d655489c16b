"""Former names of tensors in checkpoints and saved training states, and their present names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")

# Names inside a model -> present names. In 0.2.0 the modules got the names that papers use.
RENAMED = {
    r"encoder\.front\.convolutions\.": r"encoder.subsampling.convolutions.",
    r"encoder\.front\.project\.": r"encoder.subsampling.projection.",
    r"encoder\.front\.norm\.": r"encoder.subsampling.norm.",
    r"encoder\.blocks\.(\d+)\.before\.": r"encoder.blocks.\2.ff1.",
    r"encoder\.blocks\.(\d+)\.behind\.": r"encoder.blocks.\2.ff2.",
    r"encoder\.blocks\.(\d+)\.convolution\.after\.": r"encoder.blocks.\2.convolution.depthwise_norm.",
    r"encoder\.mix$": r"encoder.layer_weights",
    r"encoder\.reduce\.": r"encoder.bottleneck.",
    r"pooling\.inner\.": r"pooling.hidden.",
    r"pooling\.outer\.": r"pooling.score.",
    r"pooling\.level\.": r"pooling.input_norm.",
    r"pooling\.means\.": r"pooling.output_norm.",
}
PREFIX = r"((?:(?:model|average|ema|module)\.)*)"  # of a model's tensors in a training state
_PATTERNS = [(re.compile(f"^{PREFIX}{old}"), rf"\1{new}") for old, new in RENAMED.items()]


def current_names(tensors: Mapping[str, T]) -> dict[str, T]:
    """The same values under the present names of their tensors; present names stay as they are."""
    return {_current_name(name): value for name, value in tensors.items()}


def _current_name(name: str) -> str:
    for pattern, replacement in _PATTERNS:
        name, n_matches = pattern.subn(replacement, name)
        if n_matches:
            break
    return name
