"""Uploaded recordings, and the refusals of those that cannot be used."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from serdemo.audio.waveform import OWN, VISITOR, Limits, SoundFile
from serdemo.schema.errors import UsageError

MAX_FILES = 50
MAX_MB = 20
TOO_LARGE = f"{{}} is larger than {MAX_MB} MB: cut it, or save it as MP3 or OGG."
FAULT = "Something went wrong inside serdemo, and its log says what: try another recording."


@dataclass(frozen=True, slots=True)
class Recording:
    """A file to answer, or the sentence why it never arrived.

    `path` is deleted once it is decoded, unless `keep`. `unlimited` recordings may have any size
    and hold hours of sound.
    `subtitles` is the file with those of the recording.
    """

    path: Path | None
    name: str
    keep: bool = False
    origin: str = ""
    refusal: str = ""
    unlimited: bool = False
    subtitles: Recording | None = None

    @property
    def limits(self) -> Limits:
        """How much sound it may hold."""
        return OWN if self.unlimited else VISITOR

    @property
    def source(self) -> SoundFile:
        """The file to decode; raises UsageError where none was sent."""
        if self.path is None:
            raise UsageError(self.refusal)
        return SoundFile(self.path, self.name, self.limits)

    def forget(self) -> None:
        """Delete the file, and that of the subtitles."""
        if self.subtitles:
            self.subtitles.forget()
        if self.path is not None and not self.keep:
            delete(self.path)


def delete(path: Path) -> None:
    """Delete an uploaded file, if it is still there, and the folders that its upload made."""
    path.unlink(missing_ok=True)
    root = Path(get_upload_folder()).resolve()
    for folder in path.parents:
        if root not in folder.parents:
            break
        with suppress(OSError):  # another file of the same upload is there
            folder.rmdir()


def uploaded(file: dict[str, Any], unlimited: bool = False) -> Recording:
    """A file as the drop zone names it: its `name`, and its `path` if it was sent.

    The browser is not trusted: a path outside the upload folder counts as not sent.
    """
    name = str(file["name"])
    if file.get("too_large"):
        return Recording(None, name, refusal=TOO_LARGE.format(name))
    try:
        path = Path(str(file.get("path", ""))).resolve()
        is_sent = Path(get_upload_folder()).resolve() in path.parents and path.is_file()
    except (OSError, ValueError):  # no path at all: too long, or with a zero in it
        is_sent = False
    if not is_sent:
        return Recording(None, name, refusal=f"{name} could not be sent: drop it once more.")
    return Recording(path, name, unlimited=unlimited)


def check_size(path: Path, name: str) -> None:
    """Raise UsageError for a recording that is larger than the page takes."""
    if path.exists() and path.stat().st_size > MAX_MB * 1024 * 1024:
        raise UsageError(TOO_LARGE.format(name))
