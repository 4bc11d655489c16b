"""Models from and to the Hugging Face hub, in the tab Models. Only whoever sits here pushes."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.ui.shell import html
from serdemo.ui.shell.page import Page

PUSH = "Push the model shown"
TOKEN = "Pushing, and pulling what is private, needs the environment variable HF_TOKEN."


@dataclass(frozen=True)
class Hub:
    """The widgets: a repository's name, what is asked of it, and what only its owner may ask."""

    repo: gr.Textbox
    pull: gr.Button
    own: gr.Column
    public: gr.Checkbox
    force: gr.Checkbox
    push: gr.Button

    def connect_push(
        self, page: Page, listed: gr.Radio, told: gr.HTML, events: dict[str, Any]
    ) -> None:
        """Let whoever sits at this machine, whose token it is, push the model chosen in `listed`."""

        def on_load(token: str, request: gr.Request) -> Any:
            return gr.Column(visible=page.owner(token, request) is None)

        def on_push(
            key: str, repo: str, public: bool, force: bool, token: str, request: gr.Request
        ) -> str:
            from serdemo.runs.registry import hub

            try:
                if page.owner(token, request) is not None:
                    raise UsageError("Models are pushed from the computer that serves this page.")
                folder = page.models(token, request).get(key).folder
                done = hub.push(folder, (repo or "").strip(), public=public, force=force)
            except SerdemoError as problem:
                return html.refusal_html(str(problem))
            who = "for you alone to see" if done.private else "for all to see"
            return html.message_html(f"{key} is at {done.url}, {who}.")

        page.load(on_load, page.token, self.own, **events)
        asked = [listed, self.repo, self.public, self.force, page.token]
        self.push.click(on_push, asked, told, **events)


def laid_out() -> Hub:
    """The widgets, folded away."""
    with gr.Accordion("Hugging Face hub", open=False):
        repo = gr.Textbox(
            label="Model on the hub", placeholder="OWNER/NAME", max_lines=1, elem_id="models-repo"
        )
        pull = gr.Button("Pull it", size="sm", elem_id="models-pull")
        with gr.Column(visible=False) as own:
            public = gr.Checkbox(False, label="For all to see")
            force = gr.Checkbox(False, label="Replace the model that is there")
            push = gr.Button(PUSH, size="sm", elem_id="models-push")
            gr.HTML(f"<p><small>{escape(TOKEN)}</small></p>", apply_default_css=False)
    return Hub(repo, pull, own, public, force, push)
