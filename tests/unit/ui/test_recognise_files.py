"""Recordings in Recognise: films with subtitles, and long ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from serdemo.audio.waveform import SAMPLE_RATE
from serdemo.ui.recognise import drawing, handlers
from serdemo.ui.recognise.background import Progress, StoppedError, followed
from serdemo.ui.shell.session import RequestTracker
from serdemo.ui.shell.uploads import Recording


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
    monkeypatch.setattr(drawing, "MAX_PLAYABLE_S", 1)
    samples = np.zeros(2 * SAMPLE_RATE + 800, np.float32)
    samples[SAMPLE_RATE] = -0.5
    long = drawing.Drawing(SAMPLE_RATE)
    pieces = (samples[start : start + 777] for start in range(0, len(samples), 777))
    assert sum(map(len, long.passing(pieces))) == len(samples)
    assert long.samples is None
    assert long.outline.peaks.tolist() == [0.0] * 10 + [0.5] + [0.0] * 10
    short = drawing.Drawing(SAMPLE_RATE)
    list(short.passing(iter([samples[:800], samples[800:1600]])))
    assert short.samples is not None and len(short.samples) == 1600


def test_a_long_recording_shows_how_far_it_is() -> None:
    def reports() -> Iterator[tuple[float, float | None]]:
        yield 60.0, 7200.0
        yield 90.0, None

    pages = list(handlers._pages(reports(), "Listening to x"))  # type: ignore[arg-type]
    waiting = [json.loads(page)["waiting"] for page in pages]
    assert [one["text"] for one in waiting] == [
        "Listening to x: 1:00.0 of 2:00:00.0",
        "Listening to x: 1:30.0",
    ]
    assert [one["share"] for one in waiting] == [60 / 7200, 0.0]
