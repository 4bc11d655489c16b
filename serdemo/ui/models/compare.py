"""Two models beside each other in the tab Models: on a clip, or on a corpus with a verdict."""

from __future__ import annotations

import shlex
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from serdemo.data import corpora
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.settings import data_root
from serdemo.ui.models import handlers, view
from serdemo.ui.shell import html
from serdemo.ui.shell.examples import EXAMPLES, EXAMPLES_DIR
from serdemo.ui.shell.page import Page

if TYPE_CHECKING:
    from serdemo.runs.registry.entry import Entry

NO_OTHER = "There is no other model yet: import one, or train one in Fine-tune."
MAX_CLIPS = 300  # of a corpus, so that nobody waits for minutes
CORPUS_INFO = (
    f"Both hear at most {MAX_CLIPS} clips, evenly from speakers new to both and all emotions."
)


def build(page: Page, listed: gr.Radio) -> gr.Radio:
    """Lay it out and connect it; returns the list of what the model in `listed` is compared with."""
    with gr.Accordion("Compare with another", open=False):
        other = gr.Radio([], label="Compare with", info=NO_OTHER)
        clip = gr.Audio(
            sources=["upload", "microphone"],
            type="filepath",
            label="A clip; without one, an example voice",
            buttons=[],
            elem_id="models-clip",
        )
        on_one = gr.Button("Compare on the clip", elem_id="models-compare")
        corpus = gr.Radio([], label="A corpus found here", info=CORPUS_INFO, visible=False)
        folder = gr.Textbox(
            label="Or a folder or table of clips on this computer",
            info="Folders named after emotions inside, or a CSV with path, speaker, emotion.",
            max_lines=1,
            visible=False,
            elem_id="models-folder",
        )
        on_many = gr.Button("Compare on the corpus", visible=False, elem_id="models-corpus")
        duel = gr.HTML("", apply_default_css=False, elem_id="models-duel")

    def on_load(token: str, request: gr.Request) -> tuple[Any, ...]:
        found, here = corpora.available_corpora(), page.owner(token, request) is None
        return (
            gr.Radio(found, value=found[0][1] if found else None, visible=bool(found)),
            gr.Textbox(visible=here),
            gr.Button(visible=here or bool(found)),
        )

    def pair(key: str, against: str | None, token: str, request: gr.Request) -> tuple[Entry, Entry]:
        if against is None:
            raise UsageError(NO_OTHER)
        store = page.models(token, request)
        return store.get(against), store.get(key)

    def on_clip(
        key: str, against: str | None, path: str | None, token: str, request: gr.Request
    ) -> tuple[Any, Any]:
        name = next(iter(EXAMPLES))
        at = EXAMPLES_DIR / EXAMPLES[name] if path is None else Path(path)
        title = name if path is None else "Your clip"
        try:
            both = pair(key, against, token, request)
            said = handlers.predict_both(page.visitors, both, at, title, keep=path is None)
        except SerdemoError as problem:
            return html.refusal_html(str(problem)), None
        return view.clip_comparison_html(title, (both[0].key, both[1].key), said), None

    def on_corpus(
        key: str,
        against: str | None,
        name: str | None,
        typed: str,
        token: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (gradio looks for it here)
    ) -> str:
        from serdemo.data import corpora
        from serdemo.evaluation import comparison

        here = page.owner(token, request) is None
        chosen = (typed or "").strip() if here else ""  # a visitor reaches no file of this machine
        try:
            both = pair(key, against, token, request)
            if not chosen and name not in [one for _, one in corpora.available_corpora()]:
                raise UsageError("Choose a corpus to compare them on.")
            clips = corpora.load_many(chosen or str(name), data_root(None))
            first, second = (page.visitors.at(entry.folder) for entry in both)
            found = comparison.compare(
                *(first, second, clips, comparison.fairest_speaker_set(first, second, clips)),
                progress=lambda done, total: progress((done, total), unit="answers"),
                names=(both[0].key, both[1].key),
                most=MAX_CLIPS,
            )
        except SerdemoError as problem:
            return html.refusal_html(str(problem))
        words = ("models", "compare", both[0].key, both[1].key, "--corpus", chosen or str(name))
        command = shlex.join(["serdemo", *words])
        return (
            f"{view.corpus_comparison_html(found)}<details><summary>On all clips, in a terminal</summary>"
            f"<pre>{escape(command)}</pre></details>"
        )

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    slow = {**quiet, "concurrency_id": "models", "concurrency_limit": 2}
    page.load(on_load, page.token, [corpus, folder, on_many], **slow)
    on_one.click(on_clip, [listed, other, clip, page.token], [duel, clip], **slow)
    asked = [listed, other, corpus, folder, page.token]
    on_many.click(on_corpus, asked, duel, **{**slow, "show_progress": "full"})
    return other
