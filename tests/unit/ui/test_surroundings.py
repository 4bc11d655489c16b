"""What surrounds the page: who sends it something, proxies, folders, addresses."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from fastapi.testclient import TestClient

from serdemo.schema import proxies, settings
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.ui.shell import gradio_settings, request_limits
from serdemo.ui.shell.address import find_address
from serdemo.ui.shell.page import Page
from serdemo.ui.shell.root_path import normalise
from serdemo.ui.shell.session import WarmPredictor

HERE = ("127.0.0.1", 50_000)
ELSEWHERE = ("203.0.113.9", 50_000)
LOCAL = {"host": "localhost:7860", "origin": "http://localhost:7860"}


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """A page that is served; visitors may send it 1 MB at once."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(request_limits, "MAX_UPLOAD_MB", 1)
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
        response = browser.post("/gradio_api/upload", content=iter(pieces), headers=headers)
        assert response.status_code == 413
        assert "maximum allowed size" in response.text
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture
def unproxied(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No proxy is set; what a test sets, and what comes of it, is gone after it."""
    for name in PROXIES:
        for either in (name, name.upper()):
            monkeypatch.setenv(either, "")  # so that it is put back
            monkeypatch.delenv(either)
    return monkeypatch


def proxied(url: str) -> bool:
    """Whether a request of this process to a URL goes through a proxy."""
    with httpx.Client() as client:
        transport = client._transport_for_url(httpx.URL(url))
        return transport is not client._transport


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("excepted", ["", "corp.example, 10.0.0.1"])
def test_only_the_page_itself_is_reached_without_the_proxy(
    unproxied: pytest.MonkeyPatch, name: str, excepted: str
) -> None:
    unproxied.setenv(name, "http://127.0.0.1:9")
    unproxied.setenv("NO_PROXY", excepted)
    proxies.bypass([*gradio_settings.LOOPBACK, "serdemo.test"])
    own = ("localhost:7860", "127.0.0.1:7860", "[::1]:7860", "serdemo.test:7860")
    assert [proxied(f"http://{host}/") for host in own] == [False] * 4
    assert proxied("http://huggingface.co/")
    assert proxied("http://10.0.0.1/") is not bool(excepted)
    assert proxied("http://www.corp.example/") is not bool(excepted)


def test_without_a_proxy_nothing_is_set(unproxied: pytest.MonkeyPatch) -> None:
    proxies.bypass(gradio_settings.LOOPBACK)
    assert not {*PROXIES, *map(str.upper, PROXIES)} & set(os.environ)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ALL_PROXY", "socks://127.0.0.1:9", "Unknown scheme"),
        ("HTTPS_PROXY", "foo:bar:baz", "Invalid port"),
        ("HTTP_PROXY", "ftp://proxy.example", "Unknown scheme"),
        ("NO_PROXY", "[::1]", "Invalid port"),
    ],
)
def test_proxies_that_cannot_be_used_are_a_sentence(
    unproxied: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    unproxied.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert proxies.unusable() is None
    unproxied.setenv(name, value)
    fault = str(proxies.unusable())
    assert words in fault
    assert fault.endswith("whichever is set.")
    with gradio_settings.replaced():
        assert not proxied("http://127.0.0.1:7860/")
    assert str(proxies.unusable()) == fault


def free_port(host: str = "127.0.0.1", family: int = socket.AF_INET) -> int:
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("", "http://127.0.0.1"),
        ("127.0.0.1", "http://127.0.0.1"),
        ("0.0.0.0", "http://localhost"),
        ("localhost", "http://localhost"),
        ("::1", "http://[::1]"),
        ("[::1]", "http://[::1]"),
        ("::", "http://[::1]"),
    ],
)
def test_the_url_is_one_that_a_browser_opens(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    if "::" in name:
        try:
            free_port("::1", socket.AF_INET6)
        except OSError:
            pytest.skip("this machine has no IPv6")
    monkeypatch.setenv("GRADIO_SERVER_NAME", name)
    monkeypatch.setenv("GRADIO_SERVER_PORT", str(port := free_port()))
    address = find_address()
    assert address.port >= port
    assert address.url == f"{url}:{address.port}"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no.such.name.invalid", "a name without an address"),
        ("http://localhost", "a name without an address"),
        ("a..b", "a name without an address"),
        ("192.0.2.1", "no address of this machine"),
    ],
)
def test_a_name_that_cannot_be_served_on_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    monkeypatch.setenv("GRADIO_SERVER_NAME", name)
    with pytest.raises(UsageError, match=f"GRADIO_SERVER_NAME is '{name}', .*{words}: set it to"):
        find_address()


@pytest.mark.parametrize("port", ["abc", "99999", "-1", "7860.5", "²"])
def test_a_port_that_is_none_is_a_sentence(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("GRADIO_SERVER_PORT", port)
    with pytest.raises(UsageError, match=f"GRADIO_SERVER_PORT is '{port}': set it to a number"):
        find_address()


def test_port_0_and_ports_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_SERVER_NAME", "127.0.0.1")
    monkeypatch.setenv("GRADIO_SERVER_PORT", "0")
    assert find_address().port > 0
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("GRADIO_SERVER_PORT", str(port))
        monkeypatch.setenv("GRADIO_NUM_PORTS", "1")
        for given in (None, port):
            with pytest.raises(SerdemoError, match=f"Port {port} is in use: choose another"):
                find_address(given)
        monkeypatch.setenv("GRADIO_NUM_PORTS", "50")
        assert find_address().port > port


def test_a_port_without_the_right_to_it_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(SerdemoError, match="This user may not serve on port 80: choose another"):
        find_address(80)


def test_uploads_have_a_folder_of_this_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("GRADIO_TEMP_DIR")
    first, second = gradio_settings.upload_folder(), gradio_settings.upload_folder()
    assert first.parent.parent == tmp_path
    assert first != second  # nobody knows the name beforehand
    if os.name == "posix":
        assert stat.S_IMODE(first.parent.stat().st_mode) == 0o700
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "my own"))
    assert gradio_settings.upload_folder().parent.parent == tmp_path / "my own"


@pytest.mark.parametrize("kind", ["file", "dangling"])
def test_a_folder_of_uploads_that_is_none_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "uploads"
    path.symlink_to(tmp_path / "gone" / "gone") if kind == "dangling" else path.touch()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(path))
    with pytest.raises(UsageError, match=r"GRADIO_TEMP_DIR is .*, where nothing can be written"):
        gradio_settings.upload_folder()


def test_settings_of_gradio_are_as_they_were_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_DEBUG", "true")
    with gradio_settings.replaced():
        assert "GRADIO_DEBUG" not in os.environ
    assert os.environ["GRADIO_DEBUG"] == "true"
    monkeypatch.setenv("GRADIO_SHARE", "True")
    assert settings.share_wanted()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", ""),
        ("/", ""),
        ("some/path/", "/some/path"),
        ("/some/path", "/some/path"),
        ("https://voices.example/some/path/", "https://voices.example/some/path"),
    ],
)
def test_root_paths_as_people_write_them(path: str, expected: str) -> None:
    assert normalise(path) == expected


@pytest.mark.parametrize("prefix", ["", "/some/path", "/some/path/", "//evil.example", "/a b"])
def test_a_proxys_prefix_is_where_the_page_is(page: Page, prefix: str) -> None:
    headers = {"host": "voices.example", "x-forwarded-prefix": prefix}
    with TestClient(page.app) as browser:
        text = browser.get("/", headers=headers).text
    root = "http://voices.example" + ("/some/path" if prefix.startswith("/some") else "")
    assert f'"root":"{root}"' in text
    assert 'href="manifest.json"' in text
    assert 'rel="icon" href="data:image/svg+xml,' in text
    assert '="/' not in text.partition("<script")[0]
