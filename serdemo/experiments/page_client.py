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
TOKEN_KEY = "serdemo-owner"  # under which a browser stores who it is
ELSEWHERE = "192.0.2.1"  # an address for documentation


class Page:
    """Client of the page at an address, for one thread; as a `visitor` from elsewhere, or else a local user."""

    def __init__(self, url: str, *, visitor: bool = False) -> None:
        parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        if not parts.hostname:
            raise SerdemoError(f"{url} is no address: give one such as http://127.0.0.1:7860.")
        self._url, self._path = url, parts.path.rstrip("/")
        self._headers = {"Origin": f"{parts.scheme}://{parts.netloc}"}
        self._headers |= {"X-Forwarded-For": ELSEWHERE} if visitor else {}
        self._connection = kind(parts.hostname, parts.port, timeout=30)
        config = self._request("GET", "/config", None)
        self._config, self._prefix = config, config.get("api_prefix", "")
        self._session = uuid.uuid4().hex
        components = config.get("components", [])
        self._ids = {part["props"].get("elem_id"): part["id"] for part in components}
        # What the browser would store, by component: the token that it makes, and what comes.
        self._stored: dict[int, Any] = {
            part["id"]: self._session
            for part in components
            if part["props"].get("storage_key") == TOKEN_KEY
        }
        if "live" not in self._ids:
            raise SerdemoError(f"{url} is no page of serdemo: give the address of one.")

    def call(self, name: str, part: str = "live", **arguments: Any) -> dict[str, Any]:
        """Call the server of the Live tab, or of another `part`; raises SerdemoError when it refuses."""
        body = {
            "data": {"call": name, "visitor": self._session, **arguments},
            "component_id": self._ids[part],
            "fn_name": part,
            "session_hash": "",
        }
        reply: dict[str, Any] = self._request("POST", f"{self._prefix}/component_server/", body)
        if "refused" in reply:
            raise SerdemoError(reply["refused"])
        return reply

    def push(self, stream: str, samples: bytes, sequence: int, since: float) -> dict[str, Any]:
        """Send a piece of live sound, 16-bit mono samples; raises SerdemoError when it is refused."""
        path = f"/serdemo-live/{stream}?sequence={sequence}&since={since}"
        reply: dict[str, Any] = self._send("POST", path, samples, "application/octet-stream")
        if "refused" in reply:
            raise SerdemoError(reply["refused"])
        return reply

    def upload(self, name: str, content: bytes) -> dict[str, Any]:
        """Send a file; returns it as the value of an element. Raises SerdemoError where it is refused."""
        boundary = uuid.uuid4().hex
        head = f'Content-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body = f"--{boundary}\r\n{head}".encode() + content + f"\r\n--{boundary}--\r\n".encode()
        kind = f"multipart/form-data; boundary={boundary}"
        (path,) = self._send("POST", f"{self._prefix}/upload", body, kind)
        return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def happen(
        self, event: str, output: str, at: str = "", data: Any = None, **values_by_id: Any
    ) -> str:
        """Value of the element `output` after an event of the element `at`, or of the page, with its `data`.

        Elements are named by id; they have the page's first values, but for `values_by_id` (with `_`
        for `-`) and what a browser stores. Raises SerdemoError when the page responds with an error.
        """
        target, output_id = self._ids[at] if at else None, self._ids[output]
        (dependency,) = (
            dependency
            for dependency in self._config["dependencies"]
            if output_id in dependency["outputs"] and self._is_due(dependency, event, target)
        )
        values = {self._ids[name.replace("_", "-")]: value for name, value in values_by_id.items()}
        parts = {part["id"]: part["props"].get("value") for part in self._config["components"]}
        kinds = {part["id"]: part["type"] for part in self._config["components"]}
        parts |= {number: "" for number, kind in kinds.items() if kind == "browserstate"}
        parts |= self._stored
        body = {
            "data": [values.get(number, parts[number]) for number in dependency["inputs"]],
            "fn_index": dependency["id"],
            "session_hash": self._session,
            "event_data": data,
        }
        self._request("POST", f"{self._prefix}/queue/join", body)
        outputs = self._queue_outputs(f"{self._prefix}/queue/data?session_hash={self._session}")
        for number, value in zip(dependency["outputs"], outputs, strict=False):
            if kinds.get(number) == "browserstate" and isinstance(value, str):
                self._stored[number] = value
        return str(outputs[dependency["outputs"].index(output_id)])

    def _is_due(self, dependency: dict[str, Any], event: str, target: int | None) -> bool:
        """Whether the event of an element, or of the page, runs a function, itself or after another."""
        if (before := dependency.get("trigger_after")) is not None:
            dependencies = self._config["dependencies"]
            first = next(one for one in dependencies if one["id"] == before)
            return self._is_due(first, event, target)
        return any(
            kind == event and target in (None, where) for where, kind in dependency["targets"]
        )

    def _queue_outputs(self, path: str) -> list[Any]:
        """Outputs of the queued event, once it has been processed."""
        try:
            self._connection.request("GET", self._path + path, headers=self._headers)
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
        content = None if body is None else json.dumps(body).encode()
        return self._send(method, path, content, "application/json")

    def _send(self, method: str, path: str, body: bytes | None, kind: str) -> Any:
        headers = {**self._headers, "Content-Type": kind}
        try:
            self._connection.request(method, self._path + path, body, headers)
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
