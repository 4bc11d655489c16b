"""Arrays cached on disk: what is read is what was written, within the limit of size."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from serdemo.data.array_cache import ArrayCache, CacheOptions, digest
from serdemo.schema.errors import SerdemoError


def array(seed: int, rows: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, 3)).astype(np.float32)


def test_arrays_are_read_back_by_every_cache_of_the_folder(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path, 1.0)
    stored = {f"k{n}": cache.put(f"k{n}", array(n, n)) for n in range(4)}
    assert stored["k3"].dtype == np.float16
    np.testing.assert_allclose(stored["k3"], array(3, 3), rtol=1e-3)
    other = ArrayCache(tmp_path, 1.0)
    assert len(other) == 4
    assert "k4" not in other
    for reader in (cache, other):
        for key, values in stored.items():
            assert np.array_equal(reader.get(key), values)
    with pytest.raises(KeyError):
        other.get("k4")
    later = cache.put("k4", array(4))
    assert np.array_equal(cache.get("k4"), later)
    assert np.array_equal(other.get("k4"), later)


def test_single_precision_is_exact(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path, 1.0, np.float32)
    assert np.array_equal(cache.put("a", array(1)), array(1))
    assert np.array_equal(ArrayCache(tmp_path, 1.0, np.float32).get("a"), array(1))
    assert len(cache) == 1 and len(ArrayCache(tmp_path, 1.0)) == 0
    with pytest.raises(KeyError):
        ArrayCache(tmp_path, 1.0).get("a")


def test_two_write_side_by_side(tmp_path: Path) -> None:
    first, second = ArrayCache(tmp_path, 1.0), ArrayCache(tmp_path, 1.0)
    for n in range(6):
        (first, second)[n % 2].put(str(n), array(n))
        (second, first)[n % 2].put("same", array(7))
    assert len(first) == 7
    for n in range(6):
        np.testing.assert_allclose(first.get(str(n)), array(n), rtol=1e-3)
    np.testing.assert_allclose(second.get("same"), array(7), rtol=1e-3)


def test_a_key_may_be_any_text(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path, 1.0)
    for key in ("../x", "a/b", "", "\0", "x" * 999):
        assert np.array_equal(cache.put(key, array(1)), cache.get(key))
    assert {path.parent for path in tmp_path.rglob("*")} == {tmp_path}


@pytest.mark.parametrize("size", [0, 1, 60, 150])
def test_a_damaged_array_is_one_sentence(tmp_path: Path, size: int) -> None:
    cache = ArrayCache(tmp_path, 1.0)
    cache.put("a", array(0))
    (path,) = tmp_path.glob("*.f16.npy")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(SerdemoError, match="is damaged: delete that folder"):
        cache.get("a")


def test_a_killed_write_leaves_no_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(file: IO[bytes], values: np.ndarray, **_: object) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    cache = ArrayCache(tmp_path, 1.0)
    with monkeypatch.context() as patch:
        patch.setattr(np, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            cache.put("a", array(0))
    assert len(cache) == 0
    assert "a" not in cache
    assert "a" not in ArrayCache(tmp_path, 1.0)
    assert np.array_equal(cache.put("a", array(0)), cache.get("a"))


ARRAY_BYTES = 30 + 128  # a (5, 3) array with the header of its file
LIMIT_GB = 1000e-9  # room for six of them


def size_of(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def fill(folder: Path, count: int = 20) -> int:
    """How many of `count` arrays find room, each put by a process of its own."""
    for n in range(count):
        ArrayCache(folder, LIMIT_GB).put(str(n), array(n))
    return len(ArrayCache(folder, 1.0))


def test_no_more_is_kept_than_allowed(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path / "a", LIMIT_GB)
    values = {str(n): cache.put(str(n), array(n)) for n in range(20)}
    assert 0 < len(cache) < 20
    assert size_of(tmp_path) <= 1000 + ARRAY_BYTES
    np.testing.assert_allclose(values["19"], array(19), rtol=1e-3)


def test_what_lies_beside_it_counts_too(tmp_path: Path) -> None:
    room = fill(tmp_path / "single" / "one")
    root = tmp_path / "several"
    assert fill(root / "first", 2) == 2
    assert fill(root / "second") == room - 2 > 0
    assert fill(root / "third") == 0
    assert size_of(root) <= 1000 + ARRAY_BYTES


def test_what_nobody_used_for_a_week_makes_room(tmp_path: Path) -> None:
    assert fill(tmp_path / "used", 1) == 1
    before = fill(tmp_path / "unused")
    former = tmp_path / "former" / "0123.f16"
    foreign = [tmp_path / "run" / name for name in ("events.jsonl", "points.npy")]
    for path, size in (
        (former, 300),
        (former.with_suffix(".jsonl"), 9),
        *((p, 9) for p in foreign),
    ):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * size)
    long_ago = time.time() - 8 * 24 * 3600
    for path in tmp_path.glob("*/*"):
        os.utime(path, (long_ago, long_ago))
    os.utime(former, (long_ago - 9, long_ago - 9))
    assert ArrayCache(tmp_path / "used", 1.0).get("0").shape == (5, 3)
    assert fill(tmp_path / "new", 2) == 2
    assert len(ArrayCache(tmp_path / "used", 1.0)) == 1
    assert 0 < len(ArrayCache(tmp_path / "unused", 1.0)) < before  # no more than was needed
    assert not list(former.parent.iterdir())  # of an earlier version, and the oldest
    assert all(path.exists() for path in foreign)


def test_what_half_precision_cannot_hold(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path, 1.0)
    assert cache.put("a", np.array([[1e9, -1e9]])).tolist() == [[65504.0, -65504.0]]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SerdemoError, match="--cache"):
        ArrayCache(tmp_path / "file" / "in", 1.0).put("a", array(0))


def test_digests(tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    first.write_bytes(b"abc")
    second.write_bytes(b"abc")
    assert digest(first, "x") == digest(second, "x") != digest(first, "y")
    assert digest("a", "b") != digest("ab") != digest("b", "a")
    with pytest.raises(SerdemoError, match="gone could not be read"):
        digest(tmp_path / "gone")


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(SerdemoError, match=r"No space left on device.*--cache"):
        ArrayCache(tmp_path, 1.0).put("a", array(0))
    assert not list(tmp_path.iterdir())


def test_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert CacheOptions(cache=str(tmp_path)).folder == tmp_path
    assert CacheOptions().folder == Path.home() / ".cache" / "serdemo"
