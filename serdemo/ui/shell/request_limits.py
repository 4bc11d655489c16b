"""Limits of what visitors may send: size, memory, time, and how many requests at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serdemo.ui.shell.served_paths import route_path
from serdemo.ui.shell.visitor_address import visitor_of

MIB = 2**20
UPLOAD = "/gradio_api/upload"
MAX_UPLOAD_MB = 300
MAX_CALL_MB = 28  # a file of 20 MB in base64
MAX_PAGE_CALL_MB = 8  # of the page's own calls: some seconds of sound
QUEUED = ("/gradio_api/queue/join", "/gradio_api/call/")
PAGE_CALLS = ("/gradio_api/component_server", "/serdemo-live/")
MAX_REQUESTS = 256  # at once of one visitor: a class may share an address, and each page holds two
MAX_MEMORY_MB = 256  # of the values of all calls that are being read, or wait for their turn
MAX_VISITOR_MEMORY_MB = 64
VALUE_BYTES = 100  # of a value of JSON in memory, about
IDLE_S = 30.0  # until the next piece of a body
MIN_BYTES_S = 4096.0  # of a body as a whole, after that time

# gradio's page shows these where it finds the words "maximum allowed size".
TOO_LARGE = "This is above the maximum allowed size of {} MB: send less at once."
TOO_MANY = "Too many requests from your address are open: close some pages, then try again."
TOO_SLOW = "The request did not arrive in time: send it again."
BUSY = "Too many large calls wait for their turn: try again in a minute."
NO_FILES = f"Files are sent to {UPLOAD} alone: send this call as JSON."


class Memory:
    """How many bytes the calls of each visitor take, about."""

    def __init__(self) -> None:
        self.used: Counter[str] = Counter()
        self._lock = threading.RLock()

    def add(self, visitor: str, n_bytes: int) -> bool:
        """Count bytes, fewer if negative; whether all that is counted is allowed."""
        with self._lock:
            self.used[visitor] += n_bytes
            own, total = self.used[visitor], self.used.total()
            if own <= 0:
                del self.used[visitor]
        return own <= MAX_VISITOR_MEMORY_MB * MIB and total <= MAX_MEMORY_MB * MIB


class Call:
    """What a call takes of `memory`: until it ends or, where gradio's queue holds its request, until that is
    forgotten."""

    def __init__(self, memory: Memory, visitor: str) -> None:
        self.memory, self.visitor, self.n_bytes = memory, visitor, 0

    def add(self, piece: bytes) -> bool:
        """Count a piece of JSON, its text and its values; whether that is allowed."""
        n_bytes = len(piece) + VALUE_BYTES * sum(map(piece.count, (b",", b"[", b"{")))
        self.n_bytes += n_bytes
        return self.memory.add(self.visitor, n_bytes)

    def end(self) -> None:
        """Count nothing of it any more."""
        self.memory.add(self.visitor, -self.n_bytes)
        self.n_bytes = 0

    __del__ = end


class RequestLimits:
    """ASGI middleware that refuses what exceeds the limits with one sentence, except for requests for
    which `unlimited` is true. gradio's own limit is one for all uploads, and none for calls."""

    def __init__(self, app: ASGIApp, unlimited: Callable[[Request], bool]) -> None:
        self.app = app
        self.unlimited = unlimited
        self.memory = Memory()
        self.open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; where its body exceeds a limit it breaks off for the app."""
        if scope["type"] != "http" or self.unlimited(Request(scope)):
            return await self.app(scope, receive, send)
        visitor = visitor_of(scope)
        if self.open[visitor] >= MAX_REQUESTS:
            return await PlainTextResponse(TOO_MANY, 503)(scope, receive, send)
        self.open[visitor] += 1
        try:
            if scope["method"] == "POST":
                await self._limited(scope, receive, send, visitor)
            else:
                await self.app(scope, receive, send)
        finally:
            self.open[visitor] -= 1
            if not self.open[visitor]:
                del self.open[visitor]

    async def _limited(self, scope: Scope, receive: Receive, send: Send, visitor: str) -> None:
        headers, path = Request(scope).headers, route_path(scope)
        is_upload = path.rstrip("/") == UPLOAD
        max_mb = MAX_UPLOAD_MB if is_upload else MAX_CALL_MB
        if path.startswith(PAGE_CALLS):
            max_mb = MAX_PAGE_CALL_MB
        declared = headers.get("content-length", "")
        refusal: PlainTextResponse | None = None
        if declared.isdecimal() and int(declared) > max_mb * MIB:
            refusal = PlainTextResponse(TOO_LARGE.format(max_mb), 413)
        elif not is_upload and headers.get("content-type", "").startswith("multipart/"):
            refusal = PlainTextResponse(NO_FILES, 415)
        if refusal:
            return await refusal(scope, receive, send)

        call = scope["serdemo.call"] = Call(self.memory, visitor)
        began, received, ended, status = time.monotonic(), 0, False, 0

        async def limited() -> Message:
            nonlocal refusal, received, ended
            if ended:
                return await receive()
            slow_s = began + received / MIN_BYTES_S - time.monotonic()
            try:
                async with asyncio.timeout(IDLE_S + min(slow_s, 0.0)):
                    message = await receive()
            except TimeoutError:
                refusal = PlainTextResponse(TOO_SLOW, 408)
                return {"type": "http.disconnect"}
            piece = message.get("body", b"")
            received += len(piece)
            ended = not message.get("more_body", False)
            if received > max_mb * MIB:
                refusal = PlainTextResponse(TOO_LARGE.format(max_mb), 413)
            elif not is_upload and not call.add(piece):
                refusal = PlainTextResponse(BUSY, 503)
            return {"type": "http.disconnect"} if refusal else message

        async def answered(message: Message) -> None:
            nonlocal status
            if refusal is None or status:
                status = message.get("status", status)
                await send(message)

        try:
            await self.app(scope, limited, answered)
        except Exception:
            if refusal is None or status:
                raise
        finally:
            if status != 200 or not path.startswith(QUEUED):
                call.end()
        if refusal and not status:
            await refusal(scope, receive, send)
