"""The tab Live: its layout and its scripts, which call the server by themselves."""

from __future__ import annotations

from typing import Any

import gradio as gr

from serdemo.ui.live.handlers import Live
from serdemo.ui.shell import theme
from serdemo.ui.shell.html import styles_js
from serdemo.ui.shell.page import Page

PARTS = (
    "link",
    "local_microphone",
    "view",
    "calibration",
    "timeline",
    "devices",
    "save",
    "status",
)
SHARED = ("shell/js/upload.js", "shell/js/sound.js", "shell/js/microphone.js")
SCRIPTS = (*SHARED, *(f"live/{part}.js" for part in PARTS), "live/live.js")


def build(page: Page) -> None:
    """Lay the tab out inside the page and connect it."""
    handlers = Live(page.visitors)

    def live(asked: Any, request: gr.Request) -> dict[str, Any]:
        return handlers.call(asked, request)

    gr.HTML(
        "<p>Speak and watch: which emotion your voice carries now, and over the last minute.</p>",
        elem_classes="sd-lead",
        apply_default_css=False,
    )
    gr.HTML(
        html_template=theme.script("live/live.html"),
        js_on_load=styles_js() + "".join(map(theme.script, SCRIPTS)),
        server_functions=[live],
        apply_default_css=False,
        elem_id="live",
    )
