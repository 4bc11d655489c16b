"""Where uploads arrive: each in a folder of its own, within quotas.

gradio's own route names a folder by the content, so that two visitors who send the same file share it:
whoever's is read first would delete the other's, and who knows a recording could look whether it is there.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi.exceptions import HTTPException
from gradio.route_utils import upload_fn
from gradio.routes import file_upload_statuses
from gradio.utils import get_upload_folder
from starlette.background import BackgroundTask
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from serdemo.schema.errors import SerdemoError
from serdemo.ui.shell.request_limits import MAX_UPLOAD_MB, MIB, UPLOAD
from serdemo.ui.shell.uploads import MAX_FILES, MAX_MB
from serdemo.ui.shell.visitor_address import visitor_of

MAX_TOTAL_BYTES = 2_000_000_000  # of all visitors' uploads that are not read yet
MAX_VISITOR_BYTES = MAX_FILES * MAX_MB * MIB  # of one visitor's
MIN_FILE_BYTES = 100_000  # what the smallest file counts, so that their number is limited too
PROGRESS_S = 15.0  # until nobody asks any more how far an upload has come
NO_ROOM = "There is no room for more uploads here: try again in some minutes."
NO_MORE = "Your uploads take all the room that a visitor has: wait until they are answered, then try again."
NO_UPLOAD = "This is no upload: send files as multipart/form-data, in the field `files`."

log = logging.getLogger(__name__)


class UploadQuota:
    """Sizes of the uploads of visitors that are arriving, or still stored."""

    def __init__(self) -> None:
        self._arriving: dict[Path, tuple[str, int]] = {}
        self._stored: dict[Path, tuple[str, int]] = {}

    def begin(self, folder: Path, visitor: str, n_bytes: int) -> None:
        """Reserve room for an upload into a folder. Raises SerdemoError where there is none."""
        self._stored = {path: entry for path, entry in self._stored.items() if path.exists()}
        entries = [*self._arriving.values(), *self._stored.values()]
        if n_bytes + sum(size for _, size in entries) > MAX_TOTAL_BYTES:
            raise SerdemoError(NO_ROOM)
        if n_bytes + sum(size for owner, size in entries if owner == visitor) > MAX_VISITOR_BYTES:
            raise SerdemoError(NO_MORE)
        self._arriving[folder] = visitor, n_bytes

    def end(self, folder: Path, files: list[Path]) -> None:
        """Count the files that have arrived in place of what was reserved."""
        visitor, _ = self._arriving.pop(folder)
        for path in files:
            self._stored[path] = visitor, max(path.stat().st_size, MIN_FILE_BYTES)


def route(unlimited: Callable[[Request], bool]) -> Route:
    """The route that takes gradio's place; `unlimited` requests have no quota."""
    quota = UploadQuota()

    async def receive(request: Request) -> Response:
        folder = Path(get_upload_folder()) / uuid.uuid4().hex
        declared = request.headers.get("content-length", "")
        size = int(declared) if declared.isdecimal() else MAX_UPLOAD_MB * MIB
        limited = not unlimited(request)
        if limited:
            try:
                quota.begin(folder, visitor_of(request.scope), max(size, MIN_FILE_BYTES))
            except SerdemoError as problem:
                return PlainTextResponse(str(problem), 503)
        files: list[Path] = []
        try:
            files = await _received(request, folder)
        except MultiPartException as problem:
            return PlainTextResponse(problem.message, 400)
        except HTTPException as problem:
            return PlainTextResponse(str(problem.detail), problem.status_code)
        except OSError as problem:
            log.error("an upload could not be stored: %s", problem.strerror)
            return PlainTextResponse(NO_ROOM, 503)
        except ClientDisconnect:
            raise
        except Exception:  # of gradio's parser, which expects a well-behaved client
            return PlainTextResponse(NO_UPLOAD, 400)
        finally:
            if limited:
                quota.end(folder, files)
            if not files:
                shutil.rmtree(folder, ignore_errors=True)
        request.app.get_blocks().upload_file_set.update(map(str, files))
        forget = BackgroundTask(_forget_progress, request.query_params.get("upload_id"))
        return JSONResponse([str(path) for path in files], background=forget)

    return Route(UPLOAD, receive, methods=["POST"])


async def _received(request: Request, folder: Path) -> list[Path]:
    """Store the files of a request below a folder."""
    upload_id = request.query_params.get("upload_id")
    progress: Any = file_upload_statuses if upload_id else None
    paths, *_ = await upload_fn(
        request, folder, float("inf"), upload_id, force_move=True, upload_progress=progress
    )
    return [Path(path) for path in paths]


async def _forget_progress(upload_id: str | None) -> None:
    if upload_id:
        await asyncio.sleep(PROGRESS_S)
        file_upload_statuses.stop_tracking(upload_id)
