"""The app as a hostile visitor of a public page meets it, over HTTP."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.app_server import App

pytestmark = pytest.mark.slow

VISITOR = {"x-forwarded-for": "203.0.113.9"}  # as a proxy in front of the page tells
ELSEWHERE = "X-Forwarded-For: 203.0.113.9\r\n"
MAX_MEMORY = 1_500_000_000
CALLS = ("predict", "embed", "compare", "models", "live_open", "live_push", "live_close", "nothing")
PRIVATE = (
    "on_load",
    "on_upload",
    "on_record",
    "on_stop",
    "on_check",
    "on_submit",
    "export",
    "unnamed",
)
FILE = {"meta": {"_type": "gradio.FileData"}}

text = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "\0",
            "\ud800",
            "/etc/passwd",
            "http://127.0.0.1:1/",
            "../" * 20,
            "' OR 1",
            "<script>",
            "x" * 9000,
        ]
    ),
)
numbers = st.one_of(
    st.integers(), st.floats(), st.sampled_from([10**400, -1, 2**63, float("nan"), float("inf")])
)
leaves = st.one_of(st.none(), st.booleans(), numbers, text)
files = st.builds(lambda path, extra: {"path": path, **extra}, text, st.sampled_from([FILE, {}]))
values = st.recursive(
    st.one_of(leaves, files),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(text, inner, max_size=4)),
    max_leaves=12,
)
paths = st.one_of(
    st.sampled_from(CALLS).map("call/{}".format),
    st.sampled_from(CALLS).map("call/v2/{}".format),
    st.sampled_from(CALLS + PRIVATE).map("run/{}".format),
    st.sampled_from(["queue/join", "component_server", "cancel", "reset", "upload", "stream/x"]),
)
fields = st.fixed_dictionaries(
    {},
    optional={
        "data": values,
        "fn_index": st.one_of(st.integers(-2, 80), leaves),
        "session_hash": st.one_of(st.just("s"), values),
        "trigger_id": st.one_of(st.integers(-2, 120), leaves),
        "event_data": values,
        "event_id": values,
        "component_id": st.one_of(st.integers(-2, 120), values),
        "fn_name": st.one_of(
            st.sampled_from(["live", "explore", "__class__", "postprocess"]), values
        ),
        "files": values,
        "rate": values,
        "stream": values,
    },
)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "uploads").mkdir()
    app = App(folder, {"GRADIO_TEMP_DIR": str(folder / "uploads")})
    app.wait()
    yield app
    app.end()


@pytest.fixture(scope="module")
def trickle(app: App) -> Iterator[socket.socket]:
    """A connection that never ends its headers, opened before all that follows."""
    with connected(app) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        yield connection


@pytest.fixture(scope="module")
def visitor(app: App) -> Iterator[httpx.Client]:
    anew = httpx.Limits(max_keepalive_connections=0)  # none that the server is about to close
    with httpx.Client(base_url=app.address, headers=VISITOR, timeout=60, limits=anew) as visitor:
        yield visitor


def connected(app: App) -> socket.socket:
    """A connection to the app."""
    host, port = app.address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def written(app: App) -> list[Path]:
    """What lies in the app's folder of uploads, beside the lock that keeps it the app's."""
    folder = app.log.parent / "uploads"
    return sorted(path for path in folder.rglob("[!.]*") if path.is_file())


def test_a_call_of_anything_is_a_sentence(
    app: App, visitor: httpx.Client, trickle: socket.socket
) -> None:
    secrets = (str(app.log.parent), "site-packages", "Traceback", "root:x:0")

    @settings(
        max_examples=300,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(path=paths, body=st.one_of(fields, values))
    def send(path: str, body: Any) -> None:
        sent = json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        response = visitor.post(f"/gradio_api/{path}", content=sent, headers=headers)
        assert response.status_code < 500, (path, body, response.text)
        assert not any(secret in response.text for secret in secrets), (path, body, response.text)

    send()
    assert visitor.get("/config").status_code == 200
    assert written(app) == []
    log = app.log.read_text()
    assert "Traceback" not in log, log


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b'{"data":[' + b"9" * 5000 + b"]}",
        b'\xff\xfe{"data":[]}',
        b"",
        b"null",
        b'{"data":["\\ud800"],"session_hash":"\\ud800","fn_index":1}',
    ],
)
def test_text_that_is_no_json_is_a_sentence(app: App, visitor: httpx.Client, body: bytes) -> None:
    for path in ("call/predict", "run/live_open", "queue/join", "component_server", "cancel"):
        headers = {"content-type": "application/json"}
        response = visitor.post(f"/gradio_api/{path}", content=body, headers=headers)
        assert 400 <= response.status_code < 500, (path, response.text)
        assert "Traceback" not in response.text


def test_large_calls_take_no_more_memory_than_is_there(app: App, visitor: httpx.Client) -> None:
    """300 MB for the page's own calls, values without number, and more base64 than waits for its turn."""
    with connected(app) as connection:
        head = f"POST /gradio_api/component_server HTTP/1.1\r\nHost: localhost\r\n{ELSEWHERE}"
        connection.sendall(f"{head}Content-Length: {300 * 2**20}\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
    kind = {"content-type": "application/json"}
    dense = b'{"data":[' + b"{}," * 3_000_000 + b"1]}"
    assert visitor.post("/gradio_api/call/predict", content=dense, headers=kind).status_code == 503
    sound = base64.b64encode(bytes(15_000_000)).decode()
    call = json.dumps({"data": [[f"data:audio/wav;base64,{sound}"] * 1]}).encode()
    statuses = [
        visitor.post("/gradio_api/call/predict", content=call, headers=kind).status_code
        for _ in range(8)
    ]
    assert set(statuses) <= {200, 503} and statuses[0] == 200
    assert psutil.Process(app.process.pid).memory_info().rss < MAX_MEMORY
    assert visitor.get("/config").status_code == 200


def test_files_of_the_server_stay_there(app: App, visitor: httpx.Client) -> None:
    for path in (__file__, str(app.log), "/proc/self/environ", "/dev/zero", "checkpoints"):
        served = visitor.get(f"/gradio_api/file={quote(path)}")
        assert served.status_code == 404
        sent = {"data": [[{"path": path, **FILE}]]}
        event = visitor.post("/gradio_api/call/predict", json=sent).json()["event_id"]
        answer = visitor.get(f"/gradio_api/call/predict/{event}").text
        assert "is no file that was uploaded here" in answer
    for path in ("..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "....//etc/passwd"):
        for folder in ("static", "assets", "svelte", "serdemo-js/x", "serdemo-models"):
            assert visitor.get(f"/{folder}/{path}").status_code in (400, 403, 404), (folder, path)


def test_an_upload_that_breaks_off_leaves_nothing(app: App, visitor: httpx.Client) -> None:
    before = written(app)
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
    request = (
        b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\n\r\n" + head + b"x" * 100_000
    )
    with connected(app) as connection:
        connection.sendall(request)
        deadline = time.monotonic() + 10
        while written(app) == before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert written(app) != before
    deadline = time.monotonic() + 10
    while written(app) != before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert written(app) == before


def test_a_connection_without_a_request_is_closed(trickle: socket.socket) -> None:
    with suppress(ConnectionResetError):
        assert trickle.recv(100) == b""
