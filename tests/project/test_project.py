"""The project as a whole: its dependencies, its own checks, and the wheel as a stranger gets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from packaging import tags
from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename
from support.command import ROOT
from support.skips import forbid_skip

from serdemo import __version__
from serdemo.schema.types import EMOTIONS

MOST_BYTES = 10_000_000  # a Space refuses larger files outside of LFS
MOST_BYTES_OF_FOLDER = 12_000_000
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def run(*command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )


def need(module: str) -> None:
    """Skip without a module of the `test` extra."""
    if find_spec(module) is None:
        pytest.skip(f'{module} is not installed: python -m pip install -e ".[test]"')


def uv(*command: str) -> str:
    """What a command of uv prints; it needs no network for what is asked of it here."""
    need("uv")
    done = run("-m", "uv", *command, "--offline", "--python", sys.executable, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def pins() -> list[Requirement]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


@pytest.mark.slow
def test_the_lock_is_that_of_the_project() -> None:
    """Otherwise: `uv lock`."""
    uv("lock", "--check")


@pytest.mark.slow
def test_the_requirements_are_those_of_the_lock() -> None:
    """Otherwise: the command in their second line."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    command = lines[1].removeprefix("#").split()
    assert (command[:2], command[-2:]) == (["uv", "export"], ["-o", "requirements.txt"])
    exported = uv(*command[1:-2]).splitlines()
    assert lines[2:] == [line for line in exported if not line.startswith("#")]
    asked = {Requirement(line).name for line in PROJECT["project"]["dependencies"]}
    assert asked <= {pin.name for pin in pins()}


PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))
SYSTEMS = {  # the older glibc is that of Debian 12, and macOS 15 is two years old
    ("linux", "x86_64"): [f"manylinux_2_{n}_x86_64" for n in range(36, 4, -1)],
    ("linux", "aarch64"): [f"manylinux_2_{n}_aarch64" for n in range(36, 4, -1)],
    ("darwin", "arm64"): list(tags.mac_platforms((15, 0), "arm64")),
    ("win32", "AMD64"): ["win_amd64"],
}
OLD_NAMES = {"manylinux2014": "manylinux_2_17", "manylinux2010": "manylinux_2_12"}


