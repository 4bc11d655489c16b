"""The log of a run that goes on is parsed line by line, each once."""

from __future__ import annotations

from pathlib import Path

import pytest

from serdemo.runs import event_log
from serdemo.runs.event_log import EventLog
from serdemo.schema.errors import SerdemoError
from serdemo.training.events import Saved, to_line


def test_only_what_was_added_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    parse = event_log.from_line

    def counted(line: str) -> object:
        parsed.append(line)
        return parse(line)

    monkeypatch.setattr(event_log, "from_line", counted)
    path, saved = tmp_path / "events.jsonl", [Saved(n, False) for n in range(4)]
    log = EventLog(path)
    assert log.read() == []
    path.write_text(to_line(saved[0]) + to_line(saved[1])[:9], encoding="utf-8")
    assert log.read() == saved[:1]
    path.write_text("".join(map(to_line, saved)), encoding="utf-8")
    assert log.read() == saved and log.read() == saved
    assert len(parsed) == 4


def test_another_run_in_the_same_folder_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    for first, count in ((1, 3), (50, 5), (90, 1)):
        events = [Saved(first + n, True) for n in range(count)]
        path.write_text("".join(map(to_line, events)), encoding="utf-8")
        assert log.read() == events
    path.unlink()
    assert log.read() == []


def test_a_damaged_line_is_a_sentence_each_time(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(to_line(Saved(1, True)) + "{no\n", encoding="utf-8")
    log = EventLog(path)
    for _ in range(2):
        with pytest.raises(SerdemoError, match="no event"):
            log.read()
