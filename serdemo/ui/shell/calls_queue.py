"""gradio's queue of calls, without what a visitor could break it with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gradio.queueing import Queue

from serdemo.ui.shell.call_errors import NO_CALL

if TYPE_CHECKING:
    from gradio.data_classes import PredictBodyInternal

SESSION = re.compile(r"[\w-]{1,64}", re.ASCII)  # as gradio's clients name one
MAX_EVENTS = (
    0  # whose times gradio keeps, with the names of sessions, to compute statistics after each call
)
# Between two looks at an empty queue. gradio looks a thousand times a second, which takes a tenth of a slow
# core while nobody is there.
LOOK_S = 0.02


def harden(queue: Queue) -> None:
    """Let a queue refuse calls of sessions with impossible names, keep no list of calls, and rest.

    gradio ends a call by statistics of the last 10,000: where they fail, as for a name that is no
    text, the call never ends, and that of no later one either.
    """
    queue.ANALYTICS_MAX_EVENTS = MAX_EVENTS
    queue.sleep_when_free = LOOK_S
    push = queue.push

    async def checked(body: PredictBodyInternal, *args: Any, **options: Any) -> Any:
        if body.session_hash is not None and not SESSION.fullmatch(body.session_hash):
            return False, NO_CALL, "error"
        return await push(body, *args, **options)

    queue.push = checked  # type: ignore[method-assign]
