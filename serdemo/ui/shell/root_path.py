"""The path below which a proxy offers the page, so that a browser asks for nothing outside of it."""

from __future__ import annotations

import re
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serdemo.ui.shell import scripts
from serdemo.ui.shell.theme import asset

PREFIX = re.compile(r"(/[\w.~-]+)+/?")
# The one path from the root in gradio's page; for want of an icon a browser asks for another, /favicon.ico.
MANIFEST = '<link rel="manifest" href="/manifest.json" />'
RELATIVE = f"""<link rel="manifest" href="manifest.json" />
<link rel="icon" href="data:image/svg+xml,{quote(asset("shell/icon.svg"))}" />"""


def normalise(path: str) -> str:
    """A root path as gradio takes it: "/some/path", "" for none; a whole URL stays as it is."""
    if path.startswith(("http://", "https://")):
        return path.rstrip("/")
    return f"/{path.strip('/')}" if path.strip("/") else ""


class RootPath:
    """ASGI middleware that makes gradio's page relative to where it is, has it translated, and tells gradio of a proxy's header
    `X-Forwarded-Prefix`, which it does not know."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = MutableHeaders(scope=scope)
        prefix = headers.get("x-forwarded-prefix", "").partition(",")[0].strip()
        if PREFIX.fullmatch(prefix) and not scope.get("root_path"):
            # gradio puts this before all that the browser is to ask for.
            host = (
                headers.get("x-forwarded-host", headers.get("host", "")).partition(",")[0].strip()
            )
            headers["x-forwarded-host"] = host + prefix.rstrip("/")
        if scope["path"].rstrip("/") not in ("", scope.get("root_path", "")):
            return await self.app(scope, receive, send)

        start: Message = {}

        async def relative(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            if start:
                links = RELATIVE + scripts.early()
                body = message["body"].replace(MANIFEST.encode(), links.encode())
                message = {**message, "body": body}
                MutableHeaders(scope=start)["content-length"] = str(len(body))
                await send(start)
                start = {}
            await send(message)

        return await self.app(scope, receive, relative)
