"""Long work of a request in a thread of its own, so that the page can show how far it is."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from typing import TypeVar

from serdemo.ui.shell.session import TrackedRequest

Result = TypeVar("Result")
Progress = Callable[[float, float | None], None]
EVERY_S = 0.5


class StoppedError(Exception):
    """The visitor stopped the work, or left."""


def followed(
    work: Callable[[Progress], Result], run: TrackedRequest
) -> Generator[tuple[float, float | None], None, Result]:
    """Run `work(progress)`, yielding what it reports: seconds done, and in all if known.

    Raises what `work` raises, and StoppedError from within its next report once `run` is stopped.
    """
    latest: tuple[float, float | None] = (0.0, None)
    left = False

    def progress(done_s: float, total_s: float | None = None) -> None:
        nonlocal latest
        latest = done_s, total_s
        if left or run.stopped:
            raise StoppedError

    with ThreadPoolExecutor(1, "recognise") as pool:
        future = pool.submit(work, progress)
        try:
            while True:
                try:
                    return future.result(EVERY_S)
                except NotYet:
                    if future.done():  # the work's own error
                        raise
                    yield latest
        finally:
            left = True
