"""Uploaded recordings, and the refusals of those that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serdemo.schema.errors import UsageError

MAX_FILES = 50
MAX_MB = 20
MAX_REQUEST_MB = 300  # of whatever a visitor sends at once
TOO_LARGE = f"{{}} is larger than {MAX_MB} MB: cut it, or save it as MP3 or OGG."
# gradio answers 413 for a message with the words "maximum allowed size".
REQUEST_TOO_LARGE = f"The file is above the maximum allowed size of {MAX_REQUEST_MB} MB."
FAULT = "Something went wrong inside serdemo, and its log says what: try another recording."


@dataclass(frozen=True, slots=True)
class Recording:
    """A file to answer, or the sentence why it never arrived.

    `path` is deleted once it is decoded, unless `keep`. `unlimited` recordings may have any size.
    `subtitles` is the file with those of the recording.
    """

    path: Path | None
    name: str
    keep: bool = False
    origin: str = ""
    refusal: str = ""
    unlimited: bool = False
    subtitles: Recording | None = None

    def forget(self) -> None:
        """Delete the file, and that of the subtitles."""
        if self.subtitles:
            self.subtitles.forget()
        if self.keep or self.path is None:
            return
        self.path.unlink(missing_ok=True)
        with suppress(OSError):  # each upload has a folder of its own; leave none behind
            self.path.parent.rmdir()


def uploaded(file: dict[str, Any], unlimited: bool = False) -> Recording:
    """A file as the drop zone names it: its `name`, and its `path` if it was sent.

    The browser is not trusted: a path outside the upload folder counts as not sent.
    """
    name = str(file["name"])
    if file.get("too_large"):
        return Recording(None, name, refusal=TOO_LARGE.format(name))
    path = Path(str(file.get("path", ""))).resolve()
    if Path(get_upload_folder()).resolve() not in path.parents or not path.is_file():
        return Recording(None, name, refusal=f"{name} could not be sent: drop it once more.")
    return Recording(path, name, unlimited=unlimited)


def check_size(path: Path, name: str) -> None:
    """Raise UsageError for a recording that is larger than the page takes."""
    if path.exists() and path.stat().st_size > MAX_MB * 1024 * 1024:
        raise UsageError(TOO_LARGE.format(name))


class UploadLimit:
    """ASGI middleware that refuses to receive more than MAX_REQUEST_MB at once, except by requests for
    which `unlimited` is true. gradio's own limit is one for all."""

    def __init__(self, app: ASGIApp, unlimited: Callable[[Request], bool]) -> None:
        self.app = app
        self.unlimited = unlimited

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; its body breaks off with 413 where it becomes too large."""
        if scope.get("method") != "POST" or self.unlimited(request := Request(scope)):
            return await self.app(scope, receive, send)
        max_bytes = MAX_REQUEST_MB * 1024 * 1024
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > max_bytes:
            return await PlainTextResponse(REQUEST_TOO_LARGE, 413)(scope, receive, send)
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > max_bytes:
                raise MultiPartException(REQUEST_TOO_LARGE)
            return message

        return await self.app(scope, limited, send)
