"""The tab Explore: its layout; its script calls the server by itself."""

from __future__ import annotations

from typing import Any

import gradio as gr

from serdemo.embeddings.html_map import COLOURS
from serdemo.schema.palette import style_of
from serdemo.schema.types import EMOTIONS
from serdemo.ui.explore.handlers import Explore
from serdemo.ui.shell import scripts, theme
from serdemo.ui.shell.html import plain_html
from serdemo.ui.shell.page import Page

_LEAD = """<p>Thousands of voices, near each other where a model hears them alike: see whether a speaker's
emotions part{}, and find where your own voice falls.</p>"""
LEAD, LEAD_WITHOUT_CLIPS = _LEAD.format(", hear them"), _LEAD.format("")
SYMBOLS = {label: style_of(label).symbol for label in (*EMOTIONS, "other")}  # of the map's points


def build(page: Page) -> None:
    """Lay the tab out inside the page and connect it."""
    handlers = Explore(page)

    def explore(request: Any, visit: gr.Request) -> dict[str, Any]:
        return handlers.call(request, visit)

    plain_html(LEAD, elem_classes="sd-lead")
    plain_html(
        html_template=theme.asset("explore/explore.html"),
        js_on_load=scripts.on_load("explore/explore.js", symbols=SYMBOLS, colours=COLOURS),
        server_functions=[explore],
        elem_id="explore",
    )
