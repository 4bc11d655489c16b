"""The tab Explore: its layout and its scripts, which call the server by themselves."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from serdemo.embeddings.html_map import COLOURS
from serdemo.schema import palette
from serdemo.ui.explore.handlers import Explore
from serdemo.ui.shell import html, theme
from serdemo.ui.shell.page import Page

# The sound and the microphone are those of the tab Live.
SHARED = ("shell/js/upload.js", "shell/js/sound.js", "shell/js/microphone.js")
PARTS = (
    "sprites",
    "scatter",
    "gestures",
    "clips",
    "side",
    "table",
    "player",
    "newcomer",
    "sources",
)
SCRIPTS = (
    *SHARED,
    *(f"explore/{part}.js" for part in PARTS),
    "explore/explore.js",
    "explore/events.js",
)
LEAD = """<p>Thousands of voices, near each other where a model hears them alike: see whether a speaker's
emotions part, hear them, and find where your own voice falls.</p>"""


def build(page: Page) -> None:
    """Lay the tab out inside the page and connect it."""
    handlers = Explore(page)

    def explore(asked: Any, request: gr.Request) -> dict[str, Any]:
        return handlers.call(asked, request)

    gr.HTML(LEAD, elem_classes="sd-lead", apply_default_css=False)
    gr.HTML(
        html_template=theme.script("explore/explore.html"),
        js_on_load=constants() + "".join(map(theme.script, SCRIPTS)),
        server_functions=[explore],
        apply_default_css=False,
        elem_id="explore",
    )


def constants() -> str:
    """What the scripts know beforehand: the palette, and the colours of names beyond it."""
    symbols = {label: look.symbol for label, look in palette.EMOTION_STYLES.items()}
    symbols["other"] = palette.OTHER_STYLE.symbol
    return (
        f"{html.styles_js()}const SYMBOLS = {json.dumps(symbols)};\n"
        f"const COLOURS = {json.dumps(COLOURS)};\n"
    )
