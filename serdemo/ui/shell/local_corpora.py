"""The known corpora on this machine, which each visitor may choose from."""

from __future__ import annotations

import threading
import time

from serdemo.data import corpora
from serdemo.schema.settings import data_root

SEARCH_S = 30.0  # between two searches of the data folder: a large one takes seconds


class LocalCorpora:
    """The known corpora under SERDEMO_DATA, for all visitors of a page; use it from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._searched: tuple[str, float] | None = None  # the folder, and the end of the search
        self._choices: list[tuple[str, str]] = []

    def choices(self) -> list[tuple[str, str]]:
        """(title with the number of clips, name) of each corpus, as found at most SEARCH_S ago."""
        folder = str(data_root(None))
        with self._lock:
            if (
                self._searched is None
                or self._searched[0] != folder
                or time.monotonic() - self._searched[1] > SEARCH_S
            ):
                self._choices = corpora.available_corpora()
                self._searched = (folder, time.monotonic())
            return list(self._choices)
