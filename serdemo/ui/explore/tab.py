"""The tab Explore: its layout; its script calls the server by itself."""

from __future__ import annotations

from typing import Any

import gradio as gr

from serdemo.embeddings.html_map import COLOURS
from serdemo.schema import palette
from serdemo.ui.explore.handlers import Explore
from serdemo.ui.shell import scripts, theme
from serdemo.ui.shell.html import emotion_styles
from serdemo.ui.shell.page import Page

LEAD = """<p>Thousands of voices, near each other where a model hears them alike: see whether a speaker's
emotions part, hear them, and find where your own voice falls.</p>"""


def build(page: Page) -> None:
    """Lay the tab out inside the page and connect it."""
    handlers = Explore(page)

    def explore(request: Any, visit: gr.Request) -> dict[str, Any]:
        return handlers.call(request, visit)

    gr.HTML(LEAD, elem_classes="sd-lead", apply_default_css=False)
    gr.HTML(
        html_template=theme.asset("explore/explore.html"),
        js_on_load=scripts.on_load(
            "explore/explore.js", styles=emotion_styles(), symbols=symbols(), colours=COLOURS
        ),
        server_functions=[explore],
        apply_default_css=False,
        elem_id="explore",
    )


def symbols() -> dict[str, str]:
    """Marker of each emotion and of "other", for the scripts."""
    styles = palette.EMOTION_STYLES.items()
    return {label: style.symbol for label, style in styles} | {"other": palette.OTHER_STYLE.symbol}
