"""The tab Live: its layout; its script calls the server by itself."""

from __future__ import annotations

from typing import Any

import gradio as gr

from serdemo.schema.types import EMOTIONS
from serdemo.ui.browser import files
from serdemo.ui.live.handlers import Live
from serdemo.ui.live.route import route
from serdemo.ui.shell import scripts, theme
from serdemo.ui.shell.html import plain_html
from serdemo.ui.shell.page import Page

LEAD = """<p>Speak and watch: which emotion your voice carries now, and over the last minute.</p>"""


def build(page: Page) -> None:
    """Lay the tab out inside the page and connect it."""
    handlers = Live(page.visitors)
    page.extra_routes.append(route(handlers.call))

    def live(request: Any, visit: gr.Request) -> dict[str, Any]:
        return handlers.call(request, visit)

    plain_html(LEAD, elem_classes="sd-lead")
    plain_html(
        html_template=theme.asset("live/live.html"),
        js_on_load=scripts.on_load(
            "live/live.js",
            labels=EMOTIONS,
            megabytes=files.first_answer_mb(),
        ),
        server_functions=[live],
        elem_id="live",
    )
