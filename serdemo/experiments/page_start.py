"""Start-up time of the page beside that of a bare `gr.Interface`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from statistics import median
from typing import Any

import click

from serdemo.cli.options import JSON, number_option, print_figures
from serdemo.experiments.page_client import free_port
from serdemo.schema.errors import SerdemoError

BARE = "import gradio as gr; gr.Interface(lambda text: text, 'text', 'text').launch()"
TIMEOUT_S = 120.0


def start(rounds: int) -> dict[str, Any]:
    """Median seconds from the start of a process until its page is sent, for both pages, and the ratio.

    The pages are started in turn, `rounds` times each after a warm-up.

    Raises SerdemoError where one of them is not served.
    """
    commands = {"gradio_s": ["-c", BARE], "page_s": ["-m", "serdemo", "app"]}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            elapsed = _served_after(command)
            if number:
                seconds[name].append(elapsed)
    bare, page = (median(times) for times in seconds.values())
    return {
        "page_s": round(page, 2),
        "gradio_s": round(bare, 2),
        "ratio": round(page / bare, 2),
        "rounds": rounds,
    }


def _served_after(arguments: Sequence[str]) -> float:
    """Seconds from the start of a process of this Python until its page is sent."""
    port = free_port()
    settings = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port)}
    settings["GRADIO_ANALYTICS_ENABLED"] = "False"
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while process.poll() is None and time.monotonic() - began < TIMEOUT_S:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=5) as page:
                    page.read()
                return time.monotonic() - began
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
        raise SerdemoError(f"The page of {' '.join(arguments[:3])} was not served: start it alone.")
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()


@click.command("start")
@number_option("--rounds", 7, 1, 100, "Starts of each.")
@JSON
def command(rounds: int, as_json: bool) -> None:
    """Start-up time of the page, beside a bare Gradio page's."""
    print_figures(start(rounds), as_json)
