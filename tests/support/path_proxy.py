"""A reverse proxy that offers an app below a path, as companies' do, and records what is asked elsewhere."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

HOP_BY_HOP = ("host", "connection", "transfer-encoding", "content-length", "keep-alive")


@dataclass
class PathProxy:
    """The proxy: whatever lies below `path` is that of `app`, and of the `others` in turn; `outside` are the
    other paths asked for."""

    app: str
    path: str
    announced: bool  # in X-Forwarded-Prefix
    port: int = 0
    others: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    inside: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}/"

    async def answer(self, request: Request) -> Response:
        path = request.url.path
        if not path.startswith(f"{self.path}/"):
            self.outside.append(path)
            return Response("nothing here", 404)
        path = path.removeprefix(self.path)
        self.inside.append(path)
        client: httpx.AsyncClient = request.app.state.client
        headers = {k: v for k, v in request.headers.items() if k not in HOP_BY_HOP}
        headers |= {"x-forwarded-for": "203.0.113.9", "x-forwarded-host": request.headers["host"]}
        if self.announced:
            headers["x-forwarded-prefix"] = self.path
        apps = [self.app, *self.others]
        sent = client.build_request(
            request.method,
            httpx.URL(apps[len(self.inside) % len(apps)]).copy_with(
                path=path, query=request.url.query.encode()
            ),
            headers=headers,
            content=request.stream() if request.method == "POST" else None,
        )
        try:
            got = await client.send(sent, stream=True)
        except httpx.ConnectError:
            return Response("the app is not there", 502)
        passed = {k: v for k, v in got.headers.items() if k not in HOP_BY_HOP}
        return StreamingResponse(_body(got), got.status_code, passed)


async def _body(got: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in got.aiter_raw():
            yield piece
    finally:
        await got.aclose()


@contextmanager
def serving(app: str, path: str, *, announced: bool = False) -> Iterator[PathProxy]:
    """A proxy to the app at that address, until the block ends; it is `announced` in a header."""
    proxy = PathProxy(app, path, announced)

    @asynccontextmanager
    async def client(starlette: Starlette) -> AsyncIterator[None]:
        async with httpx.AsyncClient(timeout=None, trust_env=False) as starlette.state.client:
            yield

    methods = ["GET", "HEAD", "POST"]
    served = Starlette(
        routes=[Route("/{path:path}", proxy.answer, methods=methods)], lifespan=client
    )
    server = uvicorn.Server(uvicorn.Config(served, port=0, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    proxy.port = server.servers[0].sockets[0].getsockname()[1]
    yield proxy
    server.should_exit = server.force_exit = True
    thread.join(10)
