"""Components of the tab Models."""

from __future__ import annotations

from typing import Any

import gradio as gr

from serdemo.ui.models import view
from serdemo.ui.shell import permissions
from serdemo.ui.shell.page import Page

NO_OTHER_MODEL = "There is no other model yet: import one, or train one in Fine-tune."
MAX_CLIPS = 300  # of a corpus comparison, so that nobody waits for minutes
LEAD = """<p>Every model at hand: how good it is, on what it learnt, what it may be used for. Choose the
one that answers you.</p>"""
TOKEN_NOTE = """<p><small>Pushing, and pulling what is private, needs the environment variable
HF_TOKEN.</small></p>"""
CORPUS_INFO = (
    f"Both hear at most {MAX_CLIPS} clips, evenly from speakers new to both and all emotions."
)


class Widgets:
    """The components, laid out where it is created: the list and the hub, then card and comparison.

    `other` is the model to compare with. `owner_only` holds what pushes, with the token of this machine.
    """

    def __init__(self, page: Page) -> None:
        gr.HTML(LEAD, elem_classes="sd-lead", apply_default_css=False)
        with gr.Row(elem_classes="sd-columns", equal_height=False):
            with gr.Column(scale=4, min_width=300, elem_classes="sd-inputs"):
                self._lay_out_list()
                with permissions.section(page, permissions.may_import, permissions.NO_IMPORT):
                    self._lay_out_imports()
            with gr.Column(scale=7, min_width=320):
                self.card = gr.HTML(view.WAITING, apply_default_css=False, elem_id="models-card")
                self._lay_out_comparison()

    def _lay_out_list(self) -> None:
        small: dict[str, Any] = {"size": "sm", "min_width": 90}
        self.listed = gr.Radio([], label="Models", elem_id="models-list")
        self.use = gr.Button("Use this model", variant="primary", elem_id="models-use")
        with gr.Row():
            self.speed = gr.Button("Measure its speed", elem_id="models-speed", **small)
            self.export = gr.Button("Export", elem_id="models-export", **small)
            self.delete = gr.Button("Delete", elem_id="models-delete", interactive=False, **small)
        self.exported = gr.File(label="Exported", visible=False, elem_id="models-exported")
        self.message = gr.HTML("", apply_default_css=False, elem_id="models-told")

    def _lay_out_imports(self) -> None:
        self.archive = gr.File(
            label="Import a model from a zip",
            file_types=[".zip"],
            type="filepath",
            height=150,
            elem_id="models-zip",
        )
        with gr.Accordion("Hugging Face hub", open=False):
            self.repo = gr.Textbox(
                label="Model on the hub",
                placeholder="OWNER/NAME",
                max_lines=1,
                elem_id="models-repo",
            )
            self.pull = gr.Button("Pull it", size="sm", elem_id="models-pull")
            with gr.Column(visible=False) as self.owner_only:
                self.public = gr.Checkbox(False, label="For all to see")
                self.force = gr.Checkbox(False, label="Replace the model that is there")
                self.push = gr.Button("Push the model shown", size="sm", elem_id="models-push")
                gr.HTML(TOKEN_NOTE, apply_default_css=False)

    def _lay_out_comparison(self) -> None:
        with gr.Accordion("Compare with another", open=False):
            self.other = gr.Radio([], label="Compare with", info=NO_OTHER_MODEL)
            self.clip = gr.Audio(
                sources=["upload", "microphone"],
                type="filepath",
                label="A clip; without one, an example voice",
                buttons=[],
                elem_id="models-clip",
            )
            self.compare_clip = gr.Button("Compare on the clip", elem_id="models-compare")
            self.corpus = gr.Radio([], label="A corpus found here", info=CORPUS_INFO, visible=False)
            self.folder = gr.Textbox(
                label="Or a folder or table of clips on this computer",
                info="Folders named after emotions inside, or a CSV with path, speaker, emotion.",
                max_lines=1,
                visible=False,
                elem_id="models-folder",
            )
            self.compare_corpus = gr.Button(
                "Compare on the corpus", visible=False, elem_id="models-corpus"
            )
            self.comparison = gr.HTML("", apply_default_css=False, elem_id="models-duel")
