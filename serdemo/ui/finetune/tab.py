"""The tab Fine-tune: its layout, and which handler answers which event."""

from __future__ import annotations

from typing import Any

import gradio as gr

from serdemo.runs.queue import JobQueue
from serdemo.schema.settings import runs_root
from serdemo.ui.adapt import tab as adapt_tab
from serdemo.ui.finetune.form import Form
from serdemo.ui.finetune.handlers import Handlers, RunPanel
from serdemo.ui.shell import permissions, zerogpu
from serdemo.ui.shell.page import Page

LEAD = """<p>Teach a model new voices: choose clips, press Start, and watch it get better on speakers
it never heard. {}</p>"""
# On a phone the run is far below the button that begins it.
SCROLL_TO_RUN = "() => document.querySelector('#finetune-run')?.scrollIntoView({block: 'nearest'})"
CONFIRM_DELETE = """(...values) => {
  if (!confirm('Delete this run with all that it learnt?')) throw new Error('not deleted');
  return values; }"""
GOES_ON = (
    "On your own computer a run goes on when you close the page. On a server it ends when you leave, "
    "unless you press Keep for a day."
)
LENT = "Keep the page open meanwhile: the Space lends a GPU to it, and takes it back from whoever leaves."


def build(page: Page) -> None:
    """Lay the tab out inside the page and connect it."""
    gr.HTML(
        LEAD.format(LENT if zerogpu.is_zerogpu() else GOES_ON),
        elem_classes="sd-lead",
        apply_default_css=False,
    )
    gpu_train = zerogpu.gpu_train_function()
    with permissions.section(page, permissions.may_train, permissions.NO_TRAINING):
        adapt_tab.build(page)
        with gr.Row(elem_classes="sd-columns", equal_height=False):
            with gr.Column(scale=4, min_width=300, elem_classes="sd-inputs"):
                form = Form(gpu_train is not None)
            with gr.Column(scale=7, min_width=320, elem_classes="sd-follow"):
                panel = RunPanel()
    _connect(page, form, panel, Handlers(page, JobQueue(runs_root()), form, panel, gpu_train))


def _connect(page: Page, form: Form, panel: RunPanel, handlers: Handlers) -> None:
    for handler in page.fns.values():
        if handler.renderable is not None:  # gradio has no parameter for those that lay widgets out
            handler.api_visibility = "private"
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    several = None if form.is_lent else 2  # calls at once; on such a Space its own queue holds them
    selection = [panel.runs, form.start, page.token]
    refreshed = [*panel.refreshed, form.start]
    values = {*form.inputs, page.token}

    page.identified.then(handlers.on_load, page.token, [*form.loaded_widgets, *refreshed], **quiet)
    checked = [form.status, form.level, form.hub, form.start]
    form.check.click(handlers.on_check, values, checked, concurrency_limit=2, **quiet)
    form.submit.click(
        handlers.on_submit,
        values,
        [form.status, form.level, form.hub, *refreshed],
        concurrency_limit=several,
        **quiet,
    )
    upload = [form.archive, form.uploaded, page.token]
    received = [form.uploaded, form.status, form.level]
    form.archive.upload(handlers.on_zip, upload, received, **quiet)
    form.archive.clear(handlers.on_zip, upload, received, **quiet)
    form.folder.input(form.forget_level, None, form.level, **quiet)

    panel.runs.change(None, js=SCROLL_TO_RUN, **quiet)
    panel.runs.input(handlers.refresh, selection, refreshed, trigger_mode="always_last", **quiet)
    panel.runs.input(lambda: "", None, panel.used, **quiet)
    panel.timer.tick(handlers.refresh, selection, refreshed, **quiet)
    page.tab.select(handlers.refresh, selection, refreshed, **quiet)  # models may have come or gone
    panel.use.click(
        handlers.on_use, [panel.runs, page.token], [panel.used, page.footer, page.chosen], **quiet
    )
    panel.stop.click(handlers.on_stop, selection, refreshed, **quiet)
    panel.resume.click(handlers.on_resume, selection, refreshed, concurrency_limit=several, **quiet)
    deleted = panel.delete.click(
        handlers.on_delete, selection, refreshed, js=CONFIRM_DELETE, **quiet
    )
    deleted.then(page.foot, None, page.footer, **quiet)
