"""What a page serves for answers in the browser."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from urllib.parse import urljoin

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from serdemo.ui.browser import files
from serdemo.ui.browser.map_files import MapFiles
from serdemo.ui.shell import scripts

ORIGIN = scripts.UI / files.RUNTIME / "origin.json"


@pytest.fixture
def client() -> TestClient:
    return TestClient(Starlette(routes=[scripts.route(), files.route()]))


def test_every_address_of_the_manifest_is_served(client: TestClient) -> None:
    manifest = json.loads(json.dumps(files.manifest()))
    base = f"http://testserver/{scripts.ADDRESS}/{scripts.digest()}/"
    entries = [*manifest["models"].items(), (files.DETECTOR, manifest["vad"])]
    for name, entry in entries:
        served = 0
        for file in files.contents()[name]:
            url = urljoin(urljoin(base, entry["url"]), file.name)
            answer = client.get(url)
            assert answer.status_code == 200, url
            assert answer.content == file.read_bytes()
            assert answer.headers["content-length"] == str(len(answer.content))
            assert "immutable" in answer.headers["cache-control"]
            assert "content-encoding" not in answer.headers
            served += len(answer.content)
        assert served == entry["bytes"]
    assert manifest["models"]["base"]["weights"] == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]


@pytest.mark.parametrize(
    "path",
    ["compact/README.md", "compact/../model.json", "..%2fcompact/model.json", "compact", "", "x"],
)
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    digest = next(key for key in files.paths() if "/compact/" in key).partition("/")[0]
    assert client.get(f"/{files.ADDRESS}/{digest}/compact/model.json").status_code == 200
    assert client.get(f"/{files.ADDRESS}/{digest}/{path}").status_code == 404
    assert client.get(f"/{files.ADDRESS}/{path}").status_code == 404


def test_the_runtime_is_the_one_of_npm(client: TestClient) -> None:
    """The sums are those of the package's files; the network's code is in it as a gzip file."""
    origin = json.loads(ORIGIN.read_text(encoding="utf-8"))
    assert origin["package"] == "onnxruntime-web"
    for name, entry in origin["files"].items():
        path = ORIGIN.parent / name
        packed = path.with_name(f"{name}.gz")
        content = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"], name
        assert len(content) == entry["bytes"]
        served = client.get(
            f"/{scripts.ADDRESS}/{scripts.digest()}/{files.RUNTIME}"
            + (packed if packed.exists() else path).name
        )
        assert served.status_code == 200
        assert "content-encoding" not in served.headers  # the script unpacks it
        wanted = "application/gzip" if packed.exists() else "text/javascript; charset=utf-8"
        assert served.headers["content-type"] == wanted
    shipped = {path.name.removesuffix(".gz") for path in ORIGIN.parent.iterdir()}
    assert shipped == {*origin["files"], "LICENSE", "ThirdPartyNotices.txt", "origin.json"}


def test_a_page_loads_nothing_of_it_by_itself() -> None:
    head = scripts.head("shell/page.js")
    assert "live/live.js" in head
    for later in ("onnx", "browser/remote.js", "browser/services.js", "browser/predictor.js"):
        assert later not in head


def test_the_page_finds_its_models_and_map_by_a_manifest(client: TestClient) -> None:
    module = f"http://testserver/{scripts.ADDRESS}/{scripts.digest()}/browser/page_models.js"
    (relative,) = re.findall(r'new URL\("(.+?)", import', client.get(module).text)
    answer = client.get(urljoin(module, relative))
    assert answer.json() == json.loads(json.dumps(files.manifest()))
    assert answer.headers["cache-control"] == "no-cache"
    base = f"http://testserver/{scripts.ADDRESS}/{scripts.digest()}/"
    folder = urljoin(base, answer.json()["map"]["url"])
    for name, content in MapFiles.of_shipped().placing().items():
        served = client.get(folder + name)
        assert served.content == content
        assert "content-encoding" not in served.headers
    for path in ("map.parquet", "x/map.json.gz", "../map.json.gz"):
        assert client.get(f"{folder}{path}").status_code == 404
