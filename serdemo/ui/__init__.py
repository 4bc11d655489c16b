"""The page: one tab per file, listed in `TABS`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

# Read by gradio when it is imported: nothing is reported to anyone.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr

from serdemo.schema import SerdemoError
from serdemo.ui import answers, recognise, tab_live, tab_recognise, theme
from serdemo.ui.session import WarmPredictor

if TYPE_CHECKING:
    from serdemo.predict import Predictor

TABS: dict[str, Callable[[gr.Blocks, WarmPredictor], None]] = {
    "Recognise": tab_recognise.build,
    "Live": tab_live.build,
}

HEADER = """<header class="sd-header"><h1>serdemo</h1>
<p>Which emotion does a voice carry?</p></header>"""
LIMITS = """<p>Trained on acted speech, in few languages: it hears how a voice sounds, not what a
person feels. Not for medical, hiring or policing use.</p>"""


class Page(gr.Blocks):
    """The page, and the predictor behind it."""

    def __init__(self, model: WarmPredictor) -> None:
        # Uploads are deleted once read; this sweeps up those whose visitor left before that.
        super().__init__(
            title="serdemo: which emotion does a voice carry?",
            delete_cache=(60, 300),
            analytics_enabled=False,
        )
        self.model = model


def build(predictor_factory: Callable[[], Predictor]) -> Page:
    """Build the page. The factory is called once: by `launch`, or by the first visitor.

    All state lives in the objects made here, so that two pages in one process share nothing.
    """
    model = WarmPredictor(predictor_factory)

    def footer() -> str:
        try:
            predictor = model.get()
        except SerdemoError:
            return f'<footer class="sd-footer">{LIMITS}</footer>'
        told = answers.model_line(predictor.name, predictor.description.metrics.get("test", {}))
        return f'<footer class="sd-footer">{told}{LIMITS}</footer>'

    with Page(model) as page:
        gr.HTML(HEADER, apply_default_css=False)
        with gr.Tabs():
            for name, build_tab in TABS.items():
                with gr.Tab(name, id=name.lower()):
                    build_tab(page, model)
        told = gr.HTML(f'<footer class="sd-footer">{LIMITS}</footer>', apply_default_css=False)
        page.load(
            footer,
            outputs=told,
            show_progress="hidden",
            api_visibility="private",
            concurrency_limit=None,
        )
    return page


def default_page(checkpoint: str | Path | None = None) -> Page:
    """The page on a checkpoint folder; None is the shipped one."""

    def load() -> Predictor:
        from serdemo.predict import Predictor

        return Predictor(checkpoint)

    return build(load)


def launch(
    port: int | None = None,
    share: bool = False,
    checkpoint: str | Path | None = None,
    *,
    page: Page | None = None,
) -> None:
    """Serve the page until interrupted, on this machine alone unless gradio is told otherwise.

    `port` None takes the first free one from 7860 (or GRADIO_SERVER_PORT). `share` adds a
    public link for some days. `page` is a page already built; the checkpoint is then its own.
    Raises SerdemoError when the checkpoint named cannot be read, or no port is free.
    """
    page = page or default_page(checkpoint)
    if checkpoint is not None:
        page.model.get()
    try:
        page.launch(
            server_port=port,
            share=share,
            theme=theme.theme(),
            css=theme.css(),
            head=f"<script>{theme.script('page.js')}</script>",
            max_file_size=f"{recognise.MOST_MB}mb",
            run_history=False,
            footer_links=[],
            enable_monitoring=False,
            show_error=True,
            ssr_mode=False,
            prevent_thread_lock=True,
        )
    except OSError as error:
        taken = f"Port {port} is" if port else "The ports from 7860 on are"
        raise SerdemoError(f"{taken} in use: choose another with --port.") from error
    page.model.warm_up()
    page.block_thread()
