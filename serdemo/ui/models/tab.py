"""The tab Models: its layout, and which handler answers which event."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from serdemo.schema.errors import SerdemoError
from serdemo.ui.models import compare, view
from serdemo.ui.models import hub as models_hub
from serdemo.ui.shell import html, visitor_store
from serdemo.ui.shell.page import Page, footer_html

LEAD = """<p>Every model at hand: how good it is, on what it learnt, what it may be used for. Choose the
one that answers you.</p>"""
MEASURING = "() => '<p>Measuring…</p>'"
ASK = (
    "(...given) => { if (!confirm('Delete this model? A run goes with all that it made.'))"
    " throw new Error('kept'); return given; }"
)


def build(page: Page) -> None:
    """Lay the tab out inside the page and connect it."""
    gr.HTML(LEAD, elem_classes="sd-lead", apply_default_css=False)
    with gr.Row(elem_classes="sd-columns", equal_height=False):
        with gr.Column(scale=4, min_width=300, elem_classes="sd-inputs"):
            listed = gr.Radio([], label="Models", elem_id="models-list")
            use = gr.Button("Use this model", variant="primary", elem_id="models-use")
            with gr.Row():
                small: dict[str, Any] = {"size": "sm", "min_width": 90}
                speed = gr.Button("Measure its speed", elem_id="models-speed", **small)
                export = gr.Button("Export", elem_id="models-export", **small)
                delete = gr.Button("Delete", elem_id="models-delete", interactive=False, **small)
            exported = gr.File(label="Exported", visible=False, elem_id="models-exported")
            told = gr.HTML("", apply_default_css=False, elem_id="models-told")
            archive = gr.File(
                label="Import a model from a zip",
                file_types=[".zip"],
                type="filepath",
                height=150,
                elem_id="models-zip",
            )
            hub = models_hub.laid_out()
        with gr.Column(scale=7, min_width=320):
            shown = gr.HTML(view.WAITING, apply_default_css=False, elem_id="models-card")
            other = compare.build(page, listed)
    outputs = [listed, other, shown, delete]
    seen = [listed, other, page.chosen, page.token]
    speeds: dict[Path, float] = {}  # measured since the page began

    def look(
        key: str | None,
        against: str | None,
        kept: str,
        token: str,
        request: gr.Request,
        choose: bool = False,
    ) -> tuple[Any, ...]:
        """The list as it is now, with the model of that key shown; while none is chosen, that which
        is kept from an earlier visit, or else the first.

        What is chosen is said only where it changes (or `choose` says so): an answer under way
        would undo what is chosen meanwhile.
        """
        from serdemo.runs.registry.summary import card_text, summarise

        entries = page.models(token, request).entries()
        at = next((entry for entry in entries if entry.key == (key or kept)), entries[0])
        rows = {entry.key: summarise(entry) for entry in entries}
        others = [one for one, row in rows.items() if row.labels and one != at.key]
        row = replace(rows[at.key], times_real_time=speeds.get(at.folder))
        shown: dict[str, Any] = {"value": at.key} if choose or at.key != key else {}
        beside: dict[str, Any] = {}
        if against not in others:
            beside = {"value": others[0] if others else None}
        return (
            gr.Radio(choices=list(rows), **shown),
            gr.Radio(choices=others, info=None if others else compare.NO_OTHER, **beside),
            view.card_page(row, card_text(at.folder), page.answered_by(request) == at.folder),
            gr.Button(interactive=at.origin in ("run", "imported")),
        )

    def on_use(key: str, token: str, request: gr.Request) -> tuple[Any, ...]:
        try:
            predictor = page.use(key, token, request)
        except SerdemoError as problem:
            return html.refusal_html(str(problem)), gr.skip(), gr.skip()
        return html.in_use_html(key), footer_html(request.session_hash, predictor), key

    def on_speed(
        key: str, against: str | None, kept: str, token: str, request: gr.Request
    ) -> tuple[Any, ...]:
        from serdemo.inference.speed import times_real_time

        try:
            folder = page.models(token, request).get(key).folder
            speeds[folder] = times_real_time(folder)
        except SerdemoError as problem:
            return html.refusal_html(str(problem)), *[gr.skip()] * len(outputs)
        return "", *look(key, against, kept, token, request)

    def on_export(key: str, token: str, request: gr.Request) -> tuple[Any, ...]:
        try:
            made = visitor_store.export(page.models(token, request).get(key))
        except SerdemoError as problem:
            return gr.File(visible=False), html.refusal_html(str(problem))
        return gr.File(str(made), visible=True), ""

    def taken(entry: Any, against: str | None, token: str, request: gr.Request) -> tuple[Any, ...]:
        page.visitors.forget(entry.folder)
        speeds.pop(entry.folder, None)
        said = html.message_html(f"It is kept as {entry.key}.")
        return said, *look(entry.key, against, "", token, request, choose=True)

    def on_zip(
        path: str | None, against: str | None, token: str, request: gr.Request
    ) -> tuple[Any, ...]:
        if path is None:
            return None, "", *[gr.skip()] * len(outputs)
        owner = page.owner(token, request)
        try:
            entry = visitor_store.import_archive(Path(path), owner)
        except SerdemoError as problem:
            return None, html.refusal_html(str(problem)), *[gr.skip()] * len(outputs)
        return None, *taken(entry, against, token, request)

    def on_pull(repo: str, against: str | None, token: str, request: gr.Request) -> tuple[Any, ...]:
        owner = page.owner(token, request)
        try:
            entry = visitor_store.import_from_hub(repo or "", owner)
        except SerdemoError as problem:
            return html.refusal_html(str(problem)), *[gr.skip()] * len(outputs)
        return taken(entry, against, token, request)

    def on_delete(
        key: str, against: str | None, kept: str, token: str, request: gr.Request
    ) -> tuple[Any, ...]:
        store = page.models(token, request)
        try:
            entry = store.get(key)
            store.delete(entry)
        except SerdemoError as problem:
            return html.refusal_html(str(problem)), *look(key, against, kept, token, request)
        page.visitors.forget(entry.folder)
        return html.message_html(f"{key} is deleted."), *look(None, against, "", token, request)

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    slow = {**quiet, "concurrency_id": "models", "concurrency_limit": 2}
    page.load(look, seen, outputs, **slow)
    page.tab.select(look, seen, outputs, **slow)  # another tab may have brought a model
    listed.input(look, seen, outputs, trigger_mode="always_last", **slow)
    used = use.click(on_use, [listed, page.token], [told, page.footer, page.chosen], **slow)
    used.then(look, seen, outputs, **slow)
    # Not a generator, whose last answer comes a second time at its end, over what was said meanwhile.
    measuring = speed.click(None, None, told, js=MEASURING, **quiet)
    measuring.then(on_speed, seen, [told, *outputs], **slow)
    export.click(on_export, [listed, page.token], [exported, told], **slow)
    archive.upload(on_zip, [archive, other, page.token], [archive, told, *outputs], **slow)
    gone = delete.click(on_delete, seen, [told, *outputs], js=ASK, **slow)
    gone.then(page.foot, None, page.footer, **quiet)
    hub.pull.click(on_pull, [hub.repo, other, page.token], [told, *outputs], **slow)
    hub.connect_push(page, listed, told, slow)
