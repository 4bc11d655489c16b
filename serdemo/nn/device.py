"""Choice of the device and the number format of computations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from serdemo.schema import settings
from serdemo.schema.errors import UsageError
from serdemo.schema.text import counted


def pick_device(name: str) -> torch.device:
    """Device by name, or the fastest one for `auto`; raises UsageError for a missing device."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", settings.local_rank())
        single = (settings.launched_processes() or 1) == 1  # processes cannot exchange mps tensors
        return torch.device("mps" if single and torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as problem:
        raise UsageError(
            f"There is no device {name!r} on this machine; try --device cpu."
        ) from problem
    return device


def device_name(device: torch.device) -> str:
    """Name of a device for people, such as the product name of a GPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"this machine's processor ({counted(torch.get_num_threads(), 'thread')})"
    return f"this machine's GPU ({device.type})"


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Context manager that flushes denormal numbers to zero, with which a CPU is many times slower.

    Threads that torch starts inside inherit the setting.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """Number format by name (fp32, bf16, fp16), or the fastest one of the device for `auto`."""
    formats = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if name != "auto":
        return formats[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    fast = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32
