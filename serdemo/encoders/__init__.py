"""The table of encoders: a name -> its options and how to build it (heavy imports wait till then)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from serdemo.encoders.compact import CompactEncoder, CompactOptions
from serdemo.options import Options
from serdemo.schema import UsageError


@dataclass(frozen=True, slots=True)
class EncoderKind:
    """An entry of the table."""

    options: type[Options]
    build: Callable[[Any], nn.Module]


ENCODERS: dict[str, EncoderKind] = {"compact": EncoderKind(CompactOptions, CompactEncoder)}


def build(name: str, options: Mapping[str, Any]) -> nn.Module:
    """A fresh encoder by name; raises UsageError for a name or an option that is not known."""
    if name not in ENCODERS:
        raise UsageError(f"There is no encoder {name!r}; known are {', '.join(ENCODERS)}.")
    kind = ENCODERS[name]
    return kind.build(kind.options.from_json(options))
