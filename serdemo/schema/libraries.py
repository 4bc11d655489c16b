"""The dependencies: version specifiers, install commands, and messages for failed imports.

Whether two releases are compatible is tested by importing them: some declare less than they need.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from textwrap import shorten

from serdemo.schema.errors import SerdemoError

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"  # in a source checkout
INSTALL_ALL = "python -m pip install -r requirements.txt -e ."
# Each release of one fits some releases of the others, so they are installed together.
PYTORCH = ("torch", "torchaudio", "torchvision")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# Where a library is imported by another name than it is installed by, but for _ and -.
INSTALLED_AS = {"sklearn": "scikit-learn", "umap": "umap-learn", "markdown_it": "markdown-it-py"}
_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[^]]*\])?\s*([^;]*)")
OURS = ("serdemo", "app", "__main__")
_UNLOADABLE = 70  # the exit code of a child process whose import failed


def requirements(extras: bool = True) -> dict[str, str]:
    """Version specifiers by distribution name, such as `>=6.31,<7` for gradio.

    Read from pyproject.toml beside the package, else from the installed metadata; empty where there
    is neither. `extras` includes the optional dependencies.
    """
    lines: Iterable[str] = ()
    if PROJECT.is_file():
        table = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
        optional = table["optional-dependencies"].values() if extras else ()
        lines = chain(table["dependencies"], *optional)
    else:
        with suppress(importlib.metadata.PackageNotFoundError):
            lines = importlib.metadata.requires("serdemo") or ()
            lines = [line for line in lines if extras or "extra ==" not in line]
    specifiers: dict[str, str] = {}
    for line in lines:
        match = _REQUIREMENT.match(line)
        if match and (match[2] or match[1] not in specifiers):  # an extra may name it alone
            # The lower bound first; metadata orders them by the alphabet.
            parts = sorted(re.split(r"\s*,\s*", match[2].strip()), reverse=True)
            specifiers[match[1]] = ",".join(parts)
    return specifiers


def install_command(*names: str, options: str = "") -> str:
    """The pip command that installs distributions in the required versions."""
    specifiers = requirements()
    quoted = (f'"{name}{specifiers.get(name, "")}"' for name in names)
    return " ".join(["python -m pip install", *([options] if options else []), *quoted])


def import_failure(problem: BaseException) -> SerdemoError | None:
    """The message for an exception raised while a third-party package was imported, with the command
    that repairs it; None for any other exception."""
    module = _failing_package(problem)
    if module is None:
        return None
    name = INSTALLED_AS.get(module, module.replace("_", "-"))
    version = _version(name)
    if version is None:
        missing = [required for required in requirements(extras=False) if not _version(required)]
        if PROJECT.is_file() and len(missing) > 1:
            return SerdemoError(
                f"serdemo needs {len(missing)} libraries that are missing, {name} first: {INSTALL_ALL}"
            )
        return SerdemoError(f"serdemo needs the library {name}: {install_command(name)}")
    reason = shorten(str(problem).rstrip("."), 160, placeholder=" …") or type(problem).__name__
    beside = ""
    if name in PYTORCH:
        versions = {other: _version(other) for other in PYTORCH if other != name}
        others = " and ".join(f"{other} {number}" for other, number in versions.items() if number)
        beside = f" beside {others}" if others else ""
    return SerdemoError(
        f"{name} {version} cannot be loaded{beside} ({reason}). This mends it: {_repair_command(name)}"
    )


def check_versions() -> None:
    """Import torch and torchaudio if one has an unfit version; raises SerdemoError if that fails."""
    specifiers = requirements()
    if all(_fits(name, specifiers) for name in ("torch", "torchaudio")):
        return
    try:
        for name in ("torch", "torchaudio"):
            importlib.import_module(name)
    except Exception as problem:
        raise (import_failure(problem) or problem) from problem


class ImportProbe:
    """Import of a module in a child process, to find out whether it succeeds while the caller goes on.

    The child also brings the files into the page cache for the later import here."""

    def __init__(self, module: str) -> None:
        code = "import sys; from serdemo.schema import libraries; libraries.probe(sys.argv[1])"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, module],
            cwd=PROJECT.parent,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )

    def wait(self) -> None:
        """Wait for the child; raises SerdemoError if the import failed."""
        _, output = self._process.communicate()
        if self._process.returncode == _UNLOADABLE:
            raise SerdemoError(output.splitlines()[-1])


def probe(module: str) -> None:
    """The child process of `ImportProbe`: import the module, or exit with the message on stderr."""
    try:
        importlib.import_module(module)
    except Exception as problem:
        if sentence := import_failure(problem):
            print(sentence, file=sys.stderr)
            sys.exit(_UNLOADABLE)
        raise


def _repair_command(name: str) -> str:
    """The command that repairs a distribution which is installed but cannot be imported."""
    specifiers = requirements()
    names = [other for other in PYTORCH if _version(other)] if name in PYTORCH else [name]
    if not all(_fits(installed, specifiers) for installed in names):
        return install_command(*names)
    if name in PYTORCH and (_version("torch") or "").endswith("+cpu"):
        return install_command(name, options=f"--force-reinstall --no-deps --index-url {CPU_INDEX}")
    return install_command(name, options="--force-reinstall")


def _fits(name: str, specifiers: Mapping[str, str]) -> bool:
    """Whether a distribution is of a required version, or not installed at all."""
    version = _version(name)
    if version is None or name not in specifiers:
        return True
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(specifiers[name]).contains(version, prereleases=True)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _failing_package(problem: BaseException) -> str | None:
    """The third-party package during whose import an exception was raised, by its import name."""
    trace = problem.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_code.co_name == "<module>":  # the body of a module, which runs when imported
            module = str(frame.f_globals.get("__name__", "")).partition(".")[0]
            if module not in OURS:
                return module
        trace = trace.tb_next
    if isinstance(problem, ImportError) and problem.name:
        module = problem.name.partition(".")[0]
        return None if module in OURS else module
    return None
