"""A web server for a folder, that is its browser's proxy as well: so it sees every request of the browser,
whatever of the page made it, and to whomever."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# Whom browsers ask for updates and accounts of their own, whatever the page.
OF_BROWSERS = {
    "accounts.google.com",
    "content-autofill.googleapis.com",
    "optimizationguide-pa.googleapis.com",
    "update.googleapis.com",
    "firefox.settings.services.mozilla.com",
}


@dataclass
class Request:
    """What a browser asked for, and how it was answered."""

    method: str
    url: str
    sent: int  # bytes of its body
    status: int = 0


class Handler(SimpleHTTPRequestHandler):
    """The one of `python -m http.server`, for whole addresses too. Nobody else is reached."""

    server: _Server

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        sent = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(sent)
        self.request_now = Request(self.command, self.path, sent)
        self.server.requests.append(self.request_now)
        address = urlsplit(self.path)
        if address.netloc and address.port != self.server.server_port:
            self.send_error(HTTPStatus.BAD_GATEWAY)
            return False
        self.path = address._replace(scheme="", netloc="").geturl()
        return True

    def log_request(self, code: Any = 0, *_given: Any) -> None:
        self.request_now.status = int(code)

    def log_error(self, *_given: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # a browser has many connections to a proxy

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.requests: list[Request] = []

    def handle_error(self, *_given: Any) -> None:
        """A browser that closes a connection while it is answered is nothing to report."""


class FolderServer(contextlib.AbstractContextManager["FolderServer"]):
    """Serves a folder at `url` of this machine, until it is stopped."""

    def __init__(self, folder: Path) -> None:
        self._handler = partial(Handler, directory=str(folder))
        self._begin(0)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def requests(self) -> list[Request]:
        """All that pages asked for, in the order in which it came."""
        return [
            request
            for request in list(self._server.requests)
            if request.url.removesuffix(":443").split("/")[-1] not in OF_BROWSERS
            and urlsplit(request.url).hostname not in OF_BROWSERS
        ]

    def _begin(self, port: int) -> None:
        self._server = _Server(("127.0.0.1", port), self._handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def _end(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """The time in which nobody answers at this address, nor passes anything on."""
        port, requests = self._server.server_port, self._server.requests
        self._end()
        try:
            yield
        finally:
            self._begin(port)
            self._server.requests[:0] = requests

    def __exit__(self, *_given: object) -> None:
        self._end()
