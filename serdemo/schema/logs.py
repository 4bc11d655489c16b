"""The log of a page: sentences for people, or one JSON object a line for programs.

Where an error happened is written without the error's own words, which may quote what a visitor sent.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from serdemo.schema import settings
from serdemo.schema.errors import UsageError, trace

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")
SERVERS = (
    "uvicorn",
    "uvicorn.error",
    "uvicorn.access",
    "uvicorn.asgi",
)  # with handlers of their own


class TextFormatter(logging.Formatter):
    """The message, its fields as NAME=VALUE, and where an error came from."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as lines for people."""
        fields = _fields(record)
        lines = fields.pop("traceback", "")
        words = [f"{name}={value}" for name, value in fields.items()]
        return "\n".join(filter(None, [" ".join([record.getMessage(), *words]), lines]))


class JsonFormatter(logging.Formatter):
    """One object a line: `time`, `level`, `logger`, `event` and the record's fields; an error's `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as one line of JSON."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry: dict[str, Any] = {
            "time": time,
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        return json.dumps(entry, ensure_ascii=False, default=str)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What was logged with `extra={"fields": {...}}`, and an error's `traceback`."""
    problem = record.exc_info[1] if record.exc_info else None
    return {**getattr(record, "fields", {}), **({"traceback": trace(problem)} if problem else {})}


def as_json() -> bool:
    """Whether the log is for programs."""
    return settings.log_format().lower() == "json"


def configure() -> None:
    """Write this process's log to stderr as SERDEMO_LOG and SERDEMO_LOG_LEVEL ask for. Other libraries
    report their warnings alone.

    Raises UsageError for values that these do not take.
    """
    form = _one_of("SERDEMO_LOG", settings.log_format() or "text", FORMATS)
    usual = "info" if form == "json" else "warning"
    level = _one_of("SERDEMO_LOG_LEVEL", settings.log_level() or usual, LEVELS)
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.captureWarnings(form == "json")
    logging.getLogger("serdemo").setLevel(level.upper())


def take_over_servers() -> None:
    """Let the web server's log go where this process's does; call it once the server has begun."""
    for name in SERVERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if (lower := value.lower()) not in allowed:
        raise UsageError(f"{name} is {value!r}: set it to {' or '.join(allowed)}, or unset it.")
    return lower
