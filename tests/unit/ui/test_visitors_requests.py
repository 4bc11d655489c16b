"""What a visitor's requests reach: paths, files, sizes, time, headers."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from fastapi.testclient import TestClient
from starlette.types import Receive, Scope, Send
from support.asynchronous import run_async

from serdemo.schema.errors import SerdemoError
from serdemo.ui.shell import connections, request_limits, upload_route
from serdemo.ui.shell.page import Page
from serdemo.ui.shell.request_limits import MIB, Memory, RequestLimits
from serdemo.ui.shell.security_headers import security_headers
from serdemo.ui.shell.session import WarmPredictor
from serdemo.ui.shell.upload_route import UploadQuota
from serdemo.ui.shell.visitor_address import visitor_of

HERE = "http://localhost:7860"
VISITOR = {"x-forwarded-for": "203.0.113.9"}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads").resolve()))
        with Page(WarmPredictor(lambda: pytest.fail("no model is needed"))) as page:
            file, text = gr.File(), gr.Textbox()
            file.change(lambda path: path, file, text, api_visibility="private", queue=False)
            text.submit(lambda text: text, text, text, api_visibility="private")
            text.change(lambda text: 1 / 0, text, text, api_visibility="private", queue=False)
        page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", show_error=True)
        yield page
        page.close()


@pytest.fixture(scope="module")
def browser(page: Page) -> Iterator[TestClient]:
    with TestClient(
        page.app, base_url=HERE, headers=VISITOR, raise_server_exceptions=False
    ) as browser:
        yield browser


def upload(browser: TestClient, content: bytes = b"<script>", name: str = "a.html") -> Path:
    return Path(browser.post("/gradio_api/upload", files={"files": (name, content)}).json()[0])


# Paths


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/proxy=https://some.hf.space/",
        "/gradio_api/deep_link?session_hash=x",
        "/gradio_api/file/etc/passwd",
        "/gradio_api/token",
        "/gradio_api/dev/reload",
        "/gradio_api/vibe-code",
        "/gradio_api/runs",
        "/gradio_api/openapi.json",
        "/gradio_api/custom_component/x/client/component/index.js",
        "/gradio_api/stream/a/b/1/playlist.m3u8",
        "/openapi.json",
        "/monitoring",
        "/monitoring/summary",
        "/pwa_icon/99999",
        "/logout",
        "/docs",
    ],
)
def test_what_the_page_does_not_use_is_not_served(browser: TestClient, path: str) -> None:
    response = browser.get(path)
    assert response.status_code == 404
    assert response.json() == {"detail": "This page serves nothing at that path."}


@pytest.mark.parametrize("path", ["login", "gradio_api/process_recording", "gradio_api/vibe-edit"])
def test_nothing_is_sent_there_either(browser: TestClient, path: str) -> None:
    assert browser.post(f"/{path}", files={"video": b"x"}).status_code in (404, 415)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "https://example.org/a.png",
        "http://127.0.0.1:1/",
        "../../../etc/passwd",
        "%2e%2e/etc/passwd",
        "/proc/self/environ",
        "\0",
        "a" * 5000,
        "",
        ".",
    ],
)
def test_files_are_those_of_the_uploads_alone(browser: TestClient, path: str) -> None:
    response = browser.get(f"/gradio_api/file={path.replace(chr(0), '%00')}")
    assert response.status_code == 404
    assert "passwd" not in response.text


def test_a_link_out_of_the_uploads_leads_nowhere(browser: TestClient) -> None:
    path = upload(browser)
    link = path.with_name("link.txt")
    link.symlink_to("/etc/passwd")
    assert browser.get(f"/gradio_api/file={link}").status_code == 404
    assert browser.get(f"/gradio_api/file={path}").status_code == 200


def test_the_pages_own_paths_are_served(browser: TestClient) -> None:
    for path in ("/", "/config", "/theme.css", "/manifest.json", "/gradio_api/info"):
        assert browser.get(path).status_code == 200, path


def test_one_visitor_names_no_host_for_the_others(browser: TestClient) -> None:
    poisoned = browser.get("/gradio_api/info", headers={"x-forwarded-host": "evil.example"})
    assert poisoned.status_code == 200
    assert "evil.example" not in browser.get("/gradio_api/info").text


# Other sites, other hosts


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example"]
)
def test_another_site_calls_no_page_of_this_machine(page: Page, origin: str) -> None:
    with TestClient(page.app, base_url=HERE, client=("127.0.0.1", 1)) as browser:
        call = {"json": {"event_id": "x"}, "headers": {"origin": origin}}
        refused = browser.post("/gradio_api/reset", **call)
        assert refused.status_code == 403 and "Another site" in refused.text
        assert browser.post("/gradio_api/reset", json={"event_id": "x"}).status_code == 200
        call["headers"] = {"origin": HERE}
        assert browser.post("/gradio_api/reset", **call).status_code == 200


@pytest.mark.parametrize("host", ["evil.example/x", "a b", "", "[::1", "a:b", "a\x7f"])
def test_a_host_that_is_none_is_refused(browser: TestClient, host: str) -> None:
    assert browser.get("/", headers={"host": host}).status_code == 400


@pytest.mark.parametrize(
    ("peer", "forwarded", "visitor"),
    [
        ("203.0.113.1", "198.51.100.9", "203.0.113.1"),
        ("8.8.8.8", "1.1.1.1", "8.8.8.8"),
        ("10.0.0.1", "6.6.6.6, 1.1.1.1", "1.1.1.1"),
        ("10.0.0.1", "6.6.6.6, 1.1.1.1, 10.0.0.7", "1.1.1.1"),
        ("127.0.0.1", "nonsense", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
    ],
)
def test_a_visitor_is_the_last_public_address(peer: str, forwarded: str, visitor: str) -> None:
    headers = [(b"x-forwarded-for", forwarded.encode())]
    scope = {"type": "http", "client": (peer, 1), "headers": headers}
    # The addresses of documentation are not public either: a connection from one counts by itself.
    assert visitor_of(scope) == (visitor if peer != "203.0.113.1" else "203.0.113.1")


# Uploads


def test_the_same_file_of_two_visitors_is_two_files(browser: TestClient) -> None:
    first, second = upload(browser), upload(browser)
    assert first != second and first.read_bytes() == second.read_bytes()
    first.unlink()
    assert second.is_file()


def test_an_uploaded_page_runs_nowhere(browser: TestClient) -> None:
    for name in ("a.html", "a.svg", "a.wav", "a.png"):
        response = browser.get(f"/gradio_api/file={upload(browser, name=name)}")
        assert response.headers["content-disposition"].startswith("attachment")
        assert response.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("multipart/form-data; boundary=x", b"x"),
        ("multipart/form-data; boundary=", b"x"),
        ("multipart/form-data", b"x"),
        ("text/plain", b"x"),
        (
            "multipart/form-data; boundary=x; charset=no",
            b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\nabc\r\n--x--',
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nabc',
        ),
    ],
)
@pytest.mark.parametrize("query", ["", "?upload_id=x"])
def test_what_is_no_upload_leaves_nothing(
    browser: TestClient, page: Page, kind: str, content: bytes, query: str
) -> None:
    folder = Path(page.app.uploaded_file_dir)
    before = sorted(folder.rglob("*"))
    headers = {"content-type": kind}
    response = browser.post(f"/gradio_api/upload{query}", content=content, headers=headers)
    assert response.status_code in (200, 400) and len(response.text) < 200
    left = [path for path in folder.rglob("*") if path not in before and path.is_file()]
    assert len(left) == (1 if response.status_code == 200 and response.json() else 0)


@pytest.mark.parametrize(
    "name", ["../../a.wav", "..", ".", "/etc/passwd", "ü" * 400, "a\\b", "a\0b"]
)
def test_an_upload_stays_in_its_folder(browser: TestClient, page: Page, name: str) -> None:
    response = browser.post("/gradio_api/upload", files={"files": (name, b"x")})
    if response.status_code == 200:
        path = Path(response.json()[0]).resolve()
        assert len(path.relative_to(Path(page.app.uploaded_file_dir).resolve()).parts) == 3
    else:
        assert response.status_code == 400


def test_uploads_take_no_more_than_their_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_route, "MAX_VISITOR_BYTES", 300_000)
    monkeypatch.setattr(upload_route, "MAX_TOTAL_BYTES", 500_000)
    quota = UploadQuota()
    file = tmp_path / "a"
    file.write_bytes(b"x")
    quota.begin(tmp_path, "one", 250_000)
    with pytest.raises(SerdemoError, match="all the room that a visitor has"):
        quota.begin(tmp_path / "b", "one", 60_000)
    quota.begin(tmp_path / "c", "two", 250_000)
    with pytest.raises(SerdemoError, match="no room for more uploads"):
        quota.begin(tmp_path / "d", "three", 1)
    quota.end(tmp_path, [file])  # which counts 100,000 bytes, as the smallest does
    quota.begin(tmp_path / "e", "one", 150_000)
    quota.end(tmp_path / "e", [])
    file.unlink()
    quota.begin(tmp_path / "f", "one", 250_000)


def test_the_quota_is_a_sentence(browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_route, "MAX_VISITOR_BYTES", 0)
    response = browser.post("/gradio_api/upload", files={"files": b"x"})
    assert response.status_code == 503 and "try again" in response.text


# Calls


@pytest.mark.parametrize(
    "path", ["https://example.org/a.wav", "/etc/passwd", "http://127.0.0.1:1/", "\0", 7, None]
)
@pytest.mark.parametrize("meta", [{"meta": {"_type": "gradio.FileData"}}, {}])
def test_a_call_names_no_address_and_no_file_of_the_server(
    browser: TestClient, path: Any, meta: dict[str, Any]
) -> None:
    sent = {"data": [{"path": path, **meta}], "fn_index": 0, "session_hash": "s"}
    response = browser.post("/gradio_api/run/predict", json=sent)
    assert response.status_code == 422
    assert response.json()["error"] == "This is no call that the page knows: load the page again."


def test_a_failure_within_is_a_sentence_without_its_reason(browser: TestClient) -> None:
    sent = {"data": ["x"], "fn_index": 2, "session_hash": "s"}
    response = browser.post("/gradio_api/run/predict", json=sent)
    assert "Something went wrong" in response.text and "division" not in response.text


@pytest.mark.parametrize(
    "sent",
    [
        {"component_id": 10**30, "fn_name": "live"},
        {"component_id": "x", "fn_name": "live"},
        {"component_id": 1, "fn_name": "__class__"},
        {"component_id": 1, "fn_name": "postprocess"},
        {"component_id": [1], "fn_name": []},
        {"component_id": 1.5, "fn_name": "a\0"},
        {},
    ],
)
def test_no_other_function_is_reached(browser: TestClient, sent: dict[str, Any]) -> None:
    sent = {"data": 1, "session_hash": "s", **sent}
    response = browser.post("/gradio_api/component_server", json=sent)
    assert response.status_code in (400, 404, 422) and len(response.json()["detail"]) < 120


def test_no_files_come_with_a_call(browser: TestClient) -> None:
    fields = {"data": "x", "component_id": "1", "session_hash": "s", "fn_name": "live"}
    response = browser.post("/gradio_api/component_server", data=fields, files={"f": b"x"})
    assert response.status_code == 415 and "/gradio_api/upload" in response.text


def test_a_session_has_a_name_that_is_text(browser: TestClient) -> None:
    for name in ("\ud800", "a" * 65, "", "a b", "../a"):
        sent = {"data": ["x"], "fn_index": 1, "session_hash": name}
        sent = json.dumps(sent)
        headers = {"content-type": "application/json"}
        response = browser.post("/gradio_api/queue/join", content=sent, headers=headers)
        assert response.status_code == 400, name


def test_a_stream_of_events_that_is_not_there_ends(browser: TestClient) -> None:
    for path in ("call/predict/nothing", "queue/data?session_hash=nothing"):
        assert "404" in browser.get(f"/gradio_api/{path}").text


# Limits


async def reader(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that reads the body, and holds the scope as gradio's queue does."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        if not message.get("more_body"):
            break
    HELD.append(scope)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


HELD: list[Any] = []


def call(limits: RequestLimits, pieces: list[bytes], path: str, wait_s: float = 0.0) -> int:
    """The status of a call whose body arrives in pieces."""
    waiting = list(pieces)
    statuses = []

    async def receive() -> Any:
        await asyncio.sleep(wait_s)
        piece = waiting.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(waiting)}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": [],
        "client": ("1.1.1.1", 1),
    }
    run_async(limits(scope, receive, send))
    (status,) = statuses
    return int(status)


def limited() -> RequestLimits:
    HELD.clear()
    return RequestLimits(reader, unlimited=lambda request: False)


@pytest.mark.parametrize(
    ("path", "most_mb"),
    [
        ("/gradio_api/component_server", 8),
        ("/gradio_api/call/predict", 28),
        ("/serdemo-live/abc", 8),
    ],
)
def test_a_call_is_as_large_as_it_needs_to_be(path: str, most_mb: int) -> None:
    limits = limited()
    assert call(limits, [b"x" * MIB] * most_mb, path) == 200
    assert call(limits, [b"x" * MIB] * (most_mb + 1), path) == 413


def test_values_count_as_the_memory_that_they_take() -> None:
    limits = limited()
    assert call(limits, [b"[],"] * 1000, "/gradio_api/call/predict") == 200
    assert call(limits, [b"[]," * 350_000], "/gradio_api/call/predict") == 503


def test_calls_that_wait_count_until_they_are_forgotten() -> None:
    limits = limited()
    statuses = [call(limits, [b"x" * 20 * MIB], "/gradio_api/queue/join") for _ in range(4)]
    assert statuses == [200, 200, 200, 503]
    HELD.clear()
    gc.collect()
    assert limits.memory.used.total() == 0
    assert call(limits, [b"x" * 20 * MIB], "/gradio_api/queue/join") == 200


def test_a_call_that_is_answered_counts_no_more() -> None:
    limits = limited()
    for path in ("/gradio_api/component_server", "/gradio_api/run/live_push"):
        assert [call(limits, [b"[" * 300_000], path) for _ in range(9)] == [200] * 9
    assert limits.memory.used.total() == 0 and len(HELD) == 18


def test_memory_is_that_of_all_visitors_too() -> None:
    memory = Memory()
    assert all(memory.add(str(visitor), 60 * MIB) for visitor in range(4))
    assert not memory.add("5", 60 * MIB)
    assert memory.add("5", -60 * MIB) and "5" not in memory.used


def test_a_body_that_trickles_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_limits, "IDLE_S", 0.02)
    assert call(limited(), [b"x"] * 100, "/gradio_api/upload", wait_s=0.005) == 408
    monkeypatch.undo()
    assert call(limited(), [b"x" * 4096] * 5, "/gradio_api/upload", wait_s=0.005) == 200


def test_a_visitor_holds_so_many_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_limits, "MAX_REQUESTS", 0)
    assert call(limited(), [b"x"], "/gradio_api/upload") == 503


class Protocol:
    """As much of uvicorn's as the limits touch."""

    def __init__(self, connections: set[Any]) -> None:
        self.connections, self.cycle, self.client = connections, None, ("1.1.1.1", 1)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.connections.add(self)

    def data_received(self, data: bytes) -> None:
        self.cycle = type("Cycle", (), {"response_complete": data == b"done"}) if data else None

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)


