"""Zip files from strangers: unpacked within bounds, into one folder, whole or not at all."""

from __future__ import annotations

import shutil
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path, PurePosixPath, PureWindowsPath

from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import atomic, replace_folder

MOST_FILES = 20_000
MOST_BYTES = 2_000_000_000
MOST_TIMES, FREE_BYTES = 20, 20_000_000  # how far a zip may unpack beyond its own size
MOST_DEEP = 20  # folders in folders; Python itself gives up at some hundreds
CHUNK = 1 << 20
WINDOWS_DEVICES = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{p}{n}" for p in ("com", "lpt") for n in "123456789"),
}


def unpack(
    archive: Path, folder: Path, suffixes: Collection[str], most_bytes: int = MOST_BYTES
) -> int:
    """Put the files of a zip with one of `suffixes` (lower case) into `folder`, which it replaces.

    Other files, hidden ones and those that macOS adds are left out. Returns how many were unpacked.
    Raises SerdemoError, with the folder as it was, for what is no zip or is damaged or locked, for
    a path that leads out or too deep, a link, two files of one name, far more than its own size, more
    than `most_bytes` or MOST_FILES, or no file at all.
    """
    try:
        most_bytes = min(most_bytes, MOST_TIMES * archive.stat().st_size + FREE_BYTES)
        with zipfile.ZipFile(archive) as opened:
            members = _members(opened, archive.name, suffixes, most_bytes)
            if not members:
                named = ", ".join(sorted(suffixes))
                raise SerdemoError(f"{archive.name} holds no file that counts here ({named}).")

            def write(target: Path) -> None:
                left = most_bytes
                for path, member in members.items():
                    (target / path).parent.mkdir(parents=True, exist_ok=True)
                    left -= _copy(opened, member, target / path, left, archive.name)

            replace_folder(folder, write)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        ValueError,
        OSError,
    ) as problem:
        raise SerdemoError(
            f"{archive.name} is not a zip file or is damaged: {problem}."
        ) from problem
    except RuntimeError as problem:  # what zipfile raises for a password
        raise SerdemoError(
            f"{archive.name} is locked by a password: pack it without one."
        ) from problem
    return len(members)


def _members(
    opened: zipfile.ZipFile, name: str, suffixes: Collection[str], most_bytes: int
) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """The files to unpack, each with its place; what they say of their size is not yet trusted."""
    found: dict[PurePosixPath, zipfile.ZipInfo] = {}
    taken: set[str] = set()
    for member in opened.infolist():
        path = PurePosixPath(member.filename.replace("\\", "/"))
        windows = PureWindowsPath(member.filename)
        if path.is_absolute() or windows.drive or windows.root or ".." in path.parts:
            raise SerdemoError(f"{name} is refused: {member.filename[:80]!r} leads out of it.")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise SerdemoError(f"{name} is refused: {member.filename[:80]!r} is a link.")
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
        if member.is_dir() or hidden or path.suffix.lower() not in suffixes:
            continue
        if len(path.parts) > MOST_DEEP or any(
            part.split(".")[0].lower() in WINDOWS_DEVICES or len(part) > 150 for part in path.parts
        ):
            raise SerdemoError(
                f"{name} is refused: {member.filename[:80]!r} is no name for a file."
            )
        # One name on disks that know no capitals, or write accents another way
        key = unicodedata.normalize("NFC", str(path)).casefold()
        if key in taken:
            raise SerdemoError(f"{name} holds {path} twice: keep one of them.")
        taken.add(key)
        found[path] = member
    if len(found) > MOST_FILES:
        raise SerdemoError(f"{name} holds more than {MOST_FILES} files: send fewer at once.")
    if sum(member.file_size for member in found.values()) > most_bytes:
        raise _too_large(name, most_bytes)
    return found


def _copy(
    opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, left: int, name: str
) -> int:
    """Unpack one file of at most `left` bytes, whatever it says of itself; returns its size."""
    size = 0
    with opened.open(member) as source, target.open("wb") as sink:
        while piece := source.read(CHUNK):
            size += len(piece)
            if size > left:
                raise _too_large(name, left)
            sink.write(piece)
    return size


def _too_large(name: str, most_bytes: int) -> SerdemoError:
    return SerdemoError(
        f"{name} unpacks to more than {most_bytes / 1e6:.0f} MB: send it in smaller parts."
    )


def pack(folder: Path, archive: Path, names: Collection[str]) -> None:
    """Zip the files `names` of a folder; the same files give the same bytes.

    Raises SerdemoError when one is missing or the zip cannot be written.
    """
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
