"""What the page remembers while it runs: the one predictor, and each visitor's running job."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import gradio as gr

from serdemo.schema import settings
from serdemo.schema.errors import SerdemoError
from serdemo.ui.live.local_microphone import HANDED_ON
from serdemo.ui.shell import zerogpu

if TYPE_CHECKING:
    from serdemo.inference.predictor import Predictor


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

        try:
            self.get()
        except SerdemoError:
            return


@dataclass(slots=True)
class TrackedRequest:
    """One job of one visitor. `replaced` says that a later one of the same visitor began."""

    runs: RequestTracker
    session: str
    stopped: bool = False
    replaced: bool = field(default=False)

    def end(self) -> None:
        """Forget this run."""
        self.runs.forget(self)


class RequestTracker:
    """The running job of each visitor, so that Stop and a newer job can end it."""

    def __init__(self) -> None:
        self._running: dict[str, TrackedRequest] = {}

    def begin(self, session: str | None, *, yielding: bool = False) -> TrackedRequest:
        """A new run; the visitor's earlier one, if any, ends without showing an answer.

        One that is `yielding` gives way to an earlier one too.
        """
        run = TrackedRequest(self, session or "")
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

    def forget(self, run: TrackedRequest) -> None:
        """Drop a run that has ended."""
        if self._running.get(run.session) is run:
            del self._running[run.session]


pass

if TYPE_CHECKING:
    from serdemo.inference.predictor import Predictor

MOST_VISITORS = 1000  # of whom a choice is remembered, the latest
MOST_LOADED = 4  # chosen models held in memory, the latest used


class Visitors:
    """The page's own model, and the choice of each visitor, known by the session's hash."""

    def __init__(self, own: WarmPredictor) -> None:
        self.own = own
        self._lock = threading.Lock()
        self._chosen: OrderedDict[str, Path] = OrderedDict()
        self._loaded: OrderedDict[Path, WarmPredictor] = OrderedDict()

    def of(self, visitor: str | None) -> WarmPredictor:
        """The model that answers this visitor; its `get` waits for it."""
        with self._lock:
            folder = self._chosen.get(visitor or "")
            return self.own if folder is None else self._at(folder)

    def at(self, folder: Path) -> Predictor:
        """The model of a folder, kept in memory for a while. Raises SerdemoError as Predictor does."""
        with self._lock:
            found = self._at(folder)
        return found.get()

    def choose(self, visitor: str | None, folder: Path | None) -> Predictor:
        """Answer the visitor by the model of a folder from now on; None is the page's own.

        Raises SerdemoError, and leaves the choice as it was, when there is no model that answers.
        """
        predictor = self.own.get() if folder is None else self.at(folder)
        with self._lock:
            self._chosen.pop(visitor or "", None)
            if folder is not None:
                self._chosen[visitor or ""] = folder
                while len(self._chosen) > MOST_VISITORS:
                    self._chosen.popitem(last=False)
        return predictor

    def forget(self, folder: Path) -> None:
        """Drop the models in a folder that is deleted or replaced; who chose one is answered by the
        page's own."""
        with self._lock:
            for kept in [kept for kept in self._loaded if kept.is_relative_to(folder)]:
                del self._loaded[kept]
            for who in [who for who, kept in self._chosen.items() if kept.is_relative_to(folder)]:
                del self._chosen[who]

    def _at(self, folder: Path) -> WarmPredictor:
        def load() -> Predictor:
            from serdemo.inference.predictor import Predictor

            return Predictor(folder, device=zerogpu.page_device())

        found = self._loaded.setdefault(folder, WarmPredictor(load))
        self._loaded.move_to_end(folder)
        while len(self._loaded) > MOST_LOADED:
            self._loaded.popitem(last=False)
        return found


if TYPE_CHECKING:
    pass


def is_local(request: gr.Request) -> bool:
    """Whether the visitor's browser runs on this machine, and this is not a Space.

    The address alone does not tell: a proxy and a shared link's tunnel end on this machine too, and
    other sites open in the same browser call from here. So nothing may say that the call was handed
    on, and it must come from a page of the very host that it names, one of this machine: all that a
    page asks for is sent by POST, which no browser sends without its origin.
    """
    if settings.on_space() or request.client is None:
        return False
    headers = request.headers
    if any(name.lower().startswith(HANDED_ON) for name in headers):
        return False
    host = headers.get("host", "")
    try:
        name = urlsplit(f"//{host}").hostname or ""
        same = urlsplit(headers.get("origin", "")).netloc == host
        near = ip_address(request.client.host).is_loopback
        return near and same and (name == "localhost" or ip_address(name).is_loopback)
    except ValueError:
        return False
