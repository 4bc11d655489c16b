"""Files that the rows of a table name."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path, PureWindowsPath

from serdemo.data.corpora.corpus import AUDIO_SUFFIXES, Note, ignore
from serdemo.schema.errors import SerdemoError


class ClipPaths:
    """The files of a table in `folder`, by path: absolute, or relative to it, then to `root`.

    Backslashes count as slashes, and the suffix may be missing. An absolute path that leads nowhere, as in a table of another
    computer, is looked up by its end below `folder` and `root`: all such paths of a table must lie
    in one folder there, so that no two files fall together. With `confined`, as for what strangers
    upload, paths that lead out of the table's folder are refused, and absolute ones.
    """

    def __init__(
        self, folder: Path, root: Path | None = None, *, confined: bool = False, note: Note = ignore
    ) -> None:
        self._folder, self._confined, self._note = folder, confined, note
        self._bases = [folder] if root is None or confined else [folder, root]
        self._moved: tuple[tuple[str, ...], Path] | None = None  # folder there, folder here

    def find(self, text: str, where: str) -> Path:
        """The file of a row; raises SerdemoError, which begins with `where`, if there is none."""
        path = os.path.normpath(text.replace("\\", "/"))
        windows = PureWindowsPath(path)
        is_absolute = bool(windows.drive or windows.root)
        if self._confined and (is_absolute or windows.parts[:1] == ("..",)):
            raise SerdemoError(
                f"{where}: {short(text)} leads out of the table's folder; give paths relative to it."
            )
        for candidate in (base / path for base in self._bases):  # an absolute path stays as it is
            if found := _existing(candidate):
                return found
        if is_absolute and (found := self._found_by_end(windows.parts[1:])):
            return found
        if not is_absolute and (found := self._found_by_stem(path)):
            return found
        places = " or ".join(str(base) for base in self._bases)
        raise SerdemoError(f"{where}: there is no file {short(text)} in {places}; check the path.")

    def _found_by_stem(self, path: str) -> Path | None:
        """The one sound file of a name without its suffix, if there is one."""
        for base in self._bases:
            names = (base / f"{path}{suffix}" for suffix in sorted(AUDIO_SUFFIXES))
            files = [file for name in names if (file := _existing(name))]
            if len(files) == 1:
                return files[0]
        return None

    def _found_by_end(self, parts: tuple[str, ...]) -> Path | None:
        """The file here of an absolute path (without its root) of another place, if there is one."""
        if self._moved is not None:
            before, base = self._moved
            is_there = parts[: len(before)] == before
            return _existing(base.joinpath(*parts[len(before) :])) if is_there else None
        for start in range(len(parts)):
            for base in self._bases:
                if found := _existing(base.joinpath(*parts[start:])):
                    self._moved = parts[:start], base
                    self._note(
                        f"The table names files of another place ({short('/'.join(parts[:start]))}):"
                        f" they are read from {base}."
                    )
                    return found
        return None


def _existing(path: Path) -> Path | None:
    """The file at `path`, its name composed or decomposed as file systems and archives differ."""
    if os.path.isfile(path):  # unlike Path.is_file, not upset by a name that is too long
        return path
    forms = (unicodedata.normalize(form, str(path)) for form in ("NFC", "NFD"))
    return next((Path(form) for form in forms if os.path.isfile(form)), None)


def short(text: str) -> str:
    """A text from a file as sentences show it."""
    return repr(text if len(text) <= 80 else text[:77] + "...")
