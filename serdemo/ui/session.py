"""What the page remembers while it runs: the one predictor, and each visitor's running job."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serdemo.predict import Predictor


class WarmPredictor:
    """A predictor made once, in the background, so that the page never waits to be served."""

    def __init__(self, factory: Callable[[], Predictor]) -> None:
        self._factory = factory
        self._lock = threading.Lock()
        self._predictor: Predictor | None = None
        self._made: str | None = None

    def warm_up(self) -> None:
        """Start loading, and return at once. A failure is told by `get`."""
        threading.Thread(target=self._try, name="warm-up", daemon=True).start()

    def get(self) -> Predictor:
        """Wait for the predictor. Raises what the factory raises, anew at each call."""
        with self._lock:
            if self._predictor is None:
                self._predictor = self._factory()
            return self._predictor

    def once(self, make: Callable[[Predictor], str]) -> str:
        """What `make` makes of the predictor: made for the first who asks, kept for all others.

        Raises what the factory or `make` raises, and makes it anew at the next call.
        """
        predictor = self.get()
        with self._lock:
            if self._made is None:
                self._made = make(predictor)
            return self._made

    def _try(self) -> None:
        from serdemo.schema import SerdemoError

        try:
            self.get()
        except SerdemoError:
            return


@dataclass(slots=True)
class Run:
    """One job of one visitor. `replaced` says that a later one of the same visitor began."""

    runs: Runs
    session: str
    stopped: bool = False
    replaced: bool = field(default=False)

    def end(self) -> None:
        """Forget this run."""
        self.runs.forget(self)


class Runs:
    """The running job of each visitor, so that Stop and a newer job can end it."""

    def __init__(self) -> None:
        self._running: dict[str, Run] = {}

    def begin(self, session: str | None, *, yielding: bool = False) -> Run:
        """A new run; the visitor's earlier one, if any, ends without showing an answer.

        One that is `yielding` gives way to an earlier one too.
        """
        run = Run(self, session or "")
        earlier = self._running.get(run.session)
        if earlier and yielding:
            run.stopped = run.replaced = True
            return run
        if earlier:
            earlier.stopped = earlier.replaced = True
        self._running[run.session] = run
        return run

    def stop(self, session: str | None) -> None:
        """End the visitor's run after the file at hand, keeping what is answered."""
        if run := self._running.get(session or ""):
            run.stopped = True

    def forget(self, run: Run) -> None:
        """Drop a run that has ended."""
        if self._running.get(run.session) is run:
            del self._running[run.session]
