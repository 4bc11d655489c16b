"""Uploaded recordings, and the refusals of those that cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from serdemo.schema.errors import UsageError

MAX_FILES = 50
MAX_MB = 20
TOO_LARGE = f"{{}} is larger than {MAX_MB} MB: cut it, or save it as MP3 or OGG."
FAULT = "Something went wrong inside serdemo, and its log says what: try another recording."


@dataclass(frozen=True, slots=True)
class Recording:
    """A file to answer, or the sentence why it never arrived.

    `path` is deleted once it is decoded, unless `keep`.
    """

    path: Path | None
    name: str
    keep: bool = False
    origin: str = ""
    refusal: str = ""


def uploaded(file: dict[str, Any]) -> Recording:
    """A file as the drop zone names it: its `name`, and its `path` if it was sent.

    The browser is not trusted: a path outside the upload folder counts as not sent.
    """
    name = str(file["name"])
    if file.get("too_large"):
        return Recording(None, name, refusal=TOO_LARGE.format(name))
    path = Path(str(file.get("path", ""))).resolve()
    if Path(get_upload_folder()).resolve() not in path.parents or not path.is_file():
        return Recording(None, name, refusal=f"{name} could not be sent: drop it once more.")
    return Recording(path, name)


def check_size(path: Path, name: str) -> None:
    """Raise UsageError for a recording that is larger than the page takes."""
    if path.exists() and path.stat().st_size > MAX_MB * 1024 * 1024:
        raise UsageError(TOO_LARGE.format(name))
