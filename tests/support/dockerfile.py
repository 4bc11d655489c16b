"""A Dockerfile's steps, carried out in a folder: what is copied, how it is started, what asks after it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def steps(dockerfile: Path) -> Iterator[tuple[str, str]]:
    """Each instruction and its arguments, without comments, on one line."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.startswith("#")]
    text = re.sub(r"\\\n\s*", "", "\n".join(lines))
    for line in filter(None, text.splitlines()):
        instruction, _, arguments = line.partition(" ")
        yield instruction, arguments.strip()


def variables(dockerfile: Path) -> dict[str, str]:
    """The environment that ENV sets."""
    words = [
        word for kind, text in steps(dockerfile) if kind == "ENV" for word in shlex.split(text)
    ]
    return dict(word.split("=", 1) for word in words)


def command(dockerfile: Path, instruction: str) -> list[str]:
    """The words of CMD, or of the command inside HEALTHCHECK."""
    (text,) = [text for kind, text in steps(dockerfile) if kind == instruction]
    words: list[str] = json.loads(text[text.index("[") :])
    return words


def copy(dockerfile: Path, target: Path) -> None:
    """Carry out the COPY instructions from the Dockerfile's folder, without what .dockerignore names."""
    root = dockerfile.parent
    patterns = (root / ".dockerignore").read_text().split()
    for kind, text in steps(dockerfile):
        if kind != "COPY":
            continue
        *sources, place = text.split()
        for source in sources:
            inside = target / place / (source if (root / source).is_file() else "")
            for path in [root / source, *(root / source).rglob("*")]:
                name = PurePosixPath(path.relative_to(root).as_posix())
                if path.is_file() and not any(ignored(name, pattern) for pattern in patterns):
                    at = inside / path.relative_to(root / source)
                    at.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, at)


def ignored(path: PurePosixPath, pattern: str) -> bool:
    """Whether a pattern of .dockerignore, a path from the top or one below `**/`, matches a file."""
    folders = [path, *path.parents]
    if pattern.startswith("**/"):
        return any(folder.match(pattern.removeprefix("**/")) for folder in folders)
    return any(folder.as_posix() == pattern for folder in folders)
