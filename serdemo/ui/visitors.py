"""Which model answers whom: the page's own, unless a visitor chose another."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from serdemo.ui import zerogpu
from serdemo.ui.session import WarmPredictor

if TYPE_CHECKING:
    from serdemo.predict import Predictor

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
            from serdemo.predict import Predictor

            return Predictor(folder, device=zerogpu.page_device())

        found = self._loaded.setdefault(folder, WarmPredictor(load))
        self._loaded.move_to_end(folder)
        while len(self._loaded) > MOST_LOADED:
            self._loaded.popitem(last=False)
        return found
