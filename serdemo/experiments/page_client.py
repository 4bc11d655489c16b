"""Client of the page that calls it as a browser does, and a page started for it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from serdemo.schema.errors import SerdemoError

TIMEOUT_S = 120.0


class Page:
    """Client of the page at an address, for one thread."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        if not parts.hostname:
            raise SerdemoError(f"{url} is no address: give one such as http://127.0.0.1:7860.")
        self._url, self._path = url, parts.path.rstrip("/")
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._connection = kind(parts.hostname, parts.port, timeout=30)
        config = self._request("GET", "/config", None)
        self._config, self._prefix = config, config.get("api_prefix", "")
        self._session = uuid.uuid4().hex
        self._ids = {c["props"].get("elem_id"): c["id"] for c in config.get("components", [])}
        if "live" not in self._ids:
            raise SerdemoError(f"{url} is no page of serdemo: give the address of one.")

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Call the server of the Live tab; raises SerdemoError when it refuses."""
        body = {
            "data": {"call": name, **arguments},
            "component_id": self._ids["live"],
            "fn_name": "live",
            "session_hash": "",
        }
        reply: dict[str, Any] = self._request("POST", f"{self._prefix}/component_server/", body)
        if "refused" in reply:
            raise SerdemoError(reply["refused"])
        return reply

    def happen(self, event: str, output: str, at: str = "", **values_by_id: Any) -> str:
        """Value of the element `output` after an event of the element `at`, or of the page.

        Elements are named by id; they have the page's first values, but for `values_by_id` (with `_`
        for `-`). Raises SerdemoError when the page responds with an error.
        """
        target, output_id = self._ids.get(at), self._ids[output]
        (dependency,) = (
            dependency
            for dependency in self._config["dependencies"]
            if output_id in dependency["outputs"]
            and any(
                kind == event and (not at or where == target)
                for where, kind in dependency["targets"]
            )
        )
        values = {self._ids[name.replace("_", "-")]: value for name, value in values_by_id.items()}
        parts = {part["id"]: part["props"].get("value") for part in self._config["components"]}
        body = {
            "data": [values.get(number, parts[number]) for number in dependency["inputs"]],
            "fn_index": dependency["id"],
            "session_hash": self._session,
        }
        self._request("POST", f"{self._prefix}/queue/join", body)
        outputs = self._queue_outputs(f"{self._prefix}/queue/data?session_hash={self._session}")
        return str(outputs[dependency["outputs"].index(output_id)])

    def _queue_outputs(self, path: str) -> list[Any]:
        """Outputs of the queued event, once it has been processed."""
        try:
            self._connection.request("GET", self._path + path)
            reply = self._connection.getresponse()
            outputs: list[Any] | None = None
            while line := reply.readline():
                message = json.loads(line[5:]) if line.startswith(b"data:") else {}
                if not message.get("success", True):
                    raise SerdemoError(f"{self._url} answers with an error.")
                outputs = message.get("output", {}).get("data") or outputs
                if message.get("msg") == "close_stream":
                    break
            self._connection.close()
        except (OSError, http.client.HTTPException, ValueError) as problem:
            self._connection.close()
            raise SerdemoError(f"{self._url} broke off ({problem}).") from problem
        if outputs is None:
            raise SerdemoError(f"{self._url} gave no answer.")
        return outputs

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _request(self, method: str, path: str, body: Any) -> Any:
        text = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json", "Origin": self._origin}
        try:
            self._connection.request(method, self._path + path, text, headers)
            reply = self._connection.getresponse()
            content = reply.read()
        except (OSError, http.client.HTTPException) as problem:
            self._connection.close()
            raise SerdemoError(
                f"{self._url} cannot be reached ({problem}): check that it runs."
            ) from problem
        if reply.status != 200:
            raise SerdemoError(
                f"{self._url} answers with the error {reply.status}: is it serdemo's page?"
            )
        try:
            return json.loads(content)
        except ValueError as problem:
            raise SerdemoError(
                f"{self._url} is no page of serdemo: give the address of one."
            ) from problem


@contextmanager
def served(
    url: str | None = None, checkpoint: Path | None = None, **environment: str
) -> Iterator[tuple[str, int | None]]:
    """Address of the page, and its process id if it is started here.

    `environment` adds to that of the process. Raises SerdemoError when the page does not start.
    """
    if url is not None:
        yield url, None
        return
    port = free_port()
    command = [sys.executable, "-m", "serdemo", "app", "--port", str(port)]
    command += ["--checkpoint", str(checkpoint)] if checkpoint else []
    environment = {**os.environ, "GRADIO_SERVER_NAME": "127.0.0.1", **environment}
    with tempfile.TemporaryFile() as stderr:
        app = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=stderr)
        try:
            address = f"http://127.0.0.1:{port}"
            if not _is_served(address, app):
                stderr.seek(0)
                reason = stderr.read().decode(errors="replace").strip().splitlines()[-1:]
                raise SerdemoError(
                    f"The page did not start: {''.join(reason) or 'it is too slow.'}"
                )
            yield address, app.pid
        finally:
            app.terminate()
            app.wait(timeout=30)


def free_port() -> int:
    """A free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_served(address: str, app: subprocess.Popen[bytes]) -> bool:
    until = time.monotonic() + TIMEOUT_S
    while time.monotonic() < until and app.poll() is None:
        with suppress(SerdemoError):
            Page(address).close()
            return True
        time.sleep(0.2)
    return False
