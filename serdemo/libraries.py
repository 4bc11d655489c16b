"""The libraries that serdemo stands on: the command that installs one, and what is told where one
is missing or cannot be loaded.

Whether releases fit each other is found by loading them: some need another than they say.
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

from serdemo.schema import SerdemoError

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"  # where this is a copy of it
ALL = "python -m pip install -r requirements.txt -e ."
# Each release of one fits some releases of the others, so they are installed together.
PYTORCH = ("torch", "torchaudio", "torchvision")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# Where a library is imported by another name than it is installed by, but for _ and -.
INSTALLED_AS = {"sklearn": "scikit-learn", "umap": "umap-learn", "markdown_it": "markdown-it-py"}
_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[^]]*\])?\s*([^;]*)")
OURS = ("serdemo", "app", "__main__")
_UNLOADABLE = 70  # the exit code of a process that says which library it cannot load


def requirements(extras: bool = True) -> dict[str, str]:
    """The versions that serdemo asks for of each library, by the name it is installed by: those of
    `torch` are `>=2.11,<3`. Without `extras` only what it cannot do without.

    Empty where serdemo is neither installed nor run from a copy of its repository.
    """
    lines: Iterable[str] = ()
    if PROJECT.is_file():
        table = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
        lines = chain(
            table["dependencies"], *table["optional-dependencies"].values() if extras else ()
        )
    else:
        with suppress(importlib.metadata.PackageNotFoundError):
            lines = importlib.metadata.requires("serdemo") or ()
            lines = [line for line in lines if extras or "extra ==" not in line]
    found: dict[str, str] = {}
    for line in lines:
        asked = _REQUIREMENT.match(line)
        if asked and (asked[2] or asked[1] not in found):  # an extra may name it alone
            # The lower end first, in whatever order they were written down when installed.
            found[asked[1]] = ",".join(sorted(re.split(r"\s*,\s*", asked[2].strip()), reverse=True))
    return found


def install(*names: str, options: str = "") -> str:
    """The command that installs libraries in the versions that serdemo asks for."""
    asked = requirements()
    quoted = (f'"{name}{asked.get(name, "")}"' for name in names)
    return " ".join(["python -m pip install", *([options] if options else []), *quoted])


def refusal(problem: BaseException) -> SerdemoError | None:
    """The sentence for an error raised while a library was imported: which library, and the command
    that mends it. None for any other error."""
    module = _imported(problem)
    if module is None:
        return None
    name = INSTALLED_AS.get(module, module.replace("_", "-"))
    version = _version(name)
    if version is None:
        missing = [one for one in requirements(extras=False) if _version(one) is None]
        if PROJECT.is_file() and len(missing) > 1:
            return SerdemoError(
                f"serdemo needs {len(missing)} libraries that are missing, {name} first: {ALL}"
            )
        return SerdemoError(f"serdemo needs the library {name}: {install(name)}")
    reason = shorten(str(problem).rstrip("."), 160, placeholder=" …") or type(problem).__name__
    beside = ""
    if name in PYTORCH:
        others = [f"{one} {found}" for one in PYTORCH if one != name and (found := _version(one))]
        beside = f" beside {' and '.join(others)}" if others else ""
    return SerdemoError(
        f"{name} {version} cannot be loaded{beside} ({reason}). This mends it: {_mend(name)}"
    )


def check() -> None:
    """Load torch and torchaudio at once where one of them is of another version than serdemo asks
    for. Raises SerdemoError where they cannot be loaded."""
    asked = requirements()
    if all(_fits(name, asked) for name in ("torch", "torchaudio")):
        return
    try:
        for name in ("torch", "torchaudio"):
            importlib.import_module(name)
    except Exception as problem:
        raise (refusal(problem) or problem) from problem


class Loading:
    """A module loaded in a process of its own, to see whether all that it imports can be: whoever
    begins one goes on meanwhile, and finds the files in memory afterwards."""

    def __init__(self, module: str) -> None:
        code = "import sys; from serdemo import libraries; libraries.load(sys.argv[1])"
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
        """Wait until it is loaded; raises SerdemoError where it cannot be."""
        _, said = self._process.communicate()
        if self._process.returncode == _UNLOADABLE:
            raise SerdemoError(said.splitlines()[-1])


def load(module: str) -> None:
    """What a process of `Loading` does: import the module, or exit with the sentence why not."""
    try:
        importlib.import_module(module)
    except Exception as problem:
        if sentence := refusal(problem):
            print(sentence, file=sys.stderr)
            sys.exit(_UNLOADABLE)
        raise


def _mend(name: str) -> str:
    """The command that mends a library which is installed and cannot be loaded."""
    asked = requirements()
    together = [one for one in PYTORCH if _version(one)] if name in PYTORCH else [name]
    if not all(_fits(one, asked) for one in together):
        return install(*together)
    if name in PYTORCH and (_version("torch") or "").endswith("+cpu"):
        return install(name, options=f"--force-reinstall --no-deps --index-url {CPU_INDEX}")
    return install(name, options="--force-reinstall")


def _fits(name: str, asked: Mapping[str, str]) -> bool:
    """Whether a library is of a version that serdemo asks for, or not installed at all."""
    version = _version(name)
    if version is None or name not in asked:
        return True
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(asked[name]).contains(version, prereleases=True)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _imported(problem: BaseException) -> str | None:
    """The library during whose import an error was raised, as it is imported; None for no library's."""
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
