"""Atomic writes, and settings from the environment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serdemo.schema import settings
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import atomic, make_folder, read_json, write_json, write_text


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"ü": [1.5, None]})
    assert read_json(path) == {"ü": [1.5, None]}
    write_json(path, [])
    assert read_json(path) == []
    assert list(tmp_path.iterdir()) == [path]


def write_half(path: Path, error: BaseException) -> None:
    with atomic(path) as temporary:
        temporary.write_text("half")
        raise error


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_the_previous_file(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "before")
    expected = SerdemoError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected) as raised:
        write_half(path, error)
    if isinstance(error, OSError):
        assert str(raised.value) == "a.txt could not be written: No space left on device."
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_threads_may_write_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    texts = [str(n) * 10_000 for n in range(10)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: write_text(path, text), texts))
    assert path.read_text() in texts
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    with pytest.raises(SerdemoError, match="could not be made"):
        make_folder(tmp_path / "file" / "b")


def test_folders_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SERDEMO_DATA", "SERDEMO_RUNS", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "")  # the same as not set
    assert settings.data_root(None) is None
    assert settings.runs_root() == Path("runs")
    assert settings.cache_root() == Path.home() / ".cache" / "serdemo"
    for name in ("SERDEMO_DATA", "SERDEMO_RUNS", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    assert settings.data_root(None) == tmp_path / "SERDEMO_DATA"
    assert settings.data_root(Path("given")) == Path("given")
    assert settings.runs_root() == tmp_path / "SERDEMO_RUNS"
    assert settings.cache_root() == tmp_path / "XDG_CACHE_HOME" / "serdemo"
