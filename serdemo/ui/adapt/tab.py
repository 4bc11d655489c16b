"""Layout of "Teach it your voice", a part of the tab Fine-tune."""

from __future__ import annotations

from typing import Any

import gradio as gr

from serdemo.ui.adapt.handlers import Handlers
from serdemo.ui.shell import scripts
from serdemo.ui.shell.page import Page

TITLE = "Teach it your voice: a few sentences, about three minutes"
LEAD = """<p>Say five sentences in each emotion, one at a time. In seconds the model learns how you sound,
and you see whether that helped.</p>"""


def build(page: Page) -> None:
    """Lay the part out inside the page and connect it."""
    with gr.Accordion(TITLE, open=False, elem_id="voice"):
        gr.HTML(LEAD, elem_classes="sd-lead", apply_default_css=False)
        shown = gr.HTML(
            "",
            js_on_load=scripts.on_load("adapt/takes.js"),
            apply_default_css=False,
            elem_id="voice-panel",
        )
    on = Handlers(page, shown)
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    often = {**quiet, "trigger_mode": "multiple"}  # the script sends one request at a time
    outputs = [shown, page.footer, page.chosen]
    page.load(on.load, [page.token, page.chosen], shown, **quiet)
    shown.submit(on.act, page.token, outputs, concurrency_limit=4, **often)
    shown.apply(on.train, page.token, outputs, concurrency_limit=1, **often)
