"""The events of a run, read again and again while it goes on."""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from pathlib import Path

from serdemo.training.events import Event, from_line

HEAD_BYTES = 200  # in which the time of a run's first event lies


class EventLog:
    """An `events.jsonl`, of which `read` parses only what was added since the last time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._offset, self._head = 0, b""

    def read(self) -> list[Event]:
        """All events so far, oldest first, without a last line still being written.

        Raises SerdemoError for a line that is no event.
        """
        with self._lock:
            try:
                file = self._path.open("rb")
            except OSError:
                self._reset(b"")
                return []
            with file:
                head = file.read(HEAD_BYTES)
                if not head.startswith(self._head) or file.seek(0, os.SEEK_END) < self._offset:
                    self._reset(head)  # another run in the folder of a deleted one
                file.seek(self._offset)
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._events += [
                from_line(line.decode("utf-8", "replace")) for line in whole.splitlines()
            ]
            self._offset += len(whole)
            self._head = head
            return list(self._events)

    def _reset(self, head: bytes) -> None:
        self._events, self._offset, self._head = [], 0, head


@lru_cache(maxsize=16)
def event_log(path: Path) -> EventLog:
    """The log of a path, which all who follow the run share."""
    return EventLog(path)
