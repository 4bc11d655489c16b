"""Calls of the page's scripts: which method answers one, and the checks of its fields."""

from __future__ import annotations

import base64
import binascii
from typing import Any, TypeVar

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.ui.shell.activity import Activity
from serdemo.ui.shell.uploads import FAULT

MAX_BASE64_CHARS = 4_000_000  # of one piece of sound: some seconds at any rate a browser knows

Request = dict[str, Any]  # what a script sends: `call`, and the fields of that call
Response = dict[str, Any]
Kind = TypeVar("Kind", int, float, str, bool)


class Calls:
    """The calls of one tab: the method `on_NAME(request, visit)` answers the call NAME. They count as
    requests of the tab that has the class's name."""

    def __init__(self, activity: Activity) -> None:
        self._activity = activity

    def call(self, request: Any, visit: gr.Request | None) -> Response:
        """The response of the call that `request["call"]` names; a failure is the sentence `refused`.

        `visit` is gradio's request, which shows where the visitor comes from; None for a piece of sound.
        """
        name = request.get("call") if isinstance(request, dict) else None
        method = getattr(self, f"on_{name}", None)
        known = str(name) if method else "unknown"
        counted = self._activity.request(type(self).__name__.lower(), known)
        try:
            with counted:
                if method is None:
                    name = field(request, "call", str)
                    raise UsageError(f"There is no call {name!r}: reload the page.")
                response: Response = method(request, visit)
        except SerdemoError as problem:
            return {"refused": str(problem)}
        except Exception:  # which is in the log
            return {"refused": FAULT}
        return response


def field(request: Any, name: str, kind: type[Kind]) -> Kind:
    """One value of a request. The browser is not trusted: UsageError for another type."""
    value = request.get(name) if isinstance(request, dict) else None
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise UsageError(f"This call needs {name} of type {kind.__name__}: reload the page.")
    return value


def from_base64(text: str) -> NDArray[np.int16]:
    """16-bit samples (N,) from base64; raises UsageError for anything else."""
    if len(text) > MAX_BASE64_CHARS:
        raise UsageError(f"A piece of sound has at most {MAX_BASE64_CHARS} letters: send less.")
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), dtype="<i2")
    except (binascii.Error, ValueError) as problem:
        raise UsageError("The samples are no 16-bit sound in base64: reload the page.") from problem


def to_base64(samples: NDArray[np.int16]) -> str:
    """16-bit samples (N,) as base64."""
    return base64.b64encode(samples.astype("<i2").tobytes()).decode()