@pytest.mark.parametrize("python", PYTHONS, ids=str)
@pytest.mark.parametrize("system", SYSTEMS, ids=str)
def test_every_pin_has_a_wheel(python: tuple[int, int], system: tuple[str, str]) -> None:
    """What is built from source needs a compiler, which many have not."""
    name, machine = system
    release = ".".join(map(str, python))
    here = {"python_version": release, "python_full_version": f"{release}.9"}
    here |= {"sys_platform": name, "platform_machine": machine, "implementation_name": "cpython"}
    fits = {
        *tags.cpython_tags(python, platforms=SYSTEMS[system]),
        *tags.compatible_tags(python, f"cp{release.replace('.', '')}", SYSTEMS[system]),
    }
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    wheels = {
        (one["name"], one["version"]): [wheel["url"] for wheel in one.get("wheels", ())]
        for one in lock
        if "pypi" in one["source"].get("registry", "")
    }
    without = []
    for pin in pins():
        if pin.marker is None or pin.marker.evaluate(here):
            (version,) = (one.version for one in pin.specifier)
            files = [unquote(url.rsplit("/", 1)[-1]) for url in wheels[pin.name, version]]
            for old, new in OLD_NAMES.items():
                files = [file.replace(f"{old}_", f"{new}_") for file in files]
            if not any(fits & parse_wheel_filename(file)[3] for file in files):
                without.append(f"{pin.name} {version}")
    assert without == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "check",
    [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)],
    ids=" ".join,
)
def test_the_sources_are_clean(check: tuple[str, ...]) -> None:
    need(check[0])
    done = run("-m", *check, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def shipped_files() -> list[Path]:
    """The files under git's care, or those not ignored where this is no clone."""
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(git, cwd=ROOT, capture_output=True, check=True, encoding="utf-8")
    except (OSError, subprocess.CalledProcessError) as problem:
        pytest.skip(f"this is no git clone, or there is no git: {problem}")
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


@pytest.mark.slow
def test_no_file_is_too_large_for_a_space() -> None:
    files = shipped_files()
    assert ROOT / "pyproject.toml" in files
    assert {path: size for path in files if (size := path.stat().st_size) >= MOST_BYTES} == {}


def test_every_checkpoint_is_whole_and_small() -> None:
    folders = sorted(path for path in (ROOT / "checkpoints").iterdir() if path.is_dir())
    assert "compact" in [folder.name for folder in folders]
    for folder in folders:
        names = {path.name for path in folder.iterdir()}
        graphs = {name for name in names if name.endswith(".onnx")}
        assert "model.onnx" in graphs and graphs <= {"model.onnx", "classifier.onnx"}
        weights = {name for name in names - graphs if name.startswith("model.safe")}
        weights |= {name for name in names if name.startswith("model-")}
        others = {"README.md", "events.jsonl", "model.json", "report.json"}
        assert names - weights - graphs == others
        assert weights == {"model.safetensors"} or len(weights) > 2  # shards and their index
        sizes = [path.stat().st_size for path in folder.iterdir()]
        assert max(sizes) < MOST_BYTES and sum(sizes) < MOST_BYTES_OF_FOLDER


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without the network by the backend that is installed."""
    need("build")
    need("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    done = run(
        "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT), cwd=folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_carries_what_is_used_and_no_more(wheel: Path) -> None:
    assert wheel.name == f"serdemo-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = f"serdemo-{__version__}.dist-info/"
    expected = {
        f"serdemo/{path.relative_to(ROOT / 'serdemo').as_posix()}"
        for path in (ROOT / "serdemo").rglob("*")
        if path.is_file()
        and not {"__pycache__", "experiments"}.intersection(path.parts)
        and path.name not in ("screenshot.png", "explore.png")
    } | {path.relative_to(ROOT).as_posix() for path in (ROOT / "checkpoints").rglob("*.*")}
    expected = (
        {f"serdemo/{name}" if name.startswith("checkpoints/") else name for name in expected}
        | {"serdemo/requirements.txt"}
        | {info + name for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")}
    )
    assert names == expected | {f"{info}licenses/LICENSE"}
    assert {
        "serdemo/checkpoints/compact/model.safetensors",
        "serdemo/checkpoints/compact/model.json",
        "serdemo/data/held_out.json",
        "serdemo/ui/shell/style.css",
    } <= names
    assert sum(name.startswith("serdemo/audio/examples/") for name in names) >= 3
    assert not [
        name for name in names if name.startswith(("tests/", "runs/")) or "/experiments/" in name
    ]


@pytest.mark.slow
def test_the_wheel_answers_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    target, empty = tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    install = ("-m", "pip", "install", "--no-deps", "--no-index", "--target", str(target))
    done = run(*install, str(wheel), cwd=empty)
    if "No module named pip" in done.stderr:
        pytest.skip("this Python has no pip")
    assert done.returncode == 0, done.stdout + done.stderr

    where = (
        "import serdemo.nn.checkpoint_files as p; print(p.__file__); print(p.bundled_checkpoint())"
    )
    done = run("-c", where, cwd=empty, PYTHONPATH=str(target))
    assert [Path(line).is_relative_to(target) for line in done.stdout.splitlines()] == [True] * 2

    example = sorted((target / "serdemo" / "audio" / "examples").glob("*.flac"))[0]
    command = ("-m", "serdemo", "predict", str(example), "--json", "--device", "cpu")
    done = run(*command, cwd=empty, PYTHONPATH=str(target))
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)
    assert answer["label"] in EMOTIONS
    assert list(empty.iterdir()) == []


@pytest.mark.slow
def test_the_public_names_are_found_when_asked_for() -> None:
    """And not before: importing serdemo alone costs nothing."""
    asked = "import sys, serdemo; assert 'torch' not in sys.modules; print(len(serdemo.__all__))"
    ran = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, cwd=ROOT)
    assert (ran.returncode, ran.stdout.strip()) == (0, "6"), ran.stderr
    import serdemo
    from serdemo.inference.predictor import Predictor

    assert serdemo.Predictor is Predictor
    assert all(getattr(serdemo, name) for name in serdemo.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        serdemo.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("reason", "data", "allowed"),
    [
        ("iemocap and its table are not in SERDEMO_DATA", "/data", True),
        ("SERDEMO_DATA names no folder with corpora", "", True),
        ("SERDEMO_DATA names no folder with corpora", "/data", False),
        ("no ffmpeg program", "/data", False),
        ("could not import 'mcp': No module named 'mcp'", "", False),
        ("Windows has no SIGKILL", "", True),
    ],
)
def test_ci_allows_no_skip_for_what_can_be_installed(
    reason: str, data: str, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERDEMO_DATA", data)
    for ci in ("true", ""):
        monkeypatch.setenv("CI", ci)
        report = SimpleNamespace(
            skipped=True, outcome="skipped", longrepr=("a.py", 1, f"Skipped: {reason}")
        )
        assert forbid_skip(report).outcome == ("skipped" if allowed or not ci else "failed")
