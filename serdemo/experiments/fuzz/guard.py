"""The bounds within which an input is read: nothing written outside of a folder, no network."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Events of Python whose first arguments are paths that are changed, and how many.
CHANGES = {
    "os.remove": 1,
    "os.rename": 2,
    "os.mkdir": 1,
    "os.rmdir": 1,
    "os.link": 2,
    "os.symlink": 2,
    "os.chmod": 1,
    "os.truncate": 1,
    "shutil.rmtree": 1,
}
NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.bind", "urllib.Request")


class TrespassError(BaseException):
    """An input was about to be written outside of its folder, or to reach the network.

    No `Exception`: whoever catches those must not hide it.
    """


class Guard:
    """Watches what Python opens, changes and connects to while `within` is active.

    A hook of Python cannot be taken off again: make one in a process of its own.
    """

    def __init__(self, *allowed: Path) -> None:
        self._allowed = tuple(os.path.realpath(folder) for folder in allowed)
        self._active = False
        self.found: str | None = None
        sys.addaudithook(self._hook)

    @contextmanager
    def within(self) -> Iterator[None]:
        """Watch; raises `TrespassError` where something was done that is not allowed."""
        self.found, self._active = None, True
        try:
            yield
        finally:
            self._active = False
        if self.found:
            raise TrespassError(self.found)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._active:
            return
        if event in NETWORK:
            self._refuse(f"{event} {arguments[1:]}")
        elif event == "open":
            path, mode, flags = arguments
            if isinstance(path, str | bytes) and _writes(mode, flags):
                self._check(path)
        elif event in CHANGES:
            for path in arguments[: CHANGES[event]]:
                self._check(path)

    def _check(self, path: Any) -> None:
        if not isinstance(path, str | bytes | os.PathLike) or os.fsdecode(path) == os.devnull:
            return
        full = os.path.realpath(os.fsdecode(path))
        if not any(full == folder or full.startswith(folder + os.sep) for folder in self._allowed):
            self._refuse(f"writes {full}")

    def _refuse(self, what: str) -> None:
        self.found = what
        raise TrespassError(what)


def _writes(mode: Any, flags: Any) -> bool:
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & WRITES)
