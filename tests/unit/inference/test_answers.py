"""Answers written for other programs, read back by small parsers of their own."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from serdemo.inference import answers as documents
from serdemo.inference import timeline_files
from serdemo.inference.answers import Answer
from serdemo.inference.cue_scores import ScoredCue
from serdemo.inference.parquet_file import write_parquet
from serdemo.inference.subtitles import Cue
from serdemo.inference.timeline import Span
from serdemo.schema.types import Prediction, Segment

NAMES = [
    "my talk.wav",
    '=1+1 "x", y.wav',
    "line\nbreak.wav",
    "שלום.wav",
    "@sum.wav",
    "bad\udcff.wav",
]
SHARES = {"angry": 0.7, "sad": 0.3}


def segment(start: float, end: float, label: str = "angry", speech: float = 1.0) -> Segment:
    return Segment(start, end, label, 0.7, SHARES, speech)


def answer(file: str = "my talk.wav", *segments: Segment, duration: float = 6.0) -> Answer:
    parts = segments or (segment(0.5, 2.0), segment(2.0, 4.25, "sad"))
    return Answer(file, Prediction("x", duration, "angry", 0.7, False, SHARES, parts, ("Low.",)))


REGRESSION = Answer(
    "call.wav",
    Prediction(
        *("x", 2.0, "", 0.0, False, {}),
        (
            Segment(0, 1, "", 0, {}, 1.0, {"arousal": 0.61, "valence": -0.25}),
            Segment(1, 2, "", 0, {}, 1.0, {"arousal": 0.5, "valence": 0.0}),
        ),
        dimensions={"arousal": 0.55, "valence": -0.125},
    ),
)


def intervals(textgrid: str) -> dict[str, list[tuple[float, float, str]]]:
    """The tiers of a TextGrid, read line by line."""
    tiers: dict[str, list[tuple[float, float, str]]] = {}
    for tier in re.split(r"\n    item \[\d+\]:\n", textgrid)[1:]:
        name = re.search(r'name = "((?:[^"]|"")*)"', tier)
        found = re.findall(r'xmin = (\S+)\n\s+xmax = (\S+)\n\s+text = "((?:[^"]|"")*)"', tier)
        size = re.search(r"intervals: size = (\d+)", tier)
        assert name and size and int(size[1]) == len(found)
        tiers[name[1]] = [(float(a), float(b), text.replace('""', '"')) for a, b, text in found]
    return tiers


def test_a_textgrid_covers_the_recording_without_gaps() -> None:
    text = documents.TIMELINES["textgrid"].text(answer())
    assert text.startswith(
        'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 6.000\n'
    )
    tiers = intervals(text)
    assert tiers["emotion"] == [
        (0, 0.5, ""),
        (0.5, 2, "angry"),
        (2, 4.25, "sad"),
        (4.25, 6, ""),
    ]
    assert [text for *_, text in tiers["confidence"]] == ["", "0.700", "0.700", ""]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], [(0, 3, "")]),
        ([Span(0, 9, 'a "b"\nc', 0.5)], [(0, 3, 'a "b" c')]),
        ([Span(5, 9, "sad", 0.5)], [(0, 3, "")]),
        ([Span(1, 3, "b", 0.5), Span(0, 2, "a", 0.5)], [(0, 1, "a"), (1, 3, "b")]),
        ([Span(0, 1.0002, "a", 0.5), Span(1.0004, 3, "b", 0.5)], [(0, 1, "a"), (1, 3, "b")]),
        ([Span(1, 1, "a", 0.5)], [(0, 3, "")]),
    ],
)
def test_a_textgrid_of_odd_stretches(
    spans: list[Span], expected: list[tuple[float, float, str]]
) -> None:
    assert intervals(timeline_files.to_textgrid(spans, 3.0))["emotion"] == expected


def test_an_audacity_track_has_tabs_between() -> None:
    rows = documents.TIMELINES["audacity"].text(answer()).splitlines()
    parsed = [(float(a), float(b), text) for a, b, text in (row.split("\t") for row in rows)]
    assert parsed == [(0.5, 2, "angry (70%)"), (2, 4.25, "sad (70%)")]


def test_rttm_has_ten_fields_and_names_without_spaces() -> None:
    text = documents.to_rttm([answer("my talk.wav"), answer("b/other.wav")])
    rows = [line.split(" ") for line in text.splitlines()]
    assert [len(row) for row in rows] == [10] * 4
    assert rows[1] == [
        "SPEAKER",
        "my_talk",
        "1",
        "2.000",
        "2.250",
        "<NA>",
        "<NA>",
        "sad",
        "0.700",
        "<NA>",
    ]
    assert rows[3][1] == "other"


def test_subtitles_of_a_timeline() -> None:
    assert documents.TIMELINES["srt"].text(answer()) == (
        "1\n00:00:00,500 --> 00:00:02,000\nangry (70%)\n\n"
        "2\n00:00:02,000 --> 00:00:04,250\nsad (70%)\n"
    )
    silent = answer("a.wav", segment(0, 3, "no speech", 0.0))
    assert documents.TIMELINES["srt"].text(silent) == ""
    assert documents.TIMELINES["vtt"].text(silent) == "WEBVTT\n"


def test_a_regression_head_is_written_by_every_format() -> None:
    texts = {name: form.text(REGRESSION) for name, form in documents.TIMELINES.items()}
    assert "\narousal 0.61, valence -0.25\n" in texts["srt"]
    assert "\narousal 0.61, valence -0.25\n" in texts["vtt"]
    assert intervals(texts["textgrid"]) == {
        "arousal": [(0, 1, "0.610"), (1, 2, "0.500")],
        "valence": [(0, 1, "-0.250"), (1, 2, "0.000")],
    }
    assert "\tarousal 0.50, valence 0.00\n" in texts["audacity"]
    assert " <NA> <NA> arousal=0.610,valence=-0.250 <NA> <NA>\n" in texts["rttm"]
    table = documents.files_table([REGRESSION])
    assert list(table.columns)[5:7] == ["arousal", "valence"]
    assert (table.rows[0]["arousal"], table.rows[0]["valence"]) == (0.55, -0.125)
    assert json.loads(documents.to_json([REGRESSION]))[0]["dimensions"]["arousal"] == 0.55


def test_csv_is_read_back_and_runs_no_formula() -> None:
    answers = [answer(name) for name in NAMES] + [Answer("b.wav", error="+b.wav is empty.")]
    text = documents.encoded(documents.to_csv(documents.files_table(answers))).decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["file"] for row in rows] == [
        "my talk.wav",
        '\'=1+1 "x", y.wav',
        "line\nbreak.wav",
        "שלום.wav",
        "'@sum.wav",
        "bad\\udcff.wav",
        "b.wav",
    ]
    head = [
        "file",
        "duration_s",
        "label",
        "confidence",
        "unsure",
        "angry",
        "sad",
        "warnings",
        "error",
    ]
    assert list(rows[0]) == head
    first = (rows[0]["label"], rows[0]["unsure"], float(rows[0]["angry"]), rows[0]["warnings"])
    assert first == ("angry", "false", 0.7, "Low.")
    assert (rows[-1]["label"], rows[-1]["error"]) == ("", "'+b.wav is empty.")


def test_parquet_has_the_rows_of_the_csv_with_types(tmp_path: Path) -> None:
    from pyarrow import parquet

    answers = [answer(name) for name in NAMES] + [Answer("b.wav", error="It is empty.")]
    write_parquet(documents.files_table(answers), tmp_path / "a.parquet")
    rows = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    assert [row["file"] for row in rows[:4]] == NAMES[:4]  # as they are: nothing runs them here
    assert rows[0]["unsure"] is False and rows[0]["sad"] == 0.3
    assert rows[-1]["confidence"] is None and rows[-1]["error"] == "It is empty."


def test_silence_has_no_label_in_a_table() -> None:
    (row,) = documents.files_table([answer("a.wav", segment(0, 3, "no speech", 0.0))]).rows
    assert (row["label"], row["confidence"], row["unsure"]) == ("no speech", 0.0, True)


def test_a_label_that_is_called_like_a_column_has_its_own() -> None:
    odd = Prediction("x", 1.0, "file", 0.6, False, {"file": 0.6, "error": 0.4}, (segment(0, 1),))
    table = documents.files_table([Answer("a.wav", odd)])
    assert table.rows[0]["p_file"] == 0.6 and table.rows[0]["file"] == "a.wav"


def test_cues_keep_their_words_and_get_the_label_before_them() -> None:
    heard = answer().prediction
    cues = (ScoredCue(Cue(0, 1, "Hi"), heard), ScoredCue(Cue(9, 10, "=late"), error="Too late."))
    given = Answer("a.wav", cues=cues, duration_s=6.0)
    assert "\n[angry] Hi\n" in documents.TIMELINES["srt"].text(given)
    assert "\n=late\n" in documents.TIMELINES["srt"].text(given)
    rows = list(csv.DictReader(io.StringIO(documents.to_csv(documents.cues_table([given])))))
    assert [(row["text"], row["label"], row["error"]) for row in rows] == [
        ("Hi", "angry", ""),
        ("'=late", "", "Too late."),
    ]
    (document,) = json.loads(documents.to_json([given]))
    assert document["cues"][0]["probabilities"] == SHARES
    assert document["cues"][1] == {"start_s": 9, "end_s": 10, "text": "=late", "error": "Too late."}
    assert intervals(documents.TIMELINES["textgrid"].text(given))["emotion"] == [
        (0, 1, "angry"),
        (1, 6, ""),
    ]


def test_names_of_outputs_are_unique(tmp_path: Path) -> None:
    below = [str(tmp_path / name) for name in ("x/a.wav", "y/A.wav", "y/b.mp3", "y/b.mp3")]
    assert documents.unique_stems(["x/a.wav", "y/b.mp3"]) == ["a", "b"]
    assert documents.unique_stems(below) == [
        str(Path("x", "a.wav")),
        str(Path("y", "A.wav")),
        str(Path("y", "b.mp3")),
        str(Path("y", "b.mp3-2")),
    ]
    escaping = documents.unique_stems(["x/../a.wav", "x/a.wav"])
    assert escaping == ["a.wav", str(Path("x", "a.wav"))]
