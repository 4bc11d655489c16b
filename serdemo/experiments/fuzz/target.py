"""What is fuzzed: each target has small sound inputs to begin with, and reads any bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from serdemo.schema.errors import SerdemoError

PACKAGE = "serdemo.experiments.fuzz"
# Class of each target, and its share of the inputs.
TARGETS: Mapping[str, tuple[str, float]] = {
    "decoder": (f"{PACKAGE}.sound_targets:Decoder", 0.2),
    "ffmpeg": (f"{PACKAGE}.sound_targets:Ffmpeg", 0.003),
    "subtitles": (f"{PACKAGE}.sound_targets:Subtitles", 0.1),
    "clips": (f"{PACKAGE}.table_targets:Clips", 0.1),
    "table": (f"{PACKAGE}.table_targets:CsvTable", 0.1),
    "records": (f"{PACKAGE}.table_targets:Records", 0.07),
    "parquet": (f"{PACKAGE}.table_targets:Parquet", 0.05),
    "map": (f"{PACKAGE}.table_targets:Map", 0.05),
    "model": (f"{PACKAGE}.model_targets:ModelArchive", 0.04),
    "safetensors": (f"{PACKAGE}.model_targets:Safetensors", 0.08),
    "onnx": (f"{PACKAGE}.model_targets:Onnx", 0.037),
    "json": (f"{PACKAGE}.model_targets:Documents", 0.1),
    "api": (f"{PACKAGE}.api_target:Calls", 0.07),
}


class Target(ABC):
    """A reader of untrusted bytes; `SerdemoError` is its only way to refuse them."""

    @abstractmethod
    def seeds(self) -> list[bytes]:
        """Small inputs, most of them sound, that others are made from."""

    @abstractmethod
    def read(self, data: bytes, folder: Path) -> None:
        """Read an input as the page or a command does; nothing may be written but in `folder`.

        Raises SerdemoError for an input that is refused; anything else is a finding.
        """


def load(name: str) -> Target:
    """The target of a name in `TARGETS`."""
    module, _, kind = TARGETS[name][0].partition(":")
    target: Target = getattr(import_module(module), kind)()
    return target


def put(data: bytes, path: Path) -> Path:
    """Write an input to a file; returns its path."""
    path.write_bytes(data)
    return path


def attempt(read: Callable[[], object]) -> None:
    """Read an input in one of several ways: a refusal ends this way alone."""
    with suppress(SerdemoError):
        read()
