"""The target `api`: arguments of the endpoints and of the page's own calls, in this process."""

from __future__ import annotations

import base64
import inspect
import json
import logging
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from serdemo.experiments.fuzz.model_targets import tiny_checkpoint
from serdemo.experiments.fuzz.sound_targets import sound
from serdemo.experiments.fuzz.target import Target, attempt
from serdemo.inference.predictor import Predictor
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.ui.api.endpoints import Endpoints
from serdemo.ui.api.files import discard, received
from serdemo.ui.api.live import LiveEndpoints
from serdemo.ui.explore.handlers import Explore
from serdemo.ui.live.handlers import Live
from serdemo.ui.shell import rpc
from serdemo.ui.shell.page import Page
from serdemo.ui.shell.session import WarmPredictor

SEPARATOR = b"\x1f"  # between the arguments, the first of which chooses the function
STREAM = "STREAM"  # an argument that stands for an open stream


class Calls(Target):
    """Calls of a visitor, whose arguments are JSON or, where they are none, text."""

    def __init__(self) -> None:
        self._scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        folder = Path(self._scratch.name)
        for name, content in tiny_checkpoint().items():
            (folder / name).write_bytes(content)
        page = Page(WarmPredictor(lambda: Predictor(folder, device="cpu")))
        self._page, self._services = page, page.visitors.live_services
        endpoints, tab = Endpoints(page), Live(page.visitors)
        programs = LiveEndpoints(endpoints)
        explore = Explore(page)
        client = SimpleNamespace(host="192.0.2.1")
        visit: Any = SimpleNamespace(client=client, headers={}, session_hash="fuzz")

        def files(*sent: Any) -> None:
            for recording in received(list(sent)):
                discard(recording)

        def fields(request: Any) -> None:
            attempt(lambda: rpc.field(request, "a", int))
            attempt(lambda: rpc.field(request, "a", float))
            rpc.from_base64(rpc.field(request, "a", str))

        def called(tab: rpc.Calls, request: Any) -> None:
            json.dumps(tab.call(request, visit))

        self._functions: tuple[Callable[..., object], ...] = (
            files,
            fields,
            partial(endpoints.predict, visit),
            partial(endpoints.embed, visit),
            partial(endpoints.compare, visit),
            partial(programs.live_open, visit),
            programs.live_push,
            programs.live_close,
            partial(called, tab),
            partial(called, explore),
        )
        self._faults = _Faults()
        logging.getLogger("serdemo").addHandler(self._faults)

    def seeds(self) -> list[bytes]:
        """A call of each function, and values of other types at every place."""
        inline = "data:audio/wav;base64," + _base64(sound())
        push = _base64(bytes(3200))
        calls: list[list[Any]] = [
            [0, {"path": "/etc/passwd"}, inline, None, "http://127.0.0.1/a.wav", {"path": ["a"]}],
            [1, {"a": 5}],
            [1, {"a": push}],
            [2, [inline, inline], True],
            [2, [inline], False, "compact"],
            [3, [inline], "../../x"],
            [4, [inline], "compact", ""],
            [5, 16_000, "", True],
            [5, 1 << 70],
            [6, STREAM, 0, push, 0.0],
            [6, STREAM, -(1 << 70), push, 1e999],
            [7, STREAM],
            [8, {"call": "open", "rate": 16_000, "adapt": True, "visitor": "x"}],
            [
                8,
                {
                    "call": "push",
                    "stream": STREAM,
                    "samples": push,
                    "sequence": 1 << 70,
                    "since": 0,
                },
            ],
            [8, {"call": "restore", "stream": STREAM, "voice": {"model": "x", "counts": [[]]}}],
            [8, {"call": "close", "stream": STREAM, "since": -1}],
            [8, {"call": "calibrate", "stream": STREAM}],
            [8, {"call": ["__class__"]}],
            [9, {"call": "save", "map": "shipped", "ending": ".csv", "rows": "gA=="}],
            [9, {"call": "progress", "map": "shipped", "wanted": [["a"], "pca"]}],
            [9, {"call": "table", "path": "/etc/passwd", "name": "../../x"}],
            [9, {"call": "save", "map": "shipped", "ending": "../x", "rows": None}],
            [9, {"call": "follow", "map": "shipped", "rate": 1, "visitor": [], "stream": {}}],
            [9, {"call": "hearing", "hearing": ""}],
        ]
        return [
            bytes([call[0]]) + SEPARATOR.join(json.dumps(value).encode() for value in call[1:])
            for call in calls
        ]

    def read(self, data: bytes, folder: Path) -> None:
        """Call a function with arguments; raises what its answer hid."""
        function = self._functions[(data[0] if data else 0) % len(self._functions)]
        arguments = [_argument(part) for part in data[1:].split(SEPARATOR)]
        stream = ""
        if b"STREAM" in data:
            stream = self._services.of(self._page.model.get()).open(16_000)
            arguments = [_with_stream(value, stream) for value in arguments]
        self._faults.found = None
        try:
            inspect.signature(function).bind(*arguments)
        except TypeError as problem:
            raise UsageError("gradio refuses a call with too many or few arguments.") from problem
        try:
            function(*arguments)
        except gr.Error as error:
            if not isinstance(error.__cause__, SerdemoError):
                raise error.__cause__ or error from None
        finally:
            if stream in self._services:
                self._services.find(stream).close(stream)
        if self._faults.found:
            raise self._faults.found
        left = [path for path in Path(get_upload_folder()).rglob("*") if path.is_file()]
        assert not left, f"{left[0].name} was left behind"


class _Faults(logging.Handler):
    """What a call logged as an error instead of raising it."""

    found: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            self.found = AssertionError(record.getMessage())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _argument(part: bytes) -> Any:
    text = part.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _with_stream(value: Any, stream: str) -> Any:
    if isinstance(value, dict):
        return {key: _with_stream(inner, stream) for key, inner in value.items()}
    return stream if value == STREAM else value
