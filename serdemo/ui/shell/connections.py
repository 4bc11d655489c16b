"""Limits of the connections to the page's server: how many there are, and how long one may say nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from serdemo.ui.shell.visitor_address import is_private

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from uvicorn import Config

HEADERS_S = 20.0  # until a request's headers have arrived, and between two requests
MAX_OPEN_FILES = 8192
OTHER_FILES = 256  # beside connections: models, logs, recordings
MAX_CONNECTIONS = 4096
MAX_PER_ADDRESS = 300  # of one public address; behind a proxy there is one for all


def limit(config: Config) -> None:
    """Limit the connections of a server, from the next one on."""
    config.limit_concurrency = min(MAX_CONNECTIONS, _open_files() - OTHER_FILES)
    config.http_protocol_class = limited(config.http_protocol_class)


def limited(protocol: Any) -> Any:
    """uvicorn's protocol with a limit of time until a request has come, which uvicorn itself lacks."""

    class Limited(protocol):
        waiting: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            host = self.client[0] if self.client else ""
            if not is_private(host):
                own = sum(
                    bool(other.client) and other.client[0] == host for other in self.connections
                )
                if own > MAX_PER_ADDRESS:
                    return transport.abort()
            self.wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is None or self.cycle.response_complete:
                self.wait()
            else:
                self.stop_waiting()

        def connection_lost(self, exc: Exception | None) -> None:
            self.stop_waiting()
            super().connection_lost(exc)

        def wait(self) -> None:
            if self.waiting is None:
                self.waiting = asyncio.get_running_loop().call_later(
                    HEADERS_S, self.transport.abort
                )

        def stop_waiting(self) -> None:
            if self.waiting is not None:
                self.waiting.cancel()
                self.waiting = None

    return Limited


def _open_files() -> int:
    """How many files this process may open, after raising that as far as it may."""
    if resource is None:
        return MAX_OPEN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = MAX_OPEN_FILES if hard == unlimited else min(MAX_OPEN_FILES, hard)
    if soft != unlimited and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return MAX_OPEN_FILES if soft == unlimited else soft
