"""Zip files: untrusted ones unpacked within bounds and atomically, own ones packed reproducibly."""

from __future__ import annotations

import io
import shutil
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path, PurePosixPath, PureWindowsPath

from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import atomic, replace_folder

MAX_FILES = 20_000
MAX_BYTES = 2_000_000_000
# A zip may unpack to at most so many times its own size, plus so many bytes.
MAX_RATIO, FREE_BYTES = 20, 20_000_000
MAX_DIRECTORY = 8_000_000  # bytes of a zip's list of files, which is read at once
MAX_DEPTH = 20  # nested folders; Python's own limit is some hundreds
CHUNK = 1 << 20
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those of ordinary zips, in little memory
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError)
WINDOWS_DEVICES = {"con", "prn", "aux", "nul"} | {
    f"{port}{number}" for port in ("com", "lpt") for number in "123456789"
}


def unpack(
    archive: Path, folder: Path, suffixes: Collection[str], max_bytes: int = MAX_BYTES
) -> int:
    """Replace `folder` by the files of a zip that have one of `suffixes` (lower case).

    Other files, hidden ones and those that macOS adds are skipped. Returns the number of files.
    Raises SerdemoError and leaves the folder unchanged for a file that is no zip, damaged,
    encrypted or packed by an unusual method, for a path that leaves the folder or nests too deep, a
    link, two files of one name, an implausible compression ratio, more than `max_bytes` or
    MAX_FILES, and for no file at all.
    """
    try:
        max_bytes = min(max_bytes, MAX_RATIO * archive.stat().st_size + FREE_BYTES)
        with _Archive(io.FileIO(archive)) as file, zipfile.ZipFile(file) as opened:
            members = _members(opened, archive.name, suffixes, max_bytes)
            if not members:
                named = ", ".join(sorted(suffixes))
                raise SerdemoError(f"{archive.name} holds no file that counts here ({named}).")

            def write(target: Path) -> None:
                remaining = max_bytes
                for path, member in members.items():
                    (target / path).parent.mkdir(parents=True, exist_ok=True)
                    remaining -= _copy(opened, member, target / path, remaining, archive.name)

            replace_folder(folder, write)
    except DAMAGE as problem:
        sentence = f"{archive.name} is not a zip file or is damaged: {problem}."
        raise SerdemoError(sentence) from problem
    except RuntimeError as problem:  # what zipfile raises for a password
        sentence = f"{archive.name} is locked by a password: pack it without one."
        raise SerdemoError(sentence) from problem
    return len(members)


class _Archive(io.BufferedReader):
    """The file of a zip, of which no more is read at once than a list of files may take."""

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes; raises BadZipFile for more than `MAX_DIRECTORY`."""
        if size is not None and size > MAX_DIRECTORY:
            raise zipfile.BadZipFile("its list of files is too long")
        return super().read(size)


def _members(
    opened: zipfile.ZipFile, name: str, suffixes: Collection[str], max_bytes: int
) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """The files to unpack by path; the sizes that the zip states are checked, but not relied on."""
    members: dict[PurePosixPath, zipfile.ZipInfo] = {}
    seen: set[str] = set()
    for member in opened.infolist():
        quoted = repr(member.filename[:80])
        path = PurePosixPath(member.filename.replace("\\", "/"))
        windows = PureWindowsPath(member.filename)
        if path.is_absolute() or windows.drive or windows.root or ".." in path.parts:
            raise SerdemoError(f"{name} is refused: {quoted} leads out of it.")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise SerdemoError(f"{name} is refused: {quoted} is a link.")
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
        if member.is_dir() or hidden or path.suffix.lower() not in suffixes:
            continue
        if len(path.parts) > MAX_DEPTH or any(
            part.split(".")[0].lower() in WINDOWS_DEVICES or len(part) > 150 for part in path.parts
        ):
            raise SerdemoError(f"{name} is refused: {quoted} is no name for a file.")
        if member.compress_type not in METHODS:
            raise SerdemoError(f"{name} packs {quoted} in an unusual way: make an ordinary zip.")
        # The same name on file systems that ignore case or normalise accents
        key = unicodedata.normalize("NFC", str(path)).casefold()
        if key in seen:
            raise SerdemoError(f"{name} holds {path} twice: keep one of them.")
        seen.add(key)
        members[path] = member
    if len(members) > MAX_FILES:
        raise SerdemoError(f"{name} holds more than {MAX_FILES} files: send fewer at once.")
    if sum(member.file_size for member in members.values()) > max_bytes:
        raise _too_large(name, max_bytes)
    return members


def _copy(
    opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, remaining: int, name: str
) -> int:
    """Unpack a file of at most `remaining` bytes, whatever size the zip states; returns its size."""
    size = 0
    with opened.open(member) as source, target.open("wb") as sink:
        while piece := source.read(CHUNK):
            size += len(piece)
            if size > remaining:
                raise _too_large(name, remaining)
            sink.write(piece)
    return size


def _too_large(name: str, max_bytes: int) -> SerdemoError:
    return SerdemoError(
        f"{name} unpacks to more than {max_bytes / 1e6:.0f} MB: send it in smaller parts."
    )


def pack(folder: Path, archive: Path, names: Collection[str]) -> None:
    """Zip files of a folder reproducibly; raises SerdemoError when one cannot be read or written."""
    with (
        atomic(archive) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as opened,
    ):
        for name in sorted(names):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            with (folder / name).open("rb") as source, opened.open(info, "w") as sink:
                shutil.copyfileobj(source, sink)
