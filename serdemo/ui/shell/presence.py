"""Who is here: the sessions that have shown a sign of life, and whose they are."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

from serdemo.ui.shell import visitor_store
from serdemo.ui.shell.visitor_store import LEFT_S

MAX_SESSIONS = 10_000  # the latest that showed a sign of life
NOTED_S = 5.0  # between two notes of the same session


class Presence:
    """The sessions of one page. An open page shows a sign of life each minute; use it from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def note(self, session: str | None, owner: str = "") -> None:
        """Note a sign of life of a session, which is `owner`'s, by the token of the browser, if that is
        known; a visitor's files stay as long as there are such signs."""
        if not session:
            return
        now = time.monotonic()
        with self._lock:
            at, known = self._sessions.pop(session, (-NOTED_S, ""))
            owner, is_new = owner or known, owner not in ("", known)
            is_due = now - at >= NOTED_S or is_new
            self._sessions[session] = (now if is_due else at, owner)
            if len(self._sessions) > MAX_SESSIONS:
                self._sessions.popitem(last=False)
        if owner and is_due:
            visitor_store.note_presence(owner)

    def owner_of(self, session: str) -> str:
        """The token of a session's visitor, "" where it is not known."""
        with self._lock:
            return self._sessions.get(session, (0.0, ""))[1]

    def is_here(self, session: str) -> bool:
        """Whether a session has shown a sign of life of late."""
        with self._lock:
            at, _ = self._sessions.get(session, (-LEFT_S, ""))
            return time.monotonic() - at < LEFT_S
