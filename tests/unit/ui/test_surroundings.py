"""What surrounds the page: who sends it something, proxies, folders, addresses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from fastapi.testclient import TestClient

from serdemo.ui.shell import uploads
from serdemo.ui.shell.page import Page
from serdemo.ui.shell.session import WarmPredictor

HERE = ("127.0.0.1", 50_000)
ELSEWHERE = ("203.0.113.9", 50_000)
LOCAL = {"host": "localhost:7860", "origin": "http://localhost:7860"}


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """A page that is served; visitors may send it 1 MB at once."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(uploads, "MAX_REQUEST_MB", 1)
    with Page(WarmPredictor(lambda: pytest.fail("no model is needed"))) as page:
        gr.File()
    page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    yield page
    page.close()


def send(page: Page, megabytes: float, headers: dict[str, str], client: Any = HERE) -> int:
    """The status of an upload of that size; its length is declared."""
    files = {"files": b"x" * int(megabytes * 2**20)}
    with TestClient(page.app, client=client) as browser:
        return browser.post("/gradio_api/upload", files=files, headers=headers).status_code


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        (LOCAL, ELSEWHERE),
        (LOCAL | {"x-forwarded-for": "203.0.113.9"}, HERE),  # behind a proxy
        (LOCAL | {"origin": "https://elsewhere.example"}, HERE),
        (LOCAL | {"host": "serdemo.example", "origin": "http://serdemo.example"}, HERE),
    ],
)
def test_visitors_send_no_more_than_the_limit(
    page: Page, tmp_path: Path, headers: dict[str, str], client: Any
) -> None:
    assert send(page, 1.5, headers, client) == 413
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert send(page, 0.5, headers, client) == 200


@pytest.mark.parametrize("headers", [LOCAL, {"host": "127.0.0.1:7860"}])
def test_a_local_user_sends_files_of_any_size(page: Page, headers: dict[str, str]) -> None:
    assert send(page, 5, headers) == 200
    page.share = True  # whoever has the link ends on this machine too
    assert send(page, 5, headers) == 413


def test_a_body_without_a_length_breaks_off_at_the_limit(page: Page, tmp_path: Path) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
    pieces = [head, *[b"x" * 2**18] * 6, b"\r\n--x--\r\n"]
    headers = LOCAL | {"content-type": "multipart/form-data; boundary=x"}
    with TestClient(page.app, client=ELSEWHERE) as browser:
        for path in ("upload", "component_server"):
            response = browser.post(f"/gradio_api/{path}", content=iter(pieces), headers=headers)
            assert response.status_code in (400, 413)
            assert "maximum allowed size" in response.text
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
