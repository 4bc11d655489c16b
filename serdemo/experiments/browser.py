"""Answers in Chromium beside those of Python: bytes loaded, delay of the first answer, speed, equality."""

from __future__ import annotations

import base64
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
import soundfile
import torch
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serdemo.cli.options import JSON, ROOT, corpus_option, number_option, print_figures
from serdemo.data.corpora import loading
from serdemo.inference.predictor import Predictor, bundled_checkpoint
from serdemo.inference.speed import window_cost_s
from serdemo.nn.checkpoint_files import SHIPPED, SMALLEST
from serdemo.schema.errors import SerdemoError
from serdemo.schema.libraries import import_failure
from serdemo.schema.settings import data_root
from serdemo.ui.browser import files
from serdemo.ui.shell import scripts

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
TIMEOUT_MS = 120_000
ROUNDS = 3
_PAGE = """<!doctype html><meta charset="utf-8"><title>serdemo</title><link rel="icon" href="data:,">
<script type="module">
import {{ BrowserModels }} from "./{folder}/browser/remote.js";
const floats = (text) => new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
window.models = (options) => new BrowserModels({{ manifest: {manifest}, ...options }});
window.decoded = ({{ channels, ...sound }}) => ({{ ...sound, channels: channels.map(floats), notes: [] }});
</script>"""
_READY = "() => window.models !== undefined"
_FIRST = """async ({ sound, model, threads }) => {
  window.running ??= models({ threads: threads ?? undefined });
  const { prediction } = await running.recognise(decoded(sound), undefined, { model });
  return prediction;
}"""
_COST = "async (model) => running.load([model])"


class BarePage:
    """A page with the models for browsers and nothing else, and the bytes that it `sent`.

    `isolated` serves it with the headers that allow threads.
    """

    def __init__(self, isolated: bool = False) -> None:
        self.sent = 0
        self.url = ""
        self._headers = ISOLATION if isolated else {}
        routes = [Route("/", self._page), scripts.route(), files.route()]
        self.app = Starlette(routes=routes, middleware=[Middleware(_Counted, self)])

    def _page(self, _: Request) -> Response:
        folder = f"{scripts.ADDRESS}/{scripts.digest()}"
        return HTMLResponse(_PAGE.format(folder=folder, manifest=json.dumps(files.manifest())))

    def note(self, message: Message) -> Message:
        """Count the bytes of a message, and add the page's headers."""
        if message["type"] == "http.response.start":
            own = [(key.lower().encode(), value.encode()) for key, value in self._headers.items()]
            return {**message, "headers": [*message["headers"], *own]}
        self.sent += len(message.get("body", b""))
        return message


class _Counted:
    def __init__(self, app: ASGIApp, page: BarePage) -> None:
        self.app, self.page = app, page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def noted(message: Message) -> None:
            await send(self.page.note(message))

        await self.app(scope, receive, noted)


@contextmanager
def serving(isolated: bool = False) -> Iterator[BarePage]:
    """Serve a `BarePage` on a free port of this machine until the block ends."""
    page = BarePage(isolated)
    server = uvicorn.Server(uvicorn.Config(page.app, port=0, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    page.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    try:
        yield page
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)


def decoded(path: Path) -> dict[str, Any]:
    """A recording as a browser decodes it, its channels (float32) in base64; raises SerdemoError."""
    try:
        frames, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as problem:
        raise SerdemoError(f"{path.name} cannot be read: {problem}.") from problem
    channels = [base64.b64encode(np.ascontiguousarray(c).tobytes()).decode() for c in frames.T]
    return {"name": path.name, "rate": rate, "channels": channels}


def answer(page: Any, path: Path, model: str, threads: int | None = None) -> dict[str, Any]:
    """Prediction of a recording by a `BarePage` that is open in playwright's `page`."""
    page.wait_for_function(_READY)
    request = {"sound": decoded(path), "model": model, "threads": threads}
    prediction: dict[str, Any] = page.evaluate(_FIRST, request)
    return prediction


def measure(model: str, clips: Sequence[Path], threads: int, browser: Any) -> dict[str, Any]:
    """Figures of one model in a `browser` of playwright and in Python, in turn.

    `loaded_mb` is all that the page loads before its first answer, `first_s` the time from opening the
    page, with its files in the browser's cache, to that answer, `window_ms` that of a window of 3 s;
    `largest_difference` is between probabilities of the `clips`, `same_label` counts equal labels.
    """
    torch.set_num_threads(threads)
    with serving(isolated=threads > 1) as served:
        context = browser.new_context()
        context.set_default_timeout(TIMEOUT_MS)
        first = []
        loaded = 0
        for number in range(ROUNDS + 1):
            page = context.new_page()
            began = time.perf_counter()
            page.goto(served.url)
            answer(page, clips[0], model, threads)
            first.append(time.perf_counter() - began)
            if number == 0:
                loaded = served.sent
            if number < ROUNDS:
                page.close()
        state = page.evaluate(_COST, model)
        predictions = [answer(page, clip, model, threads) for clip in clips]
        context.close()
    began = time.perf_counter()
    predictor = Predictor(bundled_checkpoint(model), device="cpu")
    predictor.predict(clips[0])
    python_first = time.perf_counter() - began
    references = [predictor.predict(clip).to_json() for clip in clips]
    pairs = list(zip(predictions, references, strict=True))
    return {
        "loaded_mb": round(loaded / 1e6, 1),
        "first_s": round(median(first[1:]), 2),
        "python_first_s": round(python_first, 2),
        "window_ms": round(1000 * state["costs"][model]),
        "python_window_ms": round(1000 * window_cost_s(predictor)),
        "threads": state["threads"],
        "clips": len(clips),
        "largest_difference": max(_difference(*pair) for pair in pairs),
        "same_label": sum(ours["label"] == theirs["label"] for ours, theirs in pairs),
    }


def _difference(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    """Largest difference between the probabilities of two predictions."""
    pairs = [(ours["probabilities"][label], p) for label, p in theirs["probabilities"].items()]
    return round(max(abs(a - b) for a, b in pairs), 7)


def clips_of(corpus: str, root: Path | None, count: int) -> list[Path]:
    """Up to `count` recordings, evenly from all of a corpus."""
    paths = [Path(clip.path) for clip in loading.load_many(corpus, root)]
    return paths[:: max(1, len(paths) // count)][:count]


@contextmanager
def chromium() -> Iterator[Any]:
    """Chromium driven by playwright; raises SerdemoError where one of both is missing."""
    try:
        playwright = import_module("playwright.sync_api")
    except ImportError as problem:
        raise (import_failure(problem) or problem) from problem
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise SerdemoError("Chromium is not installed: install it, with its program on the PATH.")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@click.command("browser")
@click.option("--model", default=f"{SMALLEST},{SHIPPED}", show_default=True, help="Shipped models.")
@corpus_option("ravdess")
@ROOT
@number_option("--clips", 200, 1, 100_000, "Clips of the corpus.")
@number_option("--threads", 1, 1, 4, "Threads of both.")
@JSON
def command(
    model: str, corpus: str, root: Path | None, clips: int, threads: int, as_json: bool
) -> None:
    """Answers in Chromium, beside Python's: bytes loaded, first answer, speed, equality."""
    paths = clips_of(corpus, data_root(root), clips)
    with chromium() as browser:
        figures = {name: measure(name, paths, threads, browser) for name in model.split(",")}
    print_figures({**figures, "cores": os.cpu_count()}, as_json)
