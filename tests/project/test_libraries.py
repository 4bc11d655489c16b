"""Installations that do not hold: one sentence, exit code 1, and the command that mends it."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import EXAMPLES, ROOT, here

from serdemo.schema import libraries
from serdemo.schema.errors import SerdemoError

VOICE = str(EXAMPLES / "polish-even.flac")
PAIR = '"torch>=2.11,<2.15" "torchaudio==2.11.0"'


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder before all others in which a test puts other releases of libraries."""
    place = tmp_path / "lib"
    place.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(place), str(ROOT)]))
    return place


def put(place: Path, name: str, version: str, body: str) -> None:
    """A library of that name and version, whose import does what `body` does."""
    (place / name).mkdir()
    (place / name / "__init__.py").write_text(body, encoding="utf-8")
    told = place / f"{name}-{version}.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8"
    )


def ran(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


COMMANDS = {
    "app.py": (str(ROOT / "app.py"),),
    "app": ("-m", "serdemo", "app"),
    "predict": ("-m", "serdemo", "predict", VOICE),
    "train": ("-m", "serdemo", "train", "supervised", "--corpus", "emodb", "--run", "run"),
    "corpora": ("-m", "serdemo", "corpora"),
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_pair_that_does_not_fit_ends_everything_at_once(
    command: str, install: Path, tmp_path: Path
) -> None:
    put(install, "torchaudio", "2.11.1", "raise OSError('Could not load this library: x.so')")
    done = ran(*COMMANDS[command], cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    torch = importlib.metadata.version("torch")
    assert line.startswith(f"serdemo: torchaudio 2.11.1 cannot be loaded beside torch {torch}")
    assert "(Could not load this library: x.so). This mends it: python -m pip install" in line
    assert PAIR in line
    assert "--force-reinstall" not in line
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_help_is_given_all_the_same(install: Path, tmp_path: Path) -> None:
    put(install, "torchaudio", "2.11.1", "raise OSError('no')")
    done = ran("-m", "serdemo", "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_another_release_that_can_be_loaded_is_taken(install: Path, tmp_path: Path) -> None:
    """Whether it fits is for the loader to say, not for its number."""
    (install / "torchaudio-2.11.9.dist-info").mkdir()
    told = "Metadata-Version: 2.1\nName: torchaudio\nVersion: 2.11.9\n"
    (install / "torchaudio-2.11.9.dist-info" / "METADATA").write_text(told, encoding="utf-8")
    done = ran("-m", "serdemo", "corpora", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("gradio", ("-c", "import runpy; runpy.run_path('app.py', run_name='__main__')")),
        ("soundfile", ("-m", "serdemo", "predict", VOICE)),
        ("onnxruntime", (str(ROOT / "app.py"),)),
        ("click", ("-m", "serdemo", "corpora")),
    ],
)
def test_any_library_that_cannot_be_loaded_is_named(
    name: str, command: tuple[str, ...], install: Path
) -> None:
    put(install, name, "0.1", "raise ImportError('libx.so.3: cannot open\\nshared object file')")
    done = ran(*command, cwd=ROOT)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"serdemo: {name} 0.1 cannot be loaded (libx.so.3: cannot open shared object file)."
        f' This mends it: python -m pip install "{name}>='
    )


def refused(code: str) -> str:
    """The sentence for what a piece of code raises."""
    with pytest.raises(Exception) as raised:  # noqa: PT011
        exec(compile(code, "x", "exec"), {"__name__": "serdemo.x"})
    return str(libraries.import_failure(raised.value))


def test_a_missing_library_is_named_as_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    here = libraries._version
    monkeypatch.setattr(
        libraries, "_version", lambda name: None if name == "scikit-learn" else here(name)
    )
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert refused("import sklearn.svm") == (
        'serdemo needs the library scikit-learn: python -m pip install "scikit-learn>=1.5,<2"'
    )
    assert refused("import nothing_known.of") == (
        'serdemo needs the library nothing-known: python -m pip install "nothing-known"'
    )


def test_faults_of_ours_are_no_library_s() -> None:
    assert refused("1 / 0") == "None"
    assert refused("import serdemo.nowhere") == "None"
    assert refused("open('nowhere')") == "None"
    assert "packaging" in refused("from packaging import nothing")


def test_the_small_build_is_mended_from_its_own_index(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"torch": "2.13.0+cpu", "torchaudio": "2.11.0"}
    monkeypatch.setattr(libraries, "_version", versions.get)
    assert libraries._repair_command("torchaudio") == (
        "python -m pip install --force-reinstall --no-deps"
        ' --index-url https://download.pytorch.org/whl/cpu "torchaudio==2.11.0"'
    )
    versions["torch"] = "2.13.0"
    assert libraries._repair_command("torchaudio").endswith(
        'install --force-reinstall "torchaudio==2.11.0"'
    )
    versions["torch"] = "2.10.0"
    assert libraries._repair_command("torchaudio") == f"python -m pip install {PAIR}"


def test_what_is_asked_for_is_what_the_project_declares(monkeypatch: pytest.MonkeyPatch) -> None:
    beside = libraries.requirements()
    assert {"torch", "gradio", "silero-vad", "peft", "torchvision"} <= set(beside)
    assert (beside["torch"], beside["torchaudio"]) == (">=2.11,<2.15", "==2.11.0")
    assert beside["torchvision"]  # which an extra names without a range
    assert not {"peft", "torchvision", "pytest"} & set(libraries.requirements(extras=False))
    # Where no project file lies beside it, what was written when it was installed.
    monkeypatch.setattr(libraries, "PROJECT", Path("/nowhere/pyproject.toml"))
    told = ["torch<2.15,>=2.11", 'peft<1,>=0.18; extra == "lora"', 'torch; extra == "cpu"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: told)
    assert libraries.requirements() == {"torch": ">=2.11,<2.15", "peft": ">=0.18,<1"}
    assert libraries.requirements(extras=False) == {"torch": ">=2.11,<2.15"}
    assert libraries.install_command("torch", "peft") == (
        'python -m pip install "torch>=2.11,<2.15" "peft>=0.18,<1"'
    )

    def unknown(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "requires", unknown)
    assert libraries.install_command("torch") == 'python -m pip install "torch"'


@pytest.mark.slow
@pytest.mark.parametrize("command", [["app.py"], ["-m", "serdemo", "predict", VOICE]])
def test_before_anything_is_installed(command: list[str]) -> None:
    """Isolated from what is installed: a Python without a library."""
    bare = subprocess.run(
        [sys.executable, "-S", *command], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (bare.returncode, bare.stdout) == (1, "")
    (line,) = bare.stderr.splitlines()
    count = len(libraries.requirements(extras=False))
    first = "filelock" if command == ["app.py"] else "click"
    assert (
        line
        == f"serdemo: serdemo needs {count} libraries that are missing, {first} first: {libraries.INSTALL_ALL}"
    )


@pytest.mark.slow
def test_loading_beside_is_told_like_loading_here(install: Path) -> None:
    libraries.ImportProbe("serdemo.schema.types").wait()
    put(install, "scipy", "0.1", "raise RuntimeError")
    with pytest.raises(SerdemoError, match=r"scipy 0\.1 cannot be loaded \(RuntimeError\)"):
        libraries.ImportProbe("scipy").wait()
    libraries.ImportProbe("serdemo.nowhere").wait()  # a fault of ours is told where it is met


@pytest.mark.slow
def test_the_check_is_not_made_for_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "_fits", lambda name, asked: False)
    assert here("corpora", "--json").code == 0  # what is installed here can be loaded
