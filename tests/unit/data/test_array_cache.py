"""Arrays kept on disk: what is read is what was written, whoever wrote it and whatever broke."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from serdemo.data.array_cache import LIST, NUMBERS, ArrayCache, CacheOptions, digest
from serdemo.schema.errors import SerdemoError


def array(seed: int, rows: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, 3)).astype(np.float32)


def test_what_is_kept_is_found_again_by_others(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path, 1.0)
    kept = {f"k{n}": cache.put(f"k{n}", array(n, n)) for n in range(4)}
    assert kept["k3"].dtype == np.float16
    np.testing.assert_allclose(kept["k3"], array(3, 3), rtol=1e-3)
    again = ArrayCache(tmp_path, 1.0)
    assert len(again) == 4
    assert "k4" not in again
    for one in (cache, again):
        for key, values in kept.items():
            assert np.array_equal(one.get(key), values)
    later = cache.put("k4", array(4))
    assert np.array_equal(cache.get("k4"), later)
    cache.close()
    assert np.array_equal(cache.get("k4"), later)
    with pytest.raises(KeyError):
        again.get("k4")


def test_two_write_side_by_side(tmp_path: Path) -> None:
    one, two = ArrayCache(tmp_path, 1.0), ArrayCache(tmp_path, 1.0)
    for n in range(6):
        (one, two)[n % 2].put(str(n), array(n))
    both = ArrayCache(tmp_path, 1.0)
    assert len(list(tmp_path.glob(f"*{NUMBERS}"))) == 2
    for n in range(6):
        np.testing.assert_allclose(both.get(str(n)), array(n), rtol=1e-3)


@pytest.mark.parametrize("lost", range(2, 60, 7))
def test_what_a_kill_cut_short_is_passed_over(tmp_path: Path, lost: int) -> None:
    cache = ArrayCache(tmp_path, 1.0)
    for n in range(3):
        cache.put(str(n), array(n))
    for ending in (LIST, NUMBERS):
        folder = tmp_path / ending[1:]
        folder.mkdir()
        for path in tmp_path.glob("*.*"):
            content = path.read_bytes()
            whole = path.suffix != ending
            (folder / path.name).write_bytes(content if whole else content[:-lost])
        after = ArrayCache(folder, 1.0)
        assert {"0"} <= set(after.places) < {"0", "1", "2"}
        for key in after.places:
            np.testing.assert_allclose(after.get(key), array(int(key)), rtol=1e-3)


@pytest.mark.parametrize("line", ["{", "[]", '{"key": 1}', '{"key": "x", "start": -9, "shape": 3}'])
def test_a_spoilt_list_is_no_trouble(tmp_path: Path, line: str) -> None:
    cache = ArrayCache(tmp_path, 1.0)
    cache.put("a", array(0))
    (listed,) = tmp_path.glob(f"*{LIST}")
    listed.write_text(f"{line}\n{listed.read_text()}", encoding="utf-8")
    assert set(ArrayCache(tmp_path, 1.0).places) == {"a"}
    (tmp_path / f"alone{LIST}").write_text(listed.read_text(), encoding="utf-8")
    assert len(ArrayCache(tmp_path, 1.0)) == 1


def held(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def test_no_more_is_kept_than_allowed(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path / "a", 400e-9)  # bytes: three arrays of 30 with their lines
    given = {str(n): cache.put(str(n), array(n)) for n in range(20)}
    assert 0 < len(cache) < 20
    assert held(tmp_path) <= 400 + 100
    np.testing.assert_allclose(given["19"], array(19), rtol=1e-3)


def kept(folder: Path, count: int = 20) -> int:
    """How many arrays of 30 bytes find room in 400, each put by a process of its own."""
    for n in range(count):
        ArrayCache(folder, 400e-9).put(str(n), array(n))
    return len(ArrayCache(folder, 1.0))


def test_what_lies_beside_it_counts_too(tmp_path: Path) -> None:
    alone = kept(tmp_path / "alone" / "one")
    root = tmp_path / "several"
    assert kept(root / "first", 2) == 2
    assert kept(root / "second") == alone - 2 > 0
    assert kept(root / "third") == 0
    assert held(root) <= 400 + 100


def test_what_nobody_used_for_a_week_makes_room(tmp_path: Path) -> None:
    assert kept(tmp_path / "used", 1) == 1
    before = kept(tmp_path / "unused")
    notes = tmp_path / "run" / f"events{LIST}"  # of somebody else
    notes.parent.mkdir()
    notes.write_text("x" * 10_000)
    long_ago = time.time() - 8 * 24 * 3600
    for path in tmp_path.glob("*/*"):
        os.utime(path, (long_ago, long_ago))
    assert ArrayCache(tmp_path / "used", 1.0).get("0").shape == (5, 3)
    assert kept(tmp_path / "new", 2) == 2
    assert len(ArrayCache(tmp_path / "used", 1.0)) == 1
    assert 0 < len(ArrayCache(tmp_path / "unused", 1.0)) < before  # no more than was needed
    assert notes.exists()


def test_what_half_precision_cannot_hold(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path, 1.0)
    assert cache.put("a", np.array([[1e9, -1e9]])).tolist() == [[65504.0, -65504.0]]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SerdemoError, match="--cache"):
        ArrayCache(tmp_path / "file" / "in", 1.0).put("a", array(0))


def test_digests(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"abc")
    two.write_bytes(b"abc")
    assert digest(one, "x") == digest(two, "x") != digest(one, "y")
    assert digest("a", "b") != digest("ab") != digest("b", "a")
    with pytest.raises(SerdemoError, match="gone could not be read"):
        digest(tmp_path / "gone")


def test_where_it_lies(tmp_path: Path) -> None:
    assert CacheOptions(cache=str(tmp_path)).folder == tmp_path
    assert CacheOptions().folder == Path.home() / ".cache" / "serdemo"
