"""Recordings in Recognise: films with subtitles, long ones, and answers saved as files."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from serdemo.audio.waveform import SAMPLE_RATE
from serdemo.inference.answers import TIMELINES, Answer
from serdemo.inference.cue_scores import ScoredCue
from serdemo.inference.subtitles import Cue
from serdemo.schema.types import Prediction, Segment
from serdemo.ui.recognise import handlers, timeline, view
from serdemo.ui.recognise.background import Progress, StoppedError, followed
from serdemo.ui.shell.session import RequestTracker
from serdemo.ui.shell.uploads import Recording

SHARES = {"angry": 0.7, "sad": 0.3}


def prediction(name: str, seconds: float = 2.0) -> Prediction:
    part = Segment(0.0, seconds, "angry", 0.7, SHARES)
    return Prediction(name, seconds, "angry", 0.7, False, SHARES, (part,))


def links(page: str) -> dict[str, bytes]:
    """The files that a page offers, by their name."""
    found = re.findall(r'<a download="([^"]+)" href="data:[^,]*;base64,([^"]*)">', page)
    return {name: base64.b64decode(content) for name, content in found}


def test_an_answer_is_saved_as_the_command_line_writes_it() -> None:
    page = view.answers_page([view.Answer("my talk.mp4", prediction=prediction("my talk.mp4"))])
    files = links(page)
    answer = Answer("my talk.mp4", prediction("my talk.mp4"))
    for form in TIMELINES.values():
        assert files[f"my talk{form.suffix}"].decode() == form.text(answer)
    assert json.loads(files["my talk.json"]) == [json.loads(json.dumps(answer.to_json()))]
    (row,) = csv.DictReader(io.StringIO(files["my talk.csv"].decode()))
    assert (row["label"], float(row["end_s"])) == ("angry", 2.0)


def test_several_answers_are_saved_together() -> None:
    page = view.answers_page(
        [
            view.Answer("a.wav", prediction=prediction("a.wav")),
            view.Answer("b.wav", refusal="b.wav is damaged."),
            view.Answer("a.mp3", prediction=prediction("a.mp3")),
        ]
    )
    files = links(page)
    rows = list(csv.DictReader(io.StringIO(files["serdemo-files.csv"].decode())))
    assert [(row["file"], row["label"], row["error"]) for row in rows] == [
        ("a.wav", "angry", ""),
        ("b.wav", "", "b.wav is damaged."),
        ("a.mp3", "angry", ""),
    ]
    with zipfile.ZipFile(io.BytesIO(files["serdemo.zip"])) as archive:
        assert {"srt/a.wav.srt", "srt/a.mp3.srt", "textgrid/a.mp3.TextGrid"} < set(
            archive.namelist()
        )
    assert [line.split(" ")[1] for line in files["serdemo.rttm"].decode().splitlines()] == [
        "a.wav",
        "a.mp3",
    ]


def test_subtitles_are_shown_and_saved_with_their_labels() -> None:
    cues = (
        ScoredCue(Cue(0, 1, "<b>hi</b>"), prediction("x", 1.0)),
        ScoredCue(Cue(9, 10, "late"), error="This cue begins after the end."),
    )
    page = view.answers_page([view.Answer("a.mp4", prediction=prediction("a.mp4"), cues=cues)])
    assert "&lt;b&gt;hi&lt;/b&gt;" in page and "<b>hi" not in page
    assert "This cue begins after the end." in page
    assert b"\n[angry] <b>hi</b>\n" in links(page)["a.srt"]
    assert len(links(page)["a-cues.csv"].decode().splitlines()) == 3


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["talk.mp4", "talk.srt"], {"talk.mp4": "talk.srt"}),
        (["en.vtt", "talk.mp4"], {"talk.mp4": "en.vtt"}),
        (["a.mp4", "b.mp4", "B.srt"], {"a.mp4": None, "b.mp4": "B.srt"}),
        (["a.mp4", "a.en.srt"], {"a.mp4": "a.en.srt"}),
        (["a.mp4", "b.mp4", "c.srt"], {"a.mp4": None, "b.mp4": None, "c.srt": None}),
        (["c.srt"], {"c.srt": None}),
    ],
)
def test_subtitles_go_with_the_recording_of_their_name(
    names: Sequence[str], pairs: dict[str, str | None], tmp_path: Path
) -> None:
    for name in names:
        (tmp_path / name).touch()
    found = handlers.with_subtitles([Recording(tmp_path / name, name) for name in names])
    assert {r.name: r.subtitles and r.subtitles.name for r in found} == pairs
    for recording in found:
        if recording.name.endswith(".srt"):
            assert "belongs to no recording here" in recording.refusal
            assert not (tmp_path / recording.name).exists()


def test_work_is_followed_and_stopped_within() -> None:
    run = RequestTracker().begin("one")

    def work(progress: Progress) -> str:
        progress(1.0, 10.0)
        return "done"

    steps = followed(work, run)
    seen: list[str] = []

    def collected() -> Iterator[object]:
        seen.append((yield from steps))

    assert list(collected()) == []  # it ends before there is anything to show
    assert seen == ["done"]
    run.stopped = True
    with pytest.raises(StoppedError):
        list(followed(work, run))


def test_a_long_recording_is_drawn_by_its_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "MAX_PLAYABLE_S", 1)
    samples = np.zeros(2 * SAMPLE_RATE + 800, np.float32)
    samples[SAMPLE_RATE] = -0.5
    drawing = timeline.Drawing(SAMPLE_RATE)
    pieces = (samples[start : start + 777] for start in range(0, len(samples), 777))
    assert sum(map(len, drawing.passing(pieces))) == len(samples)
    assert drawing.samples is None
    assert drawing.outline.peaks.tolist() == [0.0] * 10 + [0.5] + [0.0] * 10
    short = timeline.Drawing(SAMPLE_RATE)
    list(short.passing(iter([samples[:800], samples[800:1600]])))
    assert short.samples is not None and len(short.samples) == 1600


def test_a_timeline_of_two_hours_is_scrolled_and_has_hours_on_its_axis() -> None:
    parts = [Segment(t, t + 60, "sad" if t % 120 else "angry", 0.8, {}) for t in range(0, 7200, 60)]
    drawn = timeline.timeline(parts, np.ones(72_000, np.float32), timeline.PEAK_RATE, "long")
    assert "width:1200%" in drawn and 'role="region"' in drawn
    assert "1:55:00" in drawn and ">5:00<" in drawn
    assert "<audio" not in drawn and "not played here" in drawn
    assert drawn.count('class="sd-span"') == 120


def test_a_long_recording_shows_how_far_it_is() -> None:
    def reports() -> Iterator[tuple[float, float | None]]:
        yield 60.0, 7200.0
        yield 90.0, None

    pages = list(handlers._pages(reports(), "Listening to x"))  # type: ignore[arg-type]
    assert "Listening to x: 1:00.0 of 2:00:00.0" in pages[0] and 'value="0.008"' in pages[0]
    assert "Listening to x: 1:30.0" in pages[1] and 'data-act="stop"' in pages[1]
