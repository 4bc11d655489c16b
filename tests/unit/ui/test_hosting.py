"""The folder of a Gradio Space: exactly what its page needs."""

from __future__ import annotations

import ast
import re
from importlib import metadata
from pathlib import PurePosixPath

import pytest
import yaml
from packaging.requirements import Requirement
from support.command import ROOT
from support.distributions import normal, required

from serdemo.schema.settings import OWNER_SETTINGS
from serdemo.ui.hosting import folder, gradio_space

MOST_BYTES = 10_000_000  # a Space refuses larger files outside of LFS
LICENCES = {
    *("LICENSE", "serdemo/evaluation/whisper-licence.txt"),
    *(f"serdemo/ui/browser/onnxruntime/{name}" for name in ("LICENSE", "ThirdPartyNotices.txt")),
}
OF_A_SPACE = {"README.md", "app.py", "requirements.txt", "packages.txt", folder.LIST}
CODE = (".py", ".js", ".mjs", ".html", ".css")


@pytest.fixture(scope="module")
def content() -> dict[str, bytes]:
    return gradio_space.contents()


@pytest.fixture(scope="module")
def texts(content: dict[str, bytes]) -> dict[str, str]:
    """The sources in the folder by path."""
    return {path: data.decode() for path, data in content.items() if path.endswith(CODE)}


def module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def names(source: str) -> set[str]:
    """Names of modules that a source imports, at once or later, or has in its texts."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= set(re.findall(r"serdemo(?:\.\w+)+|silero_vad", node.value))
    return found


def test_every_module_is_reached_from_the_page(texts: dict[str, str]) -> None:
    modules = {module(path): text for path, text in texts.items() if path.endswith(".py")}
    reached, waiting = set[str](), ["app"]
    while waiting:
        name = waiting.pop()
        if name not in modules or name in reached:
            continue
        reached.add(name)
        waiting += [*names(modules[name]), name.rpartition(".")[0]]
    assert modules.keys() - reached == set()
    assert {
        "serdemo.ui.live.tab",
        "serdemo.training.recipes.head",
        "serdemo.runs.estimate",
    } <= reached


def test_every_other_file_is_named_in_the_code_or_is_a_licence(
    content: dict[str, bytes], texts: dict[str, str]
) -> None:
    others = [path for path in content if not path.endswith(".py")]
    assert {path for path in others if "/" not in path} == {*OF_A_SPACE, "LICENSE"} - {"app.py"}
    for path in set(others) - LICENCES - OF_A_SPACE:
        name, place = PurePosixPath(path).name, PurePosixPath(path).parent.name
        shards = re.sub(r"\d{5}", "{5}", name).replace("{5}", r"\d{5}").replace(".s", r"\.s")
        named = {name, shards, PurePosixPath(path).stem, name.removeprefix("model.safetensors")}
        inside = [text for other, text in texts.items() if other != path]
        assert any(one in text for one in named - {""} for text in inside), path
        assert place not in ("experiments", "images", "static_space", "hosting")


def test_nothing_is_left_out_that_the_repository_serves(content: dict[str, bytes]) -> None:
    own = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "serdemo").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    left_out = own - content.keys()
    unused = r"serdemo/(experiments|cli/benchmarks|ui/(hosting|static_space|images))/.+|serdemo/embeddings/build_shipped\.py"
    assert {path for path in left_out if not re.fullmatch(rf"{unused}|.+\.md", path)} == {
        "serdemo/ui/browser/onnxruntime/origin.json"
    } - content.keys()
    assert sum(path.startswith("checkpoints/") for path in content) == 16


def test_every_requirement_is_imported_or_needed_by_one_that_is(
    content: dict[str, bytes], texts: dict[str, str]
) -> None:
    lines = content["requirements.txt"].decode().splitlines()
    assert lines[0] == "--extra-index-url https://download.pytorch.org/whl/cpu"
    pins = {Requirement(line).name: Requirement(line).specifier for line in lines[1:]}
    assert all(str(pin).startswith("==") for pin in pins.values())
    imported = {
        name.partition(".")[0]
        for path, text in texts.items()
        if path.endswith(".py")
        for name in names(text)
    }
    distributions = {
        normal(name)
        for package, owners in metadata.packages_distributions().items()
        if package in imported
        for name in owners
    }
    roots = distributions & pins.keys()
    asked = {"gradio", "torch", "transformers", "onnxruntime", "silero-vad", "umap-learn", "plotly"}
    assert asked <= roots
    assert pins.keys() - required(roots) == set()
    assert not [name for name in pins if name.startswith(("nvidia", "cuda"))]
    assert "sounddevice" not in pins  # there is no microphone on a Space


def head(content: dict[str, bytes]) -> dict[str, object]:
    return dict(yaml.safe_load(content["README.md"].decode().split("---\n")[1]))


def test_the_head_makes_a_space(content: dict[str, bytes]) -> None:
    given = head(content)
    pinned = content["requirements.txt"].decode().splitlines()
    assert f"gradio=={given['sdk_version']}" in pinned
    assert "torch==2.11.0" in pinned  # the newest that ZeroGPU offers
    assert given["python_version"] == "3.12.12"  # likewise
    assert (given["sdk"], given["app_file"]) == ("gradio", "app.py")
    assert given["license"] == "cc-by-nc-sa-4.0"
    assert given["suggested_hardware"] == "cpu-basic"
    assert len(str(given["short_description"])) <= 60
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {given["colorFrom"], given["colorTo"]} <= colours
    assert given["title"] and given["emoji"] and given["tags"]
    assert content["packages.txt"] == b"ffmpeg\n"


def test_a_zerogpu_space_differs_in_hardware_training_and_cuda(content: dict[str, bytes]) -> None:
    lending = gradio_space.contents(zerogpu=True)
    assert lending.keys() == content.keys()
    differing = {path for path in content if content[path] != lending[path]}
    assert differing == {"README.md", "app.py", "requirements.txt", folder.LIST}
    assert head(lending) == {**head(content), "suggested_hardware": "zero-a10g"}
    lines = [made["requirements.txt"].decode().splitlines() for made in (content, lending)]
    extra = {re.split("[=>]", line)[0] for line in {*lines[1]} - {*lines[0]}}
    assert {*lines[0]} - {*lines[1]} == {lines[0][0]}
    assert {"spaces", "triton", "nvidia-cublas", "cuda-toolkit"} <= extra
    group = "\n".join((ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines())
    assert f'space = ["{gradio_space.SPACES}"]' in group
    assert b'SERDEMO_TRAINING="on"' in lending["app.py"]
    assert b"SERDEMO_TRAINING" not in content["app.py"]


def test_the_owners_settings_are_in_both_readmes(content: dict[str, bytes]) -> None:
    table = gradio_space.settings_table()
    assert len(table.splitlines()) == len(OWNER_SETTINGS) + 2
    assert table in content["README.md"].decode()
    assert table in (ROOT / "serdemo" / "ui" / "README.md").read_text(encoding="utf-8")
    lending = gradio_space.contents(zerogpu=True)["README.md"].decode()
    assert gradio_space.settings_table(training="on") in lending
    assert "| `SERDEMO_TRAINING` | on |" in lending


def test_it_is_the_same_each_time_and_fits_into_git(content: dict[str, bytes]) -> None:
    assert gradio_space.contents() == content
    assert max(map(len, content.values())) < MOST_BYTES
    assert sum(map(len, content.values())) < 60_000_000
