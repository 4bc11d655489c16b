"""The tab Models: which handler answers which event."""

from __future__ import annotations

from typing import Any

from gradio.blocks import Block

from serdemo.ui.models.handlers import Handlers
from serdemo.ui.models.widgets import Widgets
from serdemo.ui.shell.page import Page

MEASURING = "() => '<p>Measuring…</p>'"
CONFIRM_DELETE = (
    "(...inputs) => { if (!confirm('Delete this model? A run goes with all that it made.'))"
    " throw new Error('not deleted'); return inputs; }"
)


def build(page: Page) -> None:
    """Lay the tab out inside the page and connect it."""
    ui = Widgets(page)
    on = Handlers(page, ui)
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    slow = {**quiet, "concurrency_id": "models", "concurrency_limit": 2}
    chosen: set[Block] = {ui.listed, ui.other, page.chosen, page.token}
    shown = [ui.listed, ui.other, ui.card, ui.delete]
    pair: set[Block] = {ui.listed, ui.other, page.token}

    page.load(on.refresh, chosen, shown, **slow)
    page.load(on.load, page.token, [ui.owner_only, ui.corpus, ui.folder, ui.compare_corpus], **slow)
    page.tab.select(on.refresh, chosen, shown, **slow)  # another tab may have made a model
    ui.listed.input(on.refresh, chosen, shown, trigger_mode="always_last", **slow)
    used = ui.use.click(
        on.use, {ui.listed, page.token}, [ui.message, page.footer, page.chosen], **slow
    )
    used.then(on.refresh, chosen, shown, **slow)
    # Not a generator: gradio repeats the last response of one, over a message shown meanwhile.
    measuring = ui.speed.click(None, None, ui.message, js=MEASURING, **quiet)
    measuring.then(on.measure_speed, chosen, [ui.message, *shown], **slow)
    ui.export.click(on.export, {ui.listed, page.token}, [ui.exported, ui.message], **slow)
    ui.archive.upload(
        on.import_zip, {ui.archive, ui.other, page.token}, [ui.archive, ui.message, *shown], **slow
    )
    deleted = ui.delete.click(on.delete, chosen, [ui.message, *shown], js=CONFIRM_DELETE, **slow)
    deleted.then(page.foot, None, page.footer, **quiet)
    ui.pull.click(on.pull, {ui.repo, ui.other, page.token}, [ui.message, *shown], **slow)
    ui.push.click(
        on.push, {ui.listed, ui.repo, ui.public, ui.force, page.token}, ui.message, **slow
    )
    ui.compare_clip.click(on.compare_clip, {*pair, ui.clip}, [ui.comparison, ui.clip], **slow)
    ui.compare_corpus.click(
        on.compare_corpus,
        {*pair, ui.corpus, ui.folder},
        ui.comparison,
        **{**slow, "show_progress": "full"},
    )
