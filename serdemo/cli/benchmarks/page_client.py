"""The page at an address, talked to as a browser talks to it, and one that is started for that."""

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

START_S = 120.0


class Page:
    """The page at an address, as a browser talks to it. Each thread needs its own."""

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
        config = self._ask("GET", "/config", None)
        self._config, self._prefix = config, config.get("api_prefix", "")
        self._session = uuid.uuid4().hex
        self._names = {c["props"].get("elem_id"): c["id"] for c in config.get("components", [])}
        if "live" not in self._names:
            raise SerdemoError(f"{url} is no page of serdemo: give the address of one.")

    def call(self, name: str, **asked: Any) -> dict[str, Any]:
        """One call of the Live tab; raises SerdemoError when it is refused."""
        body = {
            "data": {"call": name, **asked},
            "component_id": self._names["live"],
            "fn_name": "live",
            "session_hash": "",
        }
        told: dict[str, Any] = self._ask("POST", f"{self._prefix}/component_server/", body)
        if "refused" in told:
            raise SerdemoError(told["refused"])
        return told

    def happen(self, event: str, shown: str, at: str = "", **given: Any) -> str:
        """What the element `shown` says after an event of the element `at`, or of the page itself.

        Elements are as the page began, but for those `given`, with `_` for `-`. Each is told by its
        id. Raises SerdemoError when the page answers with an error.
        """
        target, wanted = self._names.get(at), self._names[shown]
        (found,) = (
            one
            for one in self._config["dependencies"]
            if wanted in one["outputs"]
            and any(kind == event and (not at or where == target) for where, kind in one["targets"])
        )
        values = {self._names[name.replace("_", "-")]: value for name, value in given.items()}
        parts = {part["id"]: part["props"].get("value") for part in self._config["components"]}
        body = {
            "data": [values.get(number, parts[number]) for number in found["inputs"]],
            "fn_index": found["id"],
            "session_hash": self._session,
        }
        self._ask("POST", f"{self._prefix}/queue/join", body)
        told = self._awaited(f"{self._prefix}/queue/data?session_hash={self._session}")
        return str(told[found["outputs"].index(wanted)])

    def _awaited(self, path: str) -> list[Any]:
        """The outputs of the event that the page has been told of, once it is through."""
        try:
            self._connection.request("GET", self._path + path)
            reply = self._connection.getresponse()
            outputs: list[Any] | None = None
            while line := reply.readline():
                told = json.loads(line[5:]) if line.startswith(b"data:") else {}
                if not told.get("success", True):
                    raise SerdemoError(f"{self._url} answers with an error.")
                outputs = told.get("output", {}).get("data") or outputs
                if told.get("msg") == "close_stream":
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

    def _ask(self, method: str, path: str, body: Any) -> Any:
        text = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json", "Origin": self._origin}
        try:
            self._connection.request(method, self._path + path, text, headers)
            reply = self._connection.getresponse()
            told = reply.read()
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
            return json.loads(told)
        except ValueError as problem:
            raise SerdemoError(
                f"{self._url} is no page of serdemo: give the address of one."
            ) from problem


@contextmanager
def served(
    url: str | None = None, checkpoint: Path | None = None, **environment: str
) -> Iterator[tuple[str, int | None]]:
    """The address of the page, and the number of its process if it was started here.

    `environment` adds to that of the process. Raises SerdemoError when it does not start.
    """
    if url is not None:
        yield url, None
        return
    port = free_port()
    command = [sys.executable, "-m", "serdemo", "app", "--port", str(port)]
    command += ["--checkpoint", str(checkpoint)] if checkpoint else []
    environment = {**os.environ, "GRADIO_SERVER_NAME": "127.0.0.1", **environment}
    with tempfile.TemporaryFile() as told:
        app = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=told)
        try:
            address = f"http://127.0.0.1:{port}"
            if not _is_served(address, app):
                told.seek(0)
                reason = told.read().decode(errors="replace").strip().splitlines()[-1:]
                raise SerdemoError(
                    f"The page did not start: {''.join(reason) or 'it is too slow.'}"
                )
            yield address, app.pid
        finally:
            app.terminate()
            app.wait(timeout=30)


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_served(address: str, app: subprocess.Popen[bytes]) -> bool:
    until = time.monotonic() + START_S
    while time.monotonic() < until and app.poll() is None:
        with suppress(SerdemoError):
            Page(address).close()
            return True
        time.sleep(0.2)
    return False
