"""Calls of the page's scripts: which function answers one, and the checks of what it brings along."""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.ui.shell.uploads import FAULT

MAX_BASE64_CHARS = 4_000_000  # of one piece of sound: some seconds at any rate a browser knows
MAX_OFFSET_VALUES = 4096

Request = dict[str, Any]  # what a script sends: `call`, and the fields of that call
Response = dict[str, Any]
Call = Callable[[Request, gr.Request], Response]
Kind = TypeVar("Kind", int, float, str)

log = logging.getLogger(__name__)


def dispatch(calls: Mapping[str, Call], request: Any, visit: gr.Request) -> Response:
    """The response of the call that `request["call"]` names; a failure is the sentence `refused`.

    `visit` is gradio's request, which tells where the visitor comes from.
    """
    try:
        name = field(request, "call", str)
        if name not in calls:
            raise UsageError(f"There is no call {name!r}: reload the page.")
        return calls[name](request, visit)
    except SerdemoError as problem:
        return {"refused": str(problem)}
    except Exception:
        log.exception("a call of the page failed")
        return {"refused": FAULT}


def field(request: Any, name: str, kind: type[Kind]) -> Kind:
    """One value of a request. The browser is not trusted: UsageError for another type."""
    value = request.get(name) if isinstance(request, dict) else None
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise UsageError(f"This call needs {name} of type {kind.__name__}: reload the page.")
    return value


def speaker_offset_of(request: Request) -> NDArray[np.float32] | None:
    """The speaker offset `neutral` of a request, (E,); None where it has none.

    Raises UsageError for anything but a list of numbers.
    """
    numbers = request.get("neutral")
    if numbers is None:
        return None
    if not isinstance(numbers, list) or not all(type(x) in (int, float) for x in numbers):
        raise UsageError("A calibration is a list of numbers: calibrate once more.")
    with np.errstate(over="ignore"):  # becomes infinite, which the service refuses
        return np.array(numbers[:MAX_OFFSET_VALUES], np.float32)


def from_base64(text: str) -> NDArray[np.int16]:
    """16-bit samples (N,) from base64; raises UsageError for anything else."""
    if len(text) > MAX_BASE64_CHARS:
        raise UsageError(
            f"A piece of sound may have {MAX_BASE64_CHARS} letters: send shorter ones."
        )
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), dtype="<i2")
    except (binascii.Error, ValueError) as problem:
        raise UsageError("The samples are no 16-bit sound in base64: reload the page.") from problem


def to_base64(samples: NDArray[np.int16]) -> str:
    """16-bit samples (N,) as base64."""
    return base64.b64encode(samples.astype("<i2").tobytes()).decode()
