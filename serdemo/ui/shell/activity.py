"""What a page is asked for: its requests, counted and timed by tab, call and outcome, and logged."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gradio as gr

import serdemo
from serdemo.schema.errors import SerdemoError, trace
from serdemo.schema.histogram import Histogram
from serdemo.ui.shell.uploads import FAULT

Outcome = Literal["answered", "refused", "failed", "stopped"]

DURATIONS_S = (0.005, 0.02, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
# Sent by a page all the time: where they are answered, the log holds them at the level `debug` alone.
FREQUENT = {"push", "live_push", "read_local", "voice", "progress", "hearing", "refresh"}
PACKAGE = Path(serdemo.__file__).parent.parent

log = logging.getLogger(__name__)
_current: ContextVar[Request | None] = ContextVar("request", default=None)


@dataclass(slots=True, weakref_slot=True)
class Request:
    """A request of a tab, and how it ended. `raised_at` is the line that refused it."""

    tab: str
    call: str
    begun: float
    outcome: Outcome = "answered"
    raised_at: str = ""
    problem: BaseException | None = None  # that made it fail

    def end(self, problem: BaseException) -> None:
        """Take the outcome from an error: a sentence for the visitor is a refusal."""
        sentence = isinstance(problem, gr.Error) and problem.message != FAULT
        cause = (isinstance(problem, gr.Error) and problem.__cause__) or problem
        if sentence or isinstance(problem, SerdemoError):
            self.outcome, self.raised_at = "refused", _place(cause)
        elif isinstance(problem, Exception):
            self.outcome, self.problem = "failed", cause
        else:
            self.outcome = "stopped"


class Activity:
    """The requests of one page so far. Use it from any thread."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._lock = threading.Lock()
        self._outcomes: Counter[tuple[str, str, Outcome]] = Counter()
        self._durations: dict[tuple[str, str], Histogram] = {}

    @property
    def uptime_s(self) -> float:
        """Seconds since the page was made."""
        return time.monotonic() - self._begun

    @property
    def outcomes(self) -> dict[tuple[str, str, Outcome], int]:
        """How many requests ended, by tab, call and outcome."""
        with self._lock:
            return dict(self._outcomes)

    @property
    def durations_s(self) -> dict[tuple[str, str], Histogram]:
        """How long they took, by tab and call."""
        with self._lock:
            return dict(self._durations)

    @contextmanager
    def request(self, tab: str, call: str) -> Iterator[Request]:
        """Count what the block does as one request, an error that leaves it as its outcome."""
        request = begin(tab, call)
        try:
            with answering(request):
                yield request
        finally:
            self.end(request)

    def end(self, request: Request) -> None:
        """Count and log a request that is over."""
        duration_s = time.monotonic() - request.begun
        key = (request.tab, request.call)
        with self._lock:
            self._outcomes[*key, request.outcome] += 1
            durations = self._durations.setdefault(key, Histogram(DURATIONS_S))
        durations.add(duration_s)
        level = logging.ERROR if request.outcome == "failed" else logging.INFO
        if request.outcome == "answered" and request.call in FREQUENT:
            level = logging.DEBUG
        if log.isEnabledFor(level):
            fields: dict[str, Any] = {
                "tab": request.tab,
                "call": request.call,
                "outcome": request.outcome,
                "duration_s": round(duration_s, 4),
            }
            if request.raised_at:
                fields["raised_at"] = request.raised_at
            if request.problem:
                log.error("a request failed: %s", trace(request.problem), extra={"fields": fields})
            else:
                log.log(level, "request", extra={"fields": fields})


def names(function: Callable[..., Any] | None) -> tuple[str, str]:
    """Tab and call of a function of the page: the package that it is in, and its name."""
    module = getattr(function, "__module__", None) or ""
    packages = module.split(".")[2:-1]
    tab = packages[0] if packages and packages[0] != "shell" else "page"
    name = getattr(function, "__name__", "other").removeprefix("on_")
    return tab, name if name.isidentifier() else "other"


def begin(tab: str, call: str) -> Request:
    """A request that begins now."""
    return Request(tab, call, time.monotonic())


@contextmanager
def answering(request: Request) -> Iterator[None]:
    """Answer a request, or a step of it, in the block; an error that leaves it decides the outcome."""
    token = _current.set(request)
    try:
        yield
    except BaseException as problem:
        request.end(problem)
        raise
    finally:
        with suppress(ValueError):  # a generator may be closed in another context
            _current.reset(token)


def note_refusal() -> None:
    """Mark the request that is being answered as refused, or as failed where an unexpected error is
    being handled: whoever shows the sentence of an error in place of an answer."""
    if (request := _current.get()) is not None:
        request.end(sys.exception() or SerdemoError())
        request.problem = None  # whoever handles an unexpected error logs it


def _place(problem: BaseException) -> str:
    """File and line of the package that raised an error, "" for none."""
    trace, place = problem.__traceback__, ""
    while trace is not None:
        with suppress(ValueError):
            file = Path(trace.tb_frame.f_code.co_filename).relative_to(PACKAGE)
            place = f"{file.as_posix()}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
