"""Calls that fail before their function is reached: sentences for "Internal Server Error"."""

from __future__ import annotations

import logging

from gradio.route_utils import API_PREFIX, FnIndexInferError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serdemo.schema.errors import trace
from serdemo.ui.shell.served_paths import route_path
from serdemo.ui.shell.uploads import FAULT

NO_ENDPOINT = "There is no endpoint of this name: /gradio_api/info lists those there are."
NO_FUNCTION = "The app was started anew since this page was loaded: load the page again."
NO_CALL = "This is no call that the page knows: load the page again."
RUN = f"{API_PREFIX}/run/"

log = logging.getLogger(__name__)


def no_endpoint(_: Request, problem: Exception) -> JSONResponse:
    """The response to a call of an endpoint that does not exist."""
    return JSONResponse({"detail": NO_ENDPOINT}, 404)


def no_function(request: Request, problem: Exception) -> JSONResponse:
    """The response to a call of a function by a name or number that gradio does not know."""
    path = request.url.path
    # A page calls by number. Those of its dynamic parts end with its session: when it is closed while
    # a call is on its way, or when the server is started anew.
    if path.endswith(f"{API_PREFIX}/queue/join"):
        return JSONResponse({"detail": NO_FUNCTION}, 404)
    if any(f"{API_PREFIX}/{route}/" in path for route in ("call", "run")):
        return no_endpoint(request, problem)
    raise problem


def wrong_arguments(request: Request, problem: Exception) -> JSONResponse:
    """The response to a call whose named arguments gradio cannot assign."""
    if "/call/v2/" not in request.url.path:
        raise problem
    return JSONResponse({"detail": str(problem)}, 422)


# Failures before an endpoint is reached, which gradio answers with "Internal Server Error".
EXCEPTION_HANDLERS = {
    FnIndexInferError: no_endpoint,
    KeyError: no_function,
    TypeError: wrong_arguments,
}


class OneSentence:
    """ASGI middleware that answers with one sentence where gradio fails to read a call, or fails otherwise."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        path, answering = route_path(scope), False

        async def answered(message: Message) -> None:
            nonlocal answering
            answering = True
            if path.startswith(RUN) and message.get("status") == 500:
                message = {**message, "status": 422}  # gradio's status of a refusal
            await send(message)

        try:
            await self.app(scope, receive, answered)
        except ClientDisconnect:
            return
        except Exception as problem:
            if answering:  # gradio has sent its reason, as of a stream of events that is not there
                return await send({"type": "http.response.body", "body": b""})
            if scope["method"] == "POST" and path.startswith(API_PREFIX):
                log.warning("serdemo: no call of %s: %s", path, type(problem).__name__)
                response = JSONResponse({"detail": NO_CALL}, 422)
            else:
                log.error("a request failed: %s", trace(problem))
                response = JSONResponse({"detail": FAULT}, 500)
            await response(scope, receive, send)
