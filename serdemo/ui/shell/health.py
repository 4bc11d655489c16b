"""`/healthz`: whether the page can answer, for whoever runs it. It needs no thread and no queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from serdemo import __version__

if TYPE_CHECKING:
    from serdemo.ui.shell.session import Visitors

ADDRESS = "/healthz"
NO_MODEL = "The model could not be loaded: the page's log says why."
NO_LIVE = "Live sound is no longer answered: start the page anew."


def health(visitors: Visitors) -> dict[str, Any]:
    """`status`: "ok"; "starting" until the model is loaded; "failing", with the `reason`. Nothing in it
    is of a visitor or of this machine."""
    reason = NO_MODEL if visitors.own.has_failed else "" if visitors.live_works else NO_LIVE
    loaded = visitors.own.is_loaded
    return {
        "status": "failing" if reason else "ok" if loaded else "starting",
        "version": __version__,
        "uptime_s": round(visitors.activity.uptime_s, 1),
        "model_loaded": loaded,
        **({"reason": reason} if reason else {}),
    }


def route(visitors: Visitors) -> Route:
    """The route of a page: 200 where it is well, else 503."""

    async def answer(_: Request) -> JSONResponse:
        found = health(visitors)
        status = 200 if found["status"] == "ok" else 503
        return JSONResponse(found, status, {"Cache-Control": "no-store"})

    return Route(ADDRESS, answer)
