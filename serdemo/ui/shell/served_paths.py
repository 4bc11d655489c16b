"""The paths that the page serves: of gradio's own routes those alone that the page and programs use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

from gradio.utils import get_upload_folder
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

NOT_SERVED = "This page serves nothing at that path."
NO_FILE = (
    "There is no such file on this page: its uploads and downloads are deleted after some minutes."
)
BAD_HOST = "The request names no host: send the header Host as a browser does."
OTHER_SITE = "Another site may not call a page of this machine: open the page itself."
HOST = re.compile(r"([\w.-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?")
LOOPBACK = re.compile(r"(localhost|127(\.\d+){3}|\[::1\])(:\d+)?")
FILE = "/gradio_api/file="
INFO = "/gradio_api/info"
GRADIO = re.compile(
    r"/|/config/?|/theme\.css|/robots\.txt|/manifest\.json|/favicon\.ico"
    r"|/(static|assets|svelte)/.+"
    r"|/gradio_api/("
    r"file=.+|upload|upload_progress|info/?|startup-events|app_id/?|theme\.css|login_check/?"
    r"|queue/(join|data|status)|cancel|reset/?|heartbeat/[\w-]+|component_server/?"
    r"|run/\w+/?|call/\w+/?|call/\w+/\w+/?|call/v2/\w+/\w+/?"
    r"|mcp(/.*)?)"
)


class ServedPaths:
    """ASGI middleware that answers 404 for every path but those of `own` routes and of gradio's that are in
    use, so that no proxy, no editor and no link of gradio's is open to visitors; a file is served from
    the folder of uploads alone, and no address is fetched."""

    def __init__(self, app: ASGIApp, own: Sequence[Route]) -> None:
        self.app = app
        self.own = own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it with one sentence."""
        if scope["type"] == "websocket":
            return  # nothing of the page uses one
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if (refusal := self._refusal(scope)) is not None:
            status, sentence = refusal
            return await JSONResponse({"detail": sentence}, status)(scope, receive, send)
        if route_path(scope).rstrip("/") == INFO and b"page=" not in scope["query_string"]:
            # Without a page gradio would show every visitor the host that the first one has named.
            query = scope["query_string"] + b"&" + urlencode({"page": ""}).encode()
            scope = {**scope, "query_string": query.lstrip(b"&")}
        await self.app(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        if not HOST.fullmatch(headers.get("host", "")):
            return 400, BAD_HOST
        if _of_other_site(scope["method"], headers):
            return 403, OTHER_SITE
        path = route_path(scope)
        if path.startswith(FILE):
            return None if _is_served(path[len(FILE) :]) else (404, NO_FILE)
        own = any(route.matches(scope)[0] is not Match.NONE for route in self.own)
        return None if own or GRADIO.fullmatch(path) else (404, NOT_SERVED)


def route_path(scope: Scope) -> str:
    """The path of a request below that of a proxy."""
    path: str = scope["path"]
    root = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def _of_other_site(method: str, headers: Headers) -> bool:
    """Whether another site calls a page that is open in the same browser, on this machine.

    A proxy may give its own name for the host; one that announces itself is no such site, since a browser
    sends none of its headers for another site.
    """
    origin, host = headers.get("origin"), headers.get("host", "")
    if method in ("GET", "HEAD") or origin is None or not LOOPBACK.fullmatch(host):
        return False
    proxied = any(name.startswith(("x-forwarded", "forwarded", "via")) for name in headers)
    return not proxied and not LOOPBACK.fullmatch(origin.partition("://")[2])


def _is_served(path: str) -> bool:
    """Whether a file lies in the folder of uploads."""
    try:
        file = Path(path).resolve()
        return file.is_relative_to(Path(get_upload_folder()).resolve()) and file.is_file()
    except (OSError, ValueError):
        return False
