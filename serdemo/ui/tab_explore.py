"""The tab Explore: its layout and its scripts, which call the server by themselves."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from serdemo import palette
from serdemo.explore.maps import COLOURS
from serdemo.ui import tab_live, theme
from serdemo.ui.explore import Explore
from serdemo.ui.page import Page

# The sound and the microphone are those of the tab Live.
SHARED = ("sending.js", "live_sound.js", "live_microphone.js")
PARTS = ("sprites", "scatter", "hand", "data", "side", "table", "clip", "voice", "sources")
SCRIPTS = (*SHARED, *(f"explore_{part}.js" for part in PARTS), "explore.js", "explore_events.js")
LEAD = """<p>Thousands of voices, near each other where a model hears them alike: see whether a speaker's
emotions part, hear them, and find where your own voice falls.</p>"""


def build(page: Page) -> None:
    """Lay the tab out inside the page and connect it."""
    handlers = Explore(page)

    def explore(asked: Any, request: gr.Request) -> dict[str, Any]:
        return handlers.call(asked, request)

    gr.HTML(LEAD, elem_classes="sd-lead", apply_default_css=False)
    gr.HTML(
        html_template=theme.script("explore.html"),
        js_on_load=constants() + "".join(map(theme.script, SCRIPTS)),
        server_functions=[explore],
        apply_default_css=False,
        elem_id="explore",
    )


def constants() -> str:
    """What the scripts know beforehand: the palette, and the colours of names beyond it."""
    symbols = {label: look.symbol for label, look in palette.EMOTION_LOOKS.items()}
    symbols["other"] = palette.OTHER_LOOK.symbol
    return (
        f"{tab_live.looks()}const SYMBOLS = {json.dumps(symbols)};\n"
        f"const COLOURS = {json.dumps(COLOURS)};\n"
    )
