"""Calls that fail before their function is reached: sentences for "Internal Server Error"."""

from __future__ import annotations

from gradio.route_utils import API_PREFIX, FnIndexInferError
from starlette.requests import Request
from starlette.responses import JSONResponse

NO_ENDPOINT = "There is no endpoint of this name: /gradio_api/info lists those there are."
NO_FUNCTION = "The app was started anew since this page was loaded: load the page again."


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
    if any(f"{API_PREFIX}/{route}/" in path for route in ("call", "run", "api")):
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
