"""`serdemo space`: the folder it writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

from support.command import here


def test_a_static_space_is_written_and_written_again(tmp_path: Path) -> None:
    place = tmp_path / "space"
    for _ in range(2):
        ran = here("space", "--static", "--out", place)
        assert ran.code == 0, ran.err
    assert f"python -m http.server --directory {place}" in ran.err
    listed = json.loads((place / "files.json").read_text())
    found = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}
    assert found == {*listed, "files.json"}
    assert (place / "README.md").read_text(encoding="utf-8").startswith("---\ntitle: serdemo")
    assert max((place / path).stat().st_size for path in found) < 10_000_000  # git takes it


def test_what_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    other = here("space", "--out", tmp_path / "space")
    assert other.code == 2 and "Add --static" in other.err
    (tmp_path / "thesis.txt").write_text("years of work")
    occupied = here("space", "--static", "--out", tmp_path)
    assert occupied.code == 2 and "holds other files" in occupied.err
    assert occupied.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
