"""Attempts at a part: which of its recordings ends the process that answers it.

A decoder may crash on a damaged file, or the system end a process that takes too much memory. No exception
tells of that, but a file of the attempts that is there still does: the next ones take the recordings by
themselves until it is known which one it was, and then leave it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serdemo.runs.batch.parts import Entry
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import read_json, write_json

MAX_TOGETHER = 2  # attempts with all recordings, before each is taken by itself
MAX_ALONE = 2  # with a recording by itself: a machine may be switched off in one
Answers = Callable[[Sequence[Entry]], Iterator[Any]]


@dataclass(slots=True)
class Attempts:
    """Attempts at a part that ended with their process: how many, and at which `row` by itself how often."""

    path: Path
    count: int = 0
    alone: dict[str, int] = field(default_factory=dict)

    def answers(self, entries: Sequence[Entry], answer: Answers) -> Iterator[Any]:
        """What `answer` gives for each recording, or the error of one that ends the process."""
        if self.count <= MAX_TOGETHER:
            yield from answer(entries)
            return
        for entry in entries:
            row = str(entry.row)
            if self.alone.get(row, 0) >= MAX_ALONE:
                yield SerdemoError(f"{entry.file} ended the program that read it.")
                continue
            self.alone[row] = self.alone.get(row, 0) + 1
            self._write()
            yield from answer([entry])
            del self.alone[row]

    def _write(self) -> None:
        write_json(self.path, {"count": self.count, "alone": self.alone})


@contextmanager
def attempt(path: Path) -> Iterator[Attempts]:
    """One more attempt, of which `path` tells until it ends, well or by an exception."""
    before: Any = {}
    with suppress(SerdemoError):
        before = read_json(path) if path.exists() else {}
    own = Attempts(path)
    if isinstance(before, Mapping):
        own.count, own.alone = int(before.get("count", 0)), dict(before.get("alone", {}))
    own.count += 1
    own._write()
    try:
        yield own
    finally:
        path.unlink(missing_ok=True)
