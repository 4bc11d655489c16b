"""Calls of programs that fail before an endpoint is reached: sentences for "Internal Server Error"."""

from __future__ import annotations

from gradio.route_utils import FnIndexInferError
from starlette.requests import Request
from starlette.responses import JSONResponse

NO_ENDPOINT = "There is no endpoint of this name: /gradio_api/info lists those there are."


def no_endpoint(_: Request, problem: Exception) -> JSONResponse:
    """The response to a call of an endpoint that does not exist."""
    return JSONResponse({"detail": NO_ENDPOINT}, 404)


def wrong_arguments(request: Request, problem: Exception) -> JSONResponse:
    """The response to a call whose named arguments gradio cannot assign."""
    if "/call/v2/" not in request.url.path:
        raise problem
    if isinstance(problem, KeyError):
        return no_endpoint(request, problem)
    return JSONResponse({"detail": str(problem)}, 422)


# Failures before an endpoint is reached, which gradio answers with "Internal Server Error".
EXCEPTION_HANDLERS = {
    FnIndexInferError: no_endpoint,
    KeyError: wrong_arguments,
    TypeError: wrong_arguments,
}
