"""What a call of the page's scripts brings along: the browser is not trusted."""

from __future__ import annotations

import base64
import binascii
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from serdemo.schema.errors import UsageError

MOST_LETTERS = 4_000_000  # of one piece in base64: some seconds at any rate a browser knows
MOST_NUMBERS = 4096  # of one calibration

Request = dict[str, Any]
Kind = TypeVar("Kind", int, float, str)


def field(asked: Any, name: str, kind: type[Kind]) -> Kind:
    """One value of a call; the browser is not trusted, so its type is checked."""
    value = asked.get(name) if isinstance(asked, dict) else None
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise UsageError(f"This call needs {name} of type {kind.__name__}: reload the page.")
    return value


def shift_of(asked: Request) -> NDArray[np.float32] | None:
    """The calibration that a call brings along, (E,); None where it brings none.

    Raises UsageError for anything but a list of numbers.
    """
    numbers = asked.get("neutral")
    if numbers is None:
        return None
    if not isinstance(numbers, list) or not all(type(x) in (int, float) for x in numbers):
        raise UsageError("A calibration is a list of numbers: calibrate once more.")
    with np.errstate(over="ignore"):  # becomes infinite, which the service refuses
        return np.array(numbers[:MOST_NUMBERS], np.float32)


def from_base64(text: str) -> NDArray[np.int16]:
    """16-bit samples (N,) out of base64; raises UsageError for anything else."""
    if len(text) > MOST_LETTERS:
        raise UsageError(f"A piece of sound may have {MOST_LETTERS} letters: send shorter ones.")
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), dtype="<i2")
    except (binascii.Error, ValueError) as problem:
        raise UsageError("The samples are no 16-bit sound in base64: reload the page.") from problem
