"""Zip files from strangers, of every kind that has ever done harm."""

from __future__ import annotations

import io
import struct
import zipfile
from contextlib import nullcontext
from pathlib import Path

import pytest

from serdemo.schema import zipfiles
from serdemo.schema.errors import SerdemoError
from serdemo.schema.zipfiles import pack, unpack

WAV = {".wav", ".csv"}


def made(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


def test_what_counts_is_unpacked_and_the_rest_left_out(tmp_path: Path) -> None:
    files = {
        "anna/angry/1.wav": b"one",
        "anna/sad/2.WAV": b"two",
        "list.csv": b"three",
        "anna/notes.txt": b"no",
        ".hidden.wav": b"no",
        "__MACOSX/anna/angry/._1.wav": b"no",
        "anna/": b"",
    }
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "before").write_text("gone")
    assert unpack(made(tmp_path / "a.zip", files), folder, WAV) == 3
    contents = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}
    assert contents == {"anna/angry/1.wav": b"one", "anna/sad/2.WAV": b"two", "list.csv": b"three"}


def link(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("a.wav")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return path


def locked(path: Path) -> Path:
    made(path, {"a.wav": b"x" * 100})
    data = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.index(mark) + place
        data[at] |= 1
    path.write_bytes(data)
    return path


def liar(path: Path) -> Path:
    """A file that says it is short."""
    made(path, {"a.wav": bytes(3_000_000)})
    data = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(mark) + place
        data[at : at + 4] = struct.pack("<I", 100)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: made(p, {"../a.wav": b""}), "leads out"),
        (lambda p: made(p, {"a/../../b.wav": b""}), "leads out"),
        (lambda p: made(p, {"/etc/a.wav": b""}), "leads out"),
        (lambda p: made(p, {"C:\\a.wav": b""}), "leads out"),
        (lambda p: made(p, {"..\\a.wav": b""}), "leads out"),
        (link, "is a link"),
        (lambda p: made(p, {"nul.wav": b""}), "no name for a file"),
        (lambda p: made(p, {"a" * 200 + ".wav": b""}), "no name for a file"),
        (lambda p: made(p, {"a/" * 1900 + "b.wav": b""}), "no name for a file"),
        (lambda p: made(p, {"A.wav": b"", "a.WAV": b""}), "twice"),
        (lambda p: made(p, {"\u00e9.wav": b"", "e\u0301.wav": b""}), "twice"),
        (lambda p: made(p, {"a.txt": b""}), "no file that counts"),
        (lambda p: made(p, {}), "no file that counts"),
        (lambda p: made(p, {"a.wav": bytes(3_000_000)}), "more than 1 MB"),
        (liar, "is damaged|more than 1 MB"),
        (locked, "password"),
        (lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99)) and p, "not a zip file"),
        (lambda p: (p.write_bytes(b"") and None) or p, "not a zip file"),
        (lambda p: p, "not a zip file"),
        (lambda p: cut(made(p, {"a.wav": b"x" * 1000})), "not a zip file"),
        (lambda p: spoilt(made(p, {"a.wav": b"x" * 1000})), "damaged"),
    ],
)
def test_a_bad_zip_is_one_sentence_and_changes_nothing(
    tmp_path: Path,
    make,  # type: ignore[no-untyped-def]
    words: str,
) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "before").write_text("kept")
    with pytest.raises(SerdemoError, match=words) as raised:
        unpack(make(tmp_path / "a.zip"), folder, WAV, 1_000_000)
    assert "\n" not in str(raised.value)
    assert [path.name for path in folder.iterdir()] == ["before"]
    assert {path.name for path in tmp_path.iterdir()} <= {"clips", "a.zip"}


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-30])
    return path


def spoilt(path: Path) -> Path:
    data = bytearray(path.read_bytes())
    data[40] ^= 255
    path.write_bytes(data)
    return path


def test_a_small_zip_does_not_become_a_large_folder(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    for size, refused in ((zipfiles.FREE_BYTES, False), (2 * zipfiles.FREE_BYTES, True)):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.wav", bytes(size))
        assert path.stat().st_size < 100_000
        with pytest.raises(SerdemoError, match=r"more than 2\d MB") if refused else nullcontext():
            assert unpack(path, tmp_path / str(size), WAV) == 1
        assert (tmp_path / str(size)).exists() is not refused


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfiles, "MAX_FILES", 3)
    archive = made(tmp_path / "a.zip", {f"{n}.wav": b"" for n in range(4)})
    with pytest.raises(SerdemoError, match="more than 3 files"):
        unpack(archive, tmp_path / "clips", WAV)


def test_what_is_packed_comes_out_again(tmp_path: Path) -> None:
    folder = tmp_path / "from"
    folder.mkdir()
    for name in ("b.csv", "a.wav", "left.out"):
        (folder / name).write_bytes(name.encode() * 100)
    pack(folder, tmp_path / "one.zip", ["b.csv", "a.wav"])
    pack(folder, tmp_path / "two.zip", ["a.wav", "b.csv"])
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert unpack(tmp_path / "one.zip", tmp_path / "to", WAV) == 2
    assert (tmp_path / "to" / "a.wav").read_bytes() == b"a.wav" * 100
    with zipfile.ZipFile(io.BytesIO((tmp_path / "one.zip").read_bytes())) as archive:
        assert archive.namelist() == ["a.wav", "b.csv"]
    with pytest.raises(SerdemoError, match="could not be written"):
        pack(folder, tmp_path / "three.zip", ["gone"])
    assert not list(tmp_path.glob("three*"))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_the_ordinary_methods_are_unpacked(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("a.wav", b"a" * 100)
    with pytest.raises(SerdemoError, match=r"packs 'a\.wav' in an unusual way"):
        unpack(tmp_path / "a.zip", tmp_path / "out", WAV)
    assert not (tmp_path / "out").exists()


def test_a_list_of_files_beyond_measure_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = made(tmp_path / "a.zip", {f"{number}.wav": b"" for number in range(40)})
    monkeypatch.setattr(zipfiles, "MAX_DIRECTORY", 40 * 46)
    with pytest.raises(SerdemoError, match="its list of files is too long"):
        unpack(archive, tmp_path / "out", WAV)
    monkeypatch.undo()
    assert unpack(archive, tmp_path / "out", WAV) == 40
