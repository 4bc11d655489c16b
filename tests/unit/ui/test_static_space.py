"""The folder of the page without a server: whole, of itself alone, and small enough."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from serdemo.schema.errors import UsageError
from serdemo.schema.types import EMOTIONS
from serdemo.ui.shell import theme
from serdemo.ui.static_space import build

# Addresses that are text or names, and are never asked for.
NAMES = {"http://www.w3.org/2000/svg", "http://localhost:8000"}
RELATIVE = re.compile(r"""["'`](\.{1,2}/[\w./-]+\.(?:js|mjs|css|gz))["'`]""")
HUB_COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


@pytest.fixture(scope="module")
def content() -> dict[str, bytes]:
    return build.contents()


def own_scripts(content: dict[str, bytes]) -> dict[str, str]:
    """The scripts without ONNX Runtime's."""
    return {
        path: text.decode()
        for path, text in content.items()
        if path.endswith(".js") and "/onnxruntime/" not in path
    }


def settings(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="sd-settings">(.*?)</script>', page)
    assert found
    loaded: dict[str, Any] = json.loads(found[1])
    return loaded


def resolved(folder: str, address: str) -> str:
    """A relative address as a path of the folder."""
    parts: list[str] = []
    for part in (*PurePosixPath(folder).parts, *PurePosixPath(address).parts):
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


def test_every_import_is_a_file_of_the_folder(content: dict[str, bytes]) -> None:
    named = {
        (path, resolved(str(PurePosixPath(path).parent), address))
        for path, text in own_scripts(content).items()
        for address in RELATIVE.findall(text)
    }
    assert len(named) > 50
    assert {(path, address) for path, address in named if address not in content} == set()


def test_every_address_in_the_page_is_a_file_of_the_folder(content: dict[str, bytes]) -> None:
    page = content["index.html"].decode()
    linked = set(re.findall(r'(?:href|src)="([^"#]+)"', page))
    assert {"theme.css", "icon.svg", "ui/static_space/static_page.js"} < linked
    assert linked - set(content) == set()
    given = settings(page)
    models = given["browser"]["models"]
    urls = [f"{model['url']}{name}" for model in models.values() for name in model["weights"]]
    urls += [given["browser"]["vad"]["url"], *(f"../{url}" for url in given["examples"].values())]
    assert {resolved("ui", url) for url in urls} - set(content) == set()
    assert {resolved("ui", f"{model['url']}model.json") for model in models.values()} <= set(
        content
    )
    assert set(given["labels"]) == set(EMOTIONS) == set(given["symbols"]) - {"other"}


def test_nothing_of_anyone_elses_is_asked_for(content: dict[str, bytes]) -> None:
    texts = {**own_scripts(content), "page": content["index.html"].decode()}
    texts["style"] = content["theme.css"].decode()
    found = {
        address for text in texts.values() for address in re.findall(r"https?://[\w./:]+", text)
    }
    assert {address.rstrip(".") for address in found} <= NAMES
    assert "@import" not in texts["style"] and "url(" not in texts["style"]


def test_the_policy_knows_the_one_inline_script(content: dict[str, bytes]) -> None:
    page = html.unescape(content["index.html"].decode())
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert found
    policy = dict(part.strip().split(" ", 1) for part in found[1].split(";"))
    sources = " ".join(policy.values())
    assert f"'sha256-{digest}'" in sources
    assert policy["default-src"] == "'none'"
    assert "http" not in sources and "*" not in sources
    assert not re.search(r'\son\w+="', page)


def test_the_front_matter_is_that_of_a_static_space(content: dict[str, bytes]) -> None:
    front = yaml.safe_load(content["README.md"].decode().split("---\n")[1])
    assert front["sdk"] == "static" and front["app_file"] in content
    assert {front["colorFrom"], front["colorTo"]} <= HUB_COLOURS
    assert len(front["short_description"]) <= 60
    assert front["license"] == "cc-by-nc-sa-4.0"
    worker = content["service_worker.js"].decode()
    sent = dict(re.findall(r'"(Cross-Origin-[\w-]+)": "([\w-]+)"', worker))
    assert {name.lower(): value for name, value in sent.items()} == front["custom_headers"]
    assert len(sent) == 3


def test_what_is_loaded_before_the_first_answer_is_small(content: dict[str, bytes]) -> None:
    page = content["index.html"].decode()
    given = settings(page)["browser"]
    scripts = sum(
        len(c) for p, c in content.items() if p.startswith("ui/") and "/onnxruntime/" not in p
    )
    shell = (
        scripts + len(page) + len(content["theme.css"]) + len(content["examples/polish-even.flac"])
    )
    shared = shell + given["vad"]["bytes"] + given["runtime"]["bytes"]
    assert 10e6 < shared + given["models"]["compact"]["bytes"] < 16e6
    assert 10e6 < shared + given["models"]["base"]["bytes"] < 25e6


def test_the_service_worker_is_of_these_files(content: dict[str, bytes]) -> None:
    worker = content["service_worker.js"].decode()
    sums = json.loads(worker.split("const FILES = ", 1)[1].split(";\n", 1)[0])
    first = json.loads(worker.split("const FIRST = ", 1)[1].split(";\n", 1)[0])
    assert set(sums) == set(content) - {"service_worker.js", "files.json"}
    page = base64.b64encode(hashlib.sha256(content["index.html"]).digest()).decode()
    assert sums["index.html"] == page
    assert {"index.html", "checkpoints/base/model.json", "examples/greek-lively.flac"} <= set(first)
    assert {"map/map.json.gz", "checkpoints/speaker/model.json"} <= set(first)
    assert not [path for path in first if path.startswith(("checkpoints/compact", "map/map.html"))]
    assert sum(len(content[path]) for path in first) < 32e6


def test_the_licences_of_all_parts_are_there(content: dict[str, bytes]) -> None:
    listed = set(re.findall(r'<a href="([\w-]+\.txt)"', content["licences/index.html"].decode()))
    carded = set(re.findall(r"\(licences/([^)]+)\)", content["README.md"].decode()))
    there = {path.removeprefix("licences/") for path in content if path.startswith("licences/")}
    assert listed == carded == there - {"index.html"}
    assert len(there) == 8
    assert b"Apache License" in content["licences/serdemo.txt"]
    assert b"Silero" in content["licences/silero-vad.txt"]
    assert b"OpenAI" in content["licences/base.txt"]


def test_every_variable_of_the_style_has_a_value(content: dict[str, bytes]) -> None:
    style = content["theme.css"].decode()
    used = set(re.findall(r"var\((--[\w-]+)\)", style))
    given = set(re.findall(r"(--[\w-]+):", style)) | {"--c", "--share"}  # by scripts
    assert used - given == set()
    assert theme.variables().count(theme.TOKENS["block_background_fill"][1]) >= 1


def test_the_same_files_each_time(content: dict[str, bytes]) -> None:
    assert build.contents.__wrapped__() == content


def test_a_folder_is_written_again_and_nothing_of_others_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "space"
    (place / ".git").mkdir(parents=True)
    monkeypatch.setattr(
        build, "contents", lambda: {"files.json": b'{"a/old.js": ""}', "a/old.js": b"1"}
    )
    assert build.write(place) == ["a/old.js", "files.json"]
    (place / "mine.txt").write_text("mine")
    monkeypatch.setattr(
        build, "contents", lambda: {"files.json": b'{"new.js": ""}', "new.js": b"2"}
    )
    build.write(place)
    assert sorted(p.name for p in place.rglob("*") if p.is_file()) == [
        "files.json",
        "mine.txt",
        "new.js",
    ]
    assert (place / ".git").is_dir()


def test_a_folder_of_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="holds other files: name an empty folder"):
        build.write(tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        build.write(tmp_path / "thesis.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
