"""Layout of the tab Models, and which handler answers which event."""

from __future__ import annotations

from typing import Any

import gradio as gr

from serdemo.ui.models import view
from serdemo.ui.models.handlers import MAX_CLIPS, NO_OTHER_MODEL, Handlers, Widgets
from serdemo.ui.shell.page import Page

LEAD = """<p>Every model at hand: how good it is, on what it learnt, what it may be used for. Choose the
one that answers you.</p>"""
TOKEN_NOTE = """<p><small>Pushing, and pulling what is private, needs the environment variable
HF_TOKEN.</small></p>"""
CORPUS_INFO = (
    f"Both hear at most {MAX_CLIPS} clips, evenly from speakers new to both and all emotions."
)
MEASURING = "() => '<p>Measuring…</p>'"
CONFIRM_DELETE = (
    "(...inputs) => { if (!confirm('Delete this model? A run goes with all that it made.'))"
    " throw new Error('not deleted'); return inputs; }"
)


def build(page: Page) -> None:
    """Lay the tab out inside the page and connect it."""
    gr.HTML(LEAD, elem_classes="sd-lead", apply_default_css=False)
    with gr.Row(elem_classes="sd-columns", equal_height=False):
        with gr.Column(scale=4, min_width=300, elem_classes="sd-inputs"):
            components = {**_list(), **_hub()}
        with gr.Column(scale=7, min_width=320):
            components["card"] = gr.HTML(
                view.WAITING, apply_default_css=False, elem_id="models-card"
            )
            components |= _comparison()
    _connect(page, Widgets(**components))


def _list() -> dict[str, Any]:
    listed = gr.Radio([], label="Models", elem_id="models-list")
    use = gr.Button("Use this model", variant="primary", elem_id="models-use")
    with gr.Row():
        small: dict[str, Any] = {"size": "sm", "min_width": 90}
        speed = gr.Button("Measure its speed", elem_id="models-speed", **small)
        export = gr.Button("Export", elem_id="models-export", **small)
        delete = gr.Button("Delete", elem_id="models-delete", interactive=False, **small)
    return {
        "listed": listed,
        "use": use,
        "speed": speed,
        "export": export,
        "delete": delete,
        "exported": gr.File(label="Exported", visible=False, elem_id="models-exported"),
        "message": gr.HTML("", apply_default_css=False, elem_id="models-told"),
        "archive": gr.File(
            label="Import a model from a zip",
            file_types=[".zip"],
            type="filepath",
            height=150,
            elem_id="models-zip",
        ),
    }


def _hub() -> dict[str, Any]:
    with gr.Accordion("Hugging Face hub", open=False):
        repo = gr.Textbox(
            label="Model on the hub", placeholder="OWNER/NAME", max_lines=1, elem_id="models-repo"
        )
        pull = gr.Button("Pull it", size="sm", elem_id="models-pull")
        with gr.Column(visible=False) as owner_only:
            public = gr.Checkbox(False, label="For all to see")
            force = gr.Checkbox(False, label="Replace the model that is there")
            push = gr.Button("Push the model shown", size="sm", elem_id="models-push")
            gr.HTML(TOKEN_NOTE, apply_default_css=False)
    return {
        "repo": repo,
        "pull": pull,
        "owner_only": owner_only,
        "public": public,
        "force": force,
        "push": push,
    }


def _comparison() -> dict[str, Any]:
    with gr.Accordion("Compare with another", open=False):
        return {
            "other": gr.Radio([], label="Compare with", info=NO_OTHER_MODEL),
            "clip": gr.Audio(
                sources=["upload", "microphone"],
                type="filepath",
                label="A clip; without one, an example voice",
                buttons=[],
                elem_id="models-clip",
            ),
            "compare_clip": gr.Button("Compare on the clip", elem_id="models-compare"),
            "corpus": gr.Radio([], label="A corpus found here", info=CORPUS_INFO, visible=False),
            "folder": gr.Textbox(
                label="Or a folder or table of clips on this computer",
                info="Folders named after emotions inside, or a CSV with path, speaker, emotion.",
                max_lines=1,
                visible=False,
                elem_id="models-folder",
            ),
            "compare_corpus": gr.Button(
                "Compare on the corpus", visible=False, elem_id="models-corpus"
            ),
            "comparison": gr.HTML("", apply_default_css=False, elem_id="models-duel"),
        }


def _connect(page: Page, ui: Widgets) -> None:
    on = Handlers(page, ui)
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    slow = {**quiet, "concurrency_id": "models", "concurrency_limit": 2}
    chosen = [ui.listed, ui.other, page.chosen, page.token]
    shown = [ui.listed, ui.other, ui.card, ui.delete]
    pair = [ui.listed, ui.other]

    page.load(on.refresh, chosen, shown, **slow)
    page.load(on.load, page.token, [ui.owner_only, ui.corpus, ui.folder, ui.compare_corpus], **slow)
    page.tab.select(on.refresh, chosen, shown, **slow)  # another tab may have made a model
    ui.listed.input(on.refresh, chosen, shown, trigger_mode="always_last", **slow)
    used = ui.use.click(
        on.use, [ui.listed, page.token], [ui.message, page.footer, page.chosen], **slow
    )
    used.then(on.refresh, chosen, shown, **slow)
    # Not a generator: gradio repeats the last response of one, over a message shown meanwhile.
    measuring = ui.speed.click(None, None, ui.message, js=MEASURING, **quiet)
    measuring.then(on.measure_speed, chosen, [ui.message, *shown], **slow)
    ui.export.click(on.export, [ui.listed, page.token], [ui.exported, ui.message], **slow)
    ui.archive.upload(
        on.import_zip, [ui.archive, ui.other, page.token], [ui.archive, ui.message, *shown], **slow
    )
    deleted = ui.delete.click(on.delete, chosen, [ui.message, *shown], js=CONFIRM_DELETE, **slow)
    deleted.then(page.foot, None, page.footer, **quiet)
    ui.pull.click(on.pull, [ui.repo, ui.other, page.token], [ui.message, *shown], **slow)
    ui.push.click(
        on.push, [ui.listed, ui.repo, ui.public, ui.force, page.token], ui.message, **slow
    )
    ui.compare_clip.click(
        on.compare_clip, [*pair, ui.clip, page.token], [ui.comparison, ui.clip], **slow
    )
    ui.compare_corpus.click(
        on.compare_corpus,
        [*pair, ui.corpus, ui.folder, page.token],
        ui.comparison,
        **{**slow, "show_progress": "full"},
    )
