"""The page: one tab per file, listed in `TABS`."""

from __future__ import annotations

from serdemo.ui.shell import gradio_settings as gradio_settings  # before gradio itself

# isort: split

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from serdemo.schema import logs, settings
from serdemo.schema.errors import SerdemoError
from serdemo.ui import api
from serdemo.ui.browser import files
from serdemo.ui.explore import tab as explore_tab
from serdemo.ui.finetune import tab as finetune_tab
from serdemo.ui.languages import table
from serdemo.ui.live import tab as live_tab
from serdemo.ui.models import tab as models_tab
from serdemo.ui.recognise import tab as recognise_tab
from serdemo.ui.shell import cleanup, privacy, scripts, serving, zerogpu
from serdemo.ui.shell.html import plain_html
from serdemo.ui.shell.page import Page as Page
from serdemo.ui.shell.page import footer_html
from serdemo.ui.shell.session import WarmPredictor, load_predictor

if TYPE_CHECKING:
    from serdemo.inference.predictor import Predictor

TABS: dict[str, Callable[[Page], None]] = {
    "Recognise": recognise_tab.build,
    "Live": live_tab.build,
    "Explore": explore_tab.build,
    "Fine-tune": finetune_tab.build,
    "Models": models_tab.build,
}

# Made by the browser, so that it is known however late the server answers.
NEW_TOKEN = """(token) => token || Array.from(crypto.getRandomValues(new Uint8Array(16)),
  (byte) => byte.toString(16).padStart(2, "0")).join("")"""
MAX_WAITING = 1000  # calls of all visitors
HEADER = f"""<header class="sd-header"><a class="sd-skip" href="#skip">Skip to the content</a>
<h1 translate="no">serdemo</h1><p>Which emotion does a voice carry?</p>{table.picker()}</header>"""


def build(predictor_factory: Callable[[], Predictor]) -> Page:
    """Build the page. The factory is called once: by `launch`, or by the first visitor.

    All state lives in the objects made here, so that two pages in one process share nothing. Raises
    UsageError where a setting of the owner's cannot be.
    """
    settings.check()
    model = WarmPredictor(predictor_factory)

    def on_load(chosen: str, token: str, request: gr.Request) -> str:
        try:
            return footer_html(request.session_hash, page.answering(chosen, token, request))
        except SerdemoError:
            return footer_html(request.session_hash)

    with Page(model, extra_routes=[files.route()]) as page:
        plain_html(HEADER, js_on_load=scripts.on_load("shell/js/language_picker.js"))
        plain_html(privacy.notice_html())
        # With a fixed secret, which every visitor gets anyway, they outlast a start of the page.
        page.token = gr.BrowserState("", storage_key="serdemo-owner", secret="serdemo")
        page.chosen = gr.BrowserState("", storage_key="serdemo-model", secret="serdemo")
        page.identified = page.load(
            None, page.token, page.token, js=NEW_TOKEN, api_visibility="private"
        )
        watch = scripts.on_load("shell/js/in_browser.js")
        page.footer = plain_html(footer_html(), js_on_load=watch, render=False)
        with gr.Tabs(overflow_behavior="wrap"):
            for name, build_tab in TABS.items():
                with gr.Tab(name, id=name.lower(), elem_id=f"panel-{name.lower()}") as page.tab:
                    build_tab(page)
        privacy.build(page)
        page.footer.render()
        api.build(page)
        page.load(
            on_load,
            [page.chosen, page.token],
            page.footer,
            show_progress="hidden",
            api_visibility="private",
            concurrency_limit=None,
        )
    if zerogpu.is_zerogpu():
        # There gradio would let a single call wait, and answer all others that the app is busy.
        page.queue(max_size=MAX_WAITING)
    return page


def default_page(checkpoint: str | Path | None = None) -> Page:
    """The page on a checkpoint folder; None is the shipped one."""
    return build(partial(load_predictor, checkpoint))


def launch(
    port: int | None = None,
    share: bool = False,
    checkpoint: str | Path | None = None,
    *,
    page: Page | None = None,
    mcp: bool = False,
) -> None:
    """Serve the page until interrupted, on this machine alone unless gradio's settings say otherwise.

    `port` None takes the first free one from 7860 (or GRADIO_SERVER_PORT). `share` adds a public link
    for some days. `mcp`, or gradio's GRADIO_MCP_SERVER, offers the endpoints as MCP tools. A `page` that
    is already built has its own checkpoint. Raises SerdemoError when the checkpoint cannot be read, the
    page or its metrics cannot be served there, or the package mcp is missing.
    """
    logs.configure()
    if mcp := mcp or settings.serves_mcp():
        api.require_mcp()
    page = page or default_page(checkpoint)
    if checkpoint is not None:
        page.model.get()
    if settings.metrics_port():
        from serdemo.ui.shell import metrics

        metrics.serve(page)
    address = serving.serve(page, port, share, mcp_server=mcp)
    logs.take_over_servers()
    if mcp:
        api.begin_mcp(page, address.url)
    page.model.warm_up()
    cleanup.begin(page)
    with serving.ended_by_sigterm():
        try:
            page.block_thread()
        finally:
            cleanup.end()
