"""`serdemo space`: the folder it writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

from support.command import here

from serdemo.schema.settings import OWNER_SETTINGS


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


def test_a_gradio_space_takes_the_place_of_a_static_one(tmp_path: Path) -> None:
    place = tmp_path / "space"
    (place / ".git").mkdir(parents=True)
    for options, sentence in (
        (("--static",), "a static Space"),
        ((), "a Gradio Space"),
        (("--zerogpu",), "a ZeroGPU Space"),
    ):
        ran = here("space", *options, "--out", place)
        assert ran.code == 0 and sentence in ran.err
        listed = json.loads((place / "files.json").read_text())
        found = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}
        assert found == {*listed, "files.json"}
    assert (place / ".git").is_dir()


def test_the_help_of_the_page_lists_the_owners_settings() -> None:
    lines = here("app", "--help").out.splitlines()
    for one in OWNER_SETTINGS:
        assert any(line.strip().startswith(f"{one.name} [") for line in lines), one.name


def test_what_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    both = here("space", "--static", "--zerogpu", "--out", tmp_path / "space")
    assert both.code == 2 and "leave out --static or --zerogpu" in both.err
    (tmp_path / "thesis.txt").write_text("years of work")
    occupied = here("space", "--static", "--out", tmp_path)
    assert occupied.code == 2 and "holds other files" in occupied.err
    assert occupied.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
