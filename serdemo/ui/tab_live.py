"""The tab Live: its layout and its scripts, which call the server by themselves."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from serdemo import palette
from serdemo.schema import EMOTIONS
from serdemo.ui import figures, theme
from serdemo.ui.live import Live
from serdemo.ui.page import Page

PARTS = (
    "sound",
    "microphone",
    "link",
    "desk",
    "view",
    "neutral",
    "timeline",
    "devices",
    "save",
    "told",
)
SCRIPTS = ("sending.js", *(f"live_{part}.js" for part in PARTS), "live.js")


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
        html_template=theme.script("live.html"),
        js_on_load=looks() + "".join(map(theme.script, SCRIPTS)),
        server_functions=[live],
        apply_default_css=False,
        elem_id="live",
    )


def looks() -> str:
    """The palette for the scripts: of each label its colour and its marker."""
    shown = {
        label: {"colour": palette.look(label).colour, "marker": figures.marker(label)}
        for label in (*EMOTIONS, "other")
    }
    return f"const LOOKS = {json.dumps(shown)};\nconst LABELS = {json.dumps(EMOTIONS)};\n"
