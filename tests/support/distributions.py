"""What installed distributions need, and an environment made of some of them."""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from collections.abc import Iterable
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from serdemo.ui.hosting.gradio_space import MACHINE


def normal(name: str) -> str:
    """A distribution's name as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements_of(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []


def required(roots: Iterable[str]) -> set[str]:
    """The distributions that these need, and they themselves, on a Space."""
    found, waiting = set[str](), [(name, frozenset[str]()) for name in roots]
    seen = set[tuple[str, frozenset[str]]]()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        name, extras = one
        found.add(name)
        for line in requirements_of(name):
            needed = Requirement(line)
            worlds = [{**MACHINE, "extra": extra} for extra in ("", *extras)]
            if needed.marker is None or any(map(needed.marker.evaluate, worlds)):
                waiting.append((normal(needed.name), frozenset(needed.extras)))
    return found


def environment(folder: Path, requirements: Path) -> Path:
    """A virtual environment with what a requirements file pins and nothing else; returns its Python.

    The distributions are those installed beside the tests, by links: their versions must be the pinned
    ones. PyTorch is that of the tests, with the CUDA that it needs where it is built for it.
    """
    venv.create(folder, symlinks=sys.platform != "win32")
    python = folder / "bin" / "python"
    where = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(where, capture_output=True, text=True, check=True).stdout.strip())
    lines = [line for line in requirements.read_text().splitlines() if not line.startswith("-")]
    pins = {normal(pin.name): pin for pin in map(Requirement, lines)}
    for name in sorted({*pins, *required(["torch"])}):
        with suppress(metadata.PackageNotFoundError):
            link(metadata.distribution(name), site)
    for name, pin in pins.items():
        version = metadata.version(name).partition("+")[0]
        assert pin.specifier.contains(version), f"{name} {version} is installed, not {pin}"
    return python


def link(distribution: metadata.Distribution, site: Path) -> None:
    """Link the files of a distribution, or whole folders of them, into another environment."""
    for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
        if not (site / top).exists():
            (site / top).symlink_to(Path(str(distribution.locate_file(top))))