class Transport:
    aborted = False

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize(
    ("received", "aborted"),
    [([], True), ([b""], True), ([b"request"], False), ([b"request", b"done"], True)],
)
def test_a_connection_that_asks_for_nothing_ends(
    monkeypatch: pytest.MonkeyPatch, received: list[bytes], aborted: bool
) -> None:
    monkeypatch.setattr(connections, "HEADERS_S", 0.01)

    async def connect() -> bool:
        protocol, transport = connections.limited(Protocol)(set()), Transport()
        protocol.connection_made(transport)
        for data in received:
            protocol.data_received(data)
        await asyncio.sleep(0.03)
        return transport.aborted

    assert run_async(connect()) is aborted


def test_an_address_has_so_many_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_PER_ADDRESS", 2)

    async def connect() -> list[bool]:
        together: set[Any] = set()
        transports = [Transport() for _ in range(3)]
        for transport in transports:
            connections.limited(Protocol)(together).connection_made(transport)
        return [transport.aborted for transport in transports]

    assert run_async(connect()) == [False, False, True]


# Headers


def test_every_response_has_the_headers(browser: TestClient) -> None:
    for path in ("/", "/nothing", "/config", "/gradio_api/file=/etc/passwd"):
        headers = browser.get(path).headers
        for name in {*security_headers()} - {"Content-Security-Policy"}:
            assert headers[name] == security_headers()[name], (path, name)


def test_nothing_of_another_origin_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    content = security_headers()["Content-Security-Policy"]
    assert "http" not in content and "*" not in content and "frame-ancestors 'self'" in content
    monkeypatch.setenv("SPACE_ID", "someone/serdemo")
    content = security_headers()["Content-Security-Policy"]
    assert content.partition("frame-ancestors")[2] == (
        " 'self' https://huggingface.co https://*.huggingface.co https://*.hf.space"
    )
    assert security_headers()["Permissions-Policy"].startswith("microphone=(self), ")
