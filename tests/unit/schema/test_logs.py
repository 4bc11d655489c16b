"""The log of a page, for people and for programs."""

from __future__ import annotations

import json
import logging
from datetime import datetime

import pytest

from serdemo.schema import logs
from serdemo.schema.errors import UsageError

SECRET = "voice of Ada.wav"


def record(problem: BaseException | None = None, **fields: object) -> logging.LogRecord:
    info = (type(problem), problem, problem.__traceback__) if problem else None
    made = logging.LogRecord("serdemo.x", logging.ERROR, "x.py", 1, "a %s", ("request",), info)
    made.fields = fields
    return made


def failure() -> BaseException:
    """An error that came of another, both of which quote what was sent."""
    try:
        try:
            int(SECRET)
        except ValueError as problem:
            raise KeyError(SECRET) from problem
    except KeyError as problem:
        return problem


def test_a_json_line_has_the_fields_and_no_words_of_an_error() -> None:
    line = logs.JsonFormatter().format(record(failure(), tab="live", duration_s=0.5))
    assert "\n" not in line and SECRET not in line
    entry = json.loads(line)
    assert datetime.fromisoformat(entry["time"]).utcoffset() is not None
    assert (entry["level"], entry["logger"], entry["event"]) == ("error", "serdemo.x", "a request")
    assert (entry["tab"], entry["duration_s"]) == ("live", 0.5)
    assert "in failure" in entry["traceback"]
    assert entry["traceback"].endswith("KeyError") and "ValueError\n" in entry["traceback"]
    assert "traceback" not in json.loads(logs.JsonFormatter().format(record()))


def test_text_is_for_people() -> None:
    assert logs.TextFormatter().format(record(outcome="refused")) == "a request outcome=refused"
    text = logs.TextFormatter().format(record(failure()))
    assert text.startswith("a request\n") and "KeyError" in text and SECRET not in text


@pytest.fixture
def put_back(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The loggers that `configure` changes are as before after the test."""
    monkeypatch.setattr(logging.getLogger("serdemo"), "level", logging.NOTSET)
    monkeypatch.setattr(logging, "captureWarnings", lambda _: None)
    monkeypatch.delenv("SERDEMO_LOG", raising=False)
    monkeypatch.delenv("SERDEMO_LOG_LEVEL", raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("form", "level", "shown"),
    [
        ("", "", logging.WARNING),
        ("json", "", logging.INFO),
        ("JSON", "Error", logging.ERROR),
        ("text", "debug", logging.DEBUG),
    ],
)
def test_the_settings_choose_form_and_level(
    put_back: pytest.MonkeyPatch, form: str, level: str, shown: int
) -> None:
    put_back.setenv("SERDEMO_LOG", form)
    put_back.setenv("SERDEMO_LOG_LEVEL", level)
    put_back.setattr(logging.getLogger(), "handlers", [])  # pytest's own
    logs.configure()
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler.formatter, logs.JsonFormatter) == logs.as_json()
    assert logs.as_json() == (form.lower() == "json")
    assert logging.getLogger("serdemo.ui").getEffectiveLevel() == shown
    assert logging.getLogger("httpx").getEffectiveLevel() == logging.WARNING


@pytest.mark.parametrize(("name", "value"), [("SERDEMO_LOG", "xml"), ("SERDEMO_LOG_LEVEL", "5")])
def test_other_settings_are_refused(put_back: pytest.MonkeyPatch, name: str, value: str) -> None:
    put_back.setenv(name, value)
    with pytest.raises(UsageError, match=f"{name} is '{value}': set it to .* or unset it"):
        logs.configure()
