"""The route of live sound: a piece of it as raw bytes for a POST, without gradio's queue, threads and JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

ADDRESS = "serdemo-live"
MAX_BYTES = 3_000_000  # of one piece: some seconds at any rate a browser knows
TOO_LARGE = f"A piece of sound has at most {MAX_BYTES / 1e6:.0f} MB: send less."
NO_SAMPLES = "A piece of sound is 16-bit samples, with their number as `sequence`: reload the page."


def route(call: Callable[[dict[str, Any], None], dict[str, Any]]) -> Route:
    """The route `serdemo-live/STREAM?sequence=N&since=SECONDS` of a POST with 16-bit mono samples.

    `call` answers the call "push" of the tab Live with what becomes the JSON.
    """

    async def take(request: Request) -> Response:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MAX_BYTES:
                return JSONResponse({"refused": TOO_LARGE}, 413)
        try:
            sequence = int(request.query_params["sequence"])
            since = float(request.query_params.get("since", 0.0))
            samples = np.frombuffer(body, "<i2")
        except (KeyError, ValueError):
            return JSONResponse({"refused": NO_SAMPLES}, 400)
        piece = {"stream": request.path_params["stream"], "sequence": sequence, "since": since}
        # It takes less than a millisecond, less than handing it to a thread.
        return JSONResponse(call({"call": "push", **piece, "samples": samples}, None))

    return Route(f"/{ADDRESS}/{{stream}}", take, methods=["POST"])
