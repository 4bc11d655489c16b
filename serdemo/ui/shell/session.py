"""The page's memory while it runs: its models, the model each visitor chose, and running requests."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import gradio as gr

from serdemo.schema import memory, settings
from serdemo.schema.errors import SerdemoError
from serdemo.ui.shell import zerogpu
from serdemo.ui.shell.activity import Activity

if TYPE_CHECKING:
    from starlette.requests import Request

    from serdemo.inference.live_services import LiveServices
    from serdemo.inference.predictor import Predictor

MAX_VISITORS = 1000  # whose choice is remembered, the latest
MAX_LOADED = 4  # chosen models in memory, the latest used
PROXY_HEADERS = ("forwarded", "via", "x-forwarded", "x-real-ip")  # how a proxy's headers begin


def load_predictor(checkpoint: str | Path | None) -> Predictor:
    """The model of a checkpoint folder, None for the shipped one, on the page's device."""
    from serdemo.inference.predictor import Predictor

    return Predictor(checkpoint, device=zerogpu.page_device(), by_graph=True)


class WarmPredictor:
    """A predictor that is loaded once, in the background, so that the page is served at once."""

    def __init__(self, factory: Callable[[], Predictor]) -> None:
        self._factory = factory
        self._lock = threading.Lock()
        self._predictor: Predictor | None = None
        self.has_failed = False  # when it was last tried
        self._first_page: str | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether `get` returns at once."""
        return self._predictor is not None

    def warm_up(self) -> None:
        """Start loading, and return at once. A failure is raised by `get`."""

        def run() -> None:
            with suppress(SerdemoError):
                self.get()

        threading.Thread(target=run, name="warm-up", daemon=True).start()

    def get(self) -> Predictor:
        """Wait for the predictor. Raises what the factory raises, at each call again."""
        with self._lock:
            if self._predictor is None:
                try:
                    self._predictor = self._factory()
                except Exception:
                    self.has_failed = True
                    raise
                self.has_failed = False
                memory.trim()
            return self._predictor

    def once(self, make: Callable[[Predictor], str]) -> str:
        """Return `make(predictor)`, computed for the first caller and the same for all others.

        Raises what the factory or `make` raises; the next call tries again.
        """
        predictor = self.get()
        with self._lock:
            if self._first_page is None:
                self._first_page = make(predictor)
            return self._first_page


@dataclass(slots=True)
class TrackedRequest:
    """A request of a session among those `running`; `replaced` where a later one of it began."""

    running: dict[str, TrackedRequest]
    session: str
    stopped: bool = False
    replaced: bool = False

    def end(self) -> None:
        """Forget this request."""
        if self.running.get(self.session) is self:
            del self.running[self.session]


class RequestTracker:
    """The running request of each visitor, so that Stop and a newer request can end it."""

    def __init__(self) -> None:
        self._running: dict[str, TrackedRequest] = {}

    def begin(self, session: str | None, *, yielding: bool = False) -> TrackedRequest:
        """Track a new request; the visitor's earlier one, if any, ends without showing an answer, unless
        the new one is `yielding`, which then ends itself."""
        request = TrackedRequest(self._running, session or "")
        if earlier := self._running.get(request.session):
            ended = request if yielding else earlier
            ended.stopped = ended.replaced = True
        if not request.replaced:
            self._running[request.session] = request
        return request

    def stop(self, session: str | None) -> None:
        """End the visitor's request after the file at hand, with the answers so far."""
        if request := self._running.get(session or ""):
            request.stopped = True


class Visitors:
    """The page's own model, and the model chosen by each visitor, known by the session's hash; the
    `activity` of all."""

    def __init__(self, own: WarmPredictor) -> None:
        self.own = own
        self.activity = Activity()
        self._lock = threading.Lock()
        self._chosen: OrderedDict[str, Path] = OrderedDict()
        self._loaded: OrderedDict[Path, WarmPredictor] = OrderedDict()
        self._live_services: LiveServices | None = None

    @property
    def live_services(self) -> LiveServices:
        """The live services of all models, shared by the tabs."""
        from serdemo.inference.live_services import LiveServices

        with self._lock:
            if self._live_services is None:
                self._live_services = LiveServices(MAX_LOADED, settings.live_places())
            return self._live_services

    @property
    def live_works(self) -> bool:
        """Whether the live services answer, as far as they were begun."""
        return self._live_services is None or self._live_services.is_working

    @property
    def n_loaded(self) -> int:
        """How many models are in memory."""
        with self._lock:
            return sum(model.is_loaded for model in (self.own, *self._loaded.values()))

    def of(self, visitor: str | None) -> WarmPredictor:
        """The model that answers this visitor; its `get` waits for it."""
        with self._lock:
            folder = self._chosen.get(visitor or "")
            return self.own if folder is None else self._at(folder)

    def has_chosen(self, visitor: str | None) -> bool:
        """Whether this visitor chose a model."""
        with self._lock:
            return (visitor or "") in self._chosen

    def at(self, folder: Path) -> Predictor:
        """The model of a folder, in memory for a while. Raises SerdemoError as Predictor does."""
        with self._lock:
            model = self._at(folder)
        return model.get()

    def choose(self, visitor: str | None, folder: Path | None) -> Predictor:
        """Answer the visitor by the model of a folder from now on; None is the page's own.

        Raises SerdemoError, and leaves the choice as it was, when there is no model that answers.
        """
        predictor = self.own.get() if folder is None else self.at(folder)
        with self._lock:
            self._chosen.pop(visitor or "", None)
            if folder is not None:
                self._chosen[visitor or ""] = folder
                if len(self._chosen) > MAX_VISITORS:
                    self._chosen.popitem(last=False)
        return predictor

    def forget(self, folder: Path) -> None:
        """Drop the models below a folder that is deleted or replaced: whoever chose one gets the page's."""
        with self._lock:
            for path in [path for path in self._loaded if path.is_relative_to(folder)]:
                del self._loaded[path]
            for visitor, path in list(self._chosen.items()):
                if path.is_relative_to(folder):
                    del self._chosen[visitor]

    def _at(self, folder: Path) -> WarmPredictor:
        model = self._loaded.setdefault(folder, WarmPredictor(partial(load_predictor, folder)))
        self._loaded.move_to_end(folder)
        if len(self._loaded) > MAX_LOADED:
            self._loaded.popitem(last=False)
        return model


def is_local(request: gr.Request | Request, *, program: bool = False) -> bool:
    """Whether the visitor's browser runs on this machine, and this is not a Space.

    With `program`, so does a program on this machine: a POST without an origin, which no browser sends.

    The address alone is no proof: a proxy and a shared link's tunnel end on this machine too, and
    other sites open in the same browser call from here. So no header may show that the call was
    forwarded, and it must come from a page of the very host that it names, one of this machine: all
    that a page asks for is sent by POST, which no browser sends without its origin.
    """
    if settings.on_space() or request.client is None:
        return False
    headers = request.headers
    if any(name.lower().startswith(PROXY_HEADERS) for name in headers):
        return False
    host = headers.get("host", "")
    try:
        name = urlsplit(f"//{host}").hostname or ""
        origin = headers.get("origin", "")
        same_origin = urlsplit(origin).netloc == host or (program and not origin)
        loopback = ip_address(request.client.host).is_loopback
        return loopback and same_origin and (name == "localhost" or ip_address(name).is_loopback)
    except ValueError:
        return False
