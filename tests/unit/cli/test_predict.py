"""`serdemo predict`: lists in, tables and timelines out."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.command import EXAMPLES, here

from serdemo.cli import predict as command
from serdemo.inference.predictor import Predictor

VOICE = sorted(EXAMPLES.glob("*.flac"))[0]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two voices, a bad file, and a name that is a formula with a comma."""
    for name in ("a.flac", "b c.flac", "=1+1,x.flac"):
        shutil.copy(VOICE, tmp_path / name)
    (tmp_path / "bad.wav").write_bytes(b"")
    return tmp_path


def test_a_table_has_a_row_for_each_file_of_a_list(folder: Path) -> None:
    listing = folder / "list.txt"
    listing.write_text("a.flac\nbad.wav\nmissing.wav\n=1+1,x.flac\n")
    ran = here("predict", "--list", listing, "--out", folder / "out.csv")
    assert ran.code == 1
    assert ran.out == ""
    assert ran.err.count("\n") == 2
    found = rows((folder / "out.csv").read_text(encoding="utf-8"))
    assert [row["file"] for row in found] == ["a.flac", "bad.wav", "missing.wav", "'=1+1,x.flac"]
    assert [bool(row["error"]) for row in found] == [False, True, True, False]
    (answer,) = here("predict", folder / "a.flac", "--json").json()
    assert found[0]["label"] == answer["label"]
    for name, share in answer["probabilities"].items():
        assert float(found[0][name]) == pytest.approx(share, abs=1e-5)
    listing.write_text(str(folder / "a.flac"))
    assert here("predict", "--list", listing, "--json").json()[0]["label"] == answer["label"]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet", ".csv", ".rttm"])
def test_each_kind_of_file_by_its_suffix(folder: Path, suffix: str) -> None:
    out = folder / f"out{suffix}"
    ran = here("predict", folder / "a.flac", folder / "bad.wav", "--out", out)
    assert (ran.code, ran.out) == (1, "")
    if suffix == ".parquet":
        from pyarrow import parquet

        found = parquet.read_table(out).to_pylist()
    elif suffix == ".rttm":
        assert out.read_text().startswith("SPEAKER a 1 0.000 ")
        return
    elif suffix == ".csv":
        found = rows(out.read_text(encoding="utf-8"))
    elif suffix == ".json":
        found = json.loads(out.read_text())
    else:
        found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["file"] for row in found] == [str(folder / "a.flac"), str(folder / "bad.wav")]
    assert found[1]["error"].startswith("bad.wav ")


def test_timelines_go_to_stdout_to_a_file_or_to_a_folder(folder: Path) -> None:
    first, second = folder / "a.flac", folder / "b c.flac"
    text = here("predict", first, "--format", "srt").out
    assert text.startswith("1\n00:00:00,000 --> 00:00:")
    assert here("predict", first, "--out", folder / "one.srt").code == 0
    assert (folder / "one.srt").read_text() == text
    assert here("predict", first, second, "--format", "srt", "--out", folder / "subs").code == 0
    assert [path.name for path in sorted((folder / "subs").iterdir())] == ["a.srt", "b c.srt"]
    assert (folder / "subs" / "a.srt").read_text() == text
    assert here("predict", first, "--format", "textgrid", "--out", folder / "subs").code == 0
    assert (folder / "subs" / "a.TextGrid").read_text().startswith("File type")
    both = here("predict", first, second, "--format", "rttm").out
    assert {line.split(" ")[1] for line in both.splitlines()} == {"a", "b_c"}


def test_segments_are_rows_where_they_are_wanted(folder: Path) -> None:
    (answer,) = here("predict", folder / "a.flac", "--json").json()
    found = rows(here("predict", folder / "a.flac", "--format", "csv", "--segments").out)
    assert [float(row["end_s"]) for row in found] == [s["end_s"] for s in answer["segments"]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Name a recording or a folder"),
        (("a.flac", "b c.flac", "--format", "srt"), "holds one recording, not 2"),
        (("a.flac", "--format", "parquet"), "name a file with --out"),
        (("a.flac", "--out", "x.doc"), "give --format"),
        (("a.flac", "--format", "csv", "--out", "."), "is a folder"),
        (("a.flac", "b c.flac", "--subtitles", "x.srt"), "belongs to one recording"),
        (("a.flac", "--segments"), "--segments is for CSV"),
        (("a.flac", "--list", "none.txt"), "cannot be read"),
        (("a.flac", "--subtitles", "none.srt"), "cannot be read"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(folder)
    before = set(folder.iterdir())
    ran = here("predict", *arguments)
    assert ran.code in (1, 2)
    assert words in ran.err and ran.err.count("\n") == 1
    assert set(folder.iterdir()) == before


def test_ctrl_c_leaves_whole_rows_of_what_is_finished(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Predictor.predict_many

    def interrupted(self: Predictor, *arguments: Any, **options: Any) -> Iterator[Any]:
        yield next(iter(whole(self, *arguments, **options)))
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "predict_many", interrupted)
    recordings = [folder / "a.flac", folder / "b c.flac"]
    ran = here("predict", *recordings, "--out", folder / "out.csv")
    assert ran.code == 130
    assert "Stopped after 1 recording of 2" in ran.err
    assert [row["file"] for row in rows((folder / "out.csv").read_text())] == [str(recordings[0])]
    here("predict", *recordings, "--format", "vtt", "--out", folder / "subs")
    assert [path.name for path in (folder / "subs").iterdir()] == ["a.vtt"]


def test_a_full_disk_leaves_the_previous_table(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "out.csv").write_text("before")

    def full(*_: Any) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(command.documents, "encoded", full)
    ran = here("predict", folder / "a.flac", "--out", folder / "out.csv")
    assert ran.code == 1 and "out.csv could not be written: No space left" in ran.err
    assert (folder / "out.csv").read_text() == "before"


def test_subtitles_get_an_emotion_for_each_cue(folder: Path) -> None:
    cues = folder / "talk.srt"
    cues.write_text(
        "1\n00:00:00,000 --> 00:00:01,500\nHi\n\n2\n00:00:01,500 --> 00:00:01,700\nshort\n\n"
        "3\n00:10:00,000 --> 00:10:01,000\nlate\n"
    )
    line = ("predict", folder / "a.flac", "--subtitles", cues)
    (document,) = here(*line, "--json").json()
    assert [cue["text"] for cue in document["cues"]] == ["Hi", "short", "late"]
    assert sum(document["cues"][0]["probabilities"].values()) == pytest.approx(1)
    assert "begins after the end" in document["cues"][2]["error"]
    labels = [cue["label"] for cue in document["cues"][:2]]
    srt = here(*line, "--format", "srt").out
    assert srt.splitlines()[2].startswith(f"[{labels[0]}") and srt.splitlines()[2].endswith("] Hi")
    found = rows(here(*line, "--format", "csv").out)
    assert [row["label"] for row in found] == [*labels, ""]
    assert "Hi" in here(*line).out
