from __future__ import annotations

import math
from pathlib import Path

import pytest

from serdemo.metrics.significance import ChanceComparison, PairedComparison
from serdemo.schema.errors import SerdemoError
from serdemo.training import events
from serdemo.training.events import (
    EpochEnd,
    Event,
    Failed,
    Finished,
    Saved,
    Started,
    Step,
    Stopped,
    Verdict,
)

PAIRED = PairedComparison(0.5, 0.6, (0.4, 0.6), (0.5, 0.7), (0.02, 0.18), "clips", "better", 90)
CHANCE = ChanceComparison("voices", False, 0.5, (0.4, 0.6), 20, 2, True, 3)
ALL: list[Event] = [
    Started("supervised", ("warm", "main"), 12, 93_570, 20, 4, "cpu", "float32", 3, time=1.5),
    Step("main", 0, 4, 1.25, {"cross_entropy": 1.0, "contrastive": 0.25}, 1e-3, 80.0, 7.5),
    EpochEnd("main", 0, 4, {"uar": 0.5}, ("angry", "sad"), ((3, 1), (2, 2)), True),
    Saved(4, True),
    Finished(12, {"uar": 0.75}, 9.0),
    Finished(12, {}, 9.0, "Early.", Verdict("better", "a", PAIRED, (), 3, True)),
    Finished(12, {}, 9.0, "", Verdict("no difference", chance=(CHANCE,), speakers=2)),
    Stopped(7, "asked to stop", 3.0),
    Failed("The disk is full: löschen Sie etwas 'hier'."),
]


def written(folder: Path, text: str) -> Path:
    path = folder / "events.jsonl"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_kind_is_here() -> None:
    assert {type(event).__name__ for event in ALL} == set(events.KINDS)


@pytest.mark.parametrize("event", ALL, ids=lambda event: type(event).__name__)
def test_every_kind_survives_a_line(event: Event) -> None:
    line = events.to_line(event)
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert events.from_line(line) == event


def test_a_file_is_read_in_order_and_a_line_being_written_left_out(tmp_path: Path) -> None:
    whole = "".join(events.to_line(event) for event in ALL)
    assert list(events.read(written(tmp_path, whole))) == ALL
    assert list(events.read(written(tmp_path, whole + '{"event": "Sav'))) == ALL
    # Even a line that is whole but for its end is not yet told: its end may still be missing.
    assert list(events.read(written(tmp_path, whole[:-1]))) == ALL[:-1]
    assert list(events.read(written(tmp_path, ""))) == []
    assert list(events.read(tmp_path / "none.jsonl")) == []


def test_a_half_written_line_is_trimmed_before_the_next_event(tmp_path: Path) -> None:
    first, second = events.to_line(ALL[3]), events.to_line(ALL[4])
    path = written(tmp_path, first + second[:20])
    events.trim(path)
    assert path.read_text(encoding="utf-8") == first
    events.trim(path)  # nothing to trim
    with path.open("a", encoding="utf-8") as log:
        log.write(second)
    assert list(events.read(path)) == ALL[3:5]
    only_half = written(tmp_path, second[:20])
    events.trim(only_half)
    assert only_half.read_bytes() == b""
    events.trim(tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    "line",
    [
        "garbage\n",
        "\n",
        "3\n",
        "null\n",
        "[]\n",
        "{}\n",
        '{"event": "Explosion"}\n',
        '{"event": ["Saved"], "step": 1, "best": true}\n',
        '{"event": "Saved", "step": 1}\n',
        '{"event": "Saved", "step": 1, "best": true, "colour": "red"}\n',
        '{"event": "EpochEnd", "stage": "a", "epoch": 0, "step": 1, "metrics": {}, "labels": 3}\n',
        '{"event": "Finished", "step": 1, "metrics": {}, "seconds": 1, "verdict": {"outcome": 1}}\n',
        "[" * 100_000 + "\n",
    ],
)
def test_what_is_no_event_is_refused(line: str, tmp_path: Path) -> None:
    with pytest.raises(SerdemoError, match="This line is no event of a training run"):
        events.from_line(line)
    path = written(tmp_path, events.to_line(ALL[3]) + line + events.to_line(ALL[4]))
    reading = events.read(path)
    assert next(reading) == ALL[3]
    with pytest.raises(SerdemoError, match="no event"):
        next(reading)


def test_a_run_of_version_0_1_has_no_verdict() -> None:
    line = '{"event": "Finished", "step": 1, "metrics": {}, "seconds": 2, "note": "a", "time": 3}\n'
    assert events.from_line(line) == Finished(1, {}, 2, "a", None, time=3)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\xff\xfe\x00garbage\n")
    with pytest.raises(SerdemoError, match="no event"):
        list(events.read(path))


def test_what_is_no_number_never_reaches_the_file() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        events.to_line(Finished(1, {"uar": math.nan}, 1.0))
