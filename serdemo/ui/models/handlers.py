"""Handlers of the tab Models. Each returns what changes, as a dictionary from component to update."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.settings import data_root
from serdemo.ui.models import view
from serdemo.ui.models.widgets import MAX_CLIPS, NO_OTHER_MODEL, Widgets
from serdemo.ui.shell import html, visitor_store
from serdemo.ui.shell.examples import EXAMPLES, EXAMPLES_DIR
from serdemo.ui.shell.page import Page, footer_html
from serdemo.ui.shell.uploads import check_size

if TYPE_CHECKING:
    from serdemo.runs.registry.entry import Entry
    from serdemo.schema.types import Prediction
    from serdemo.ui.shell.session import Visitors

Updates = dict[Any, Any]


class Handlers:
    """What the events of the tab do.

    Arguments named alike mean the same: `key` is the model chosen in the list, `against` the one to
    compare with, `stored_key` the model that the browser remembers as chosen for answers, `token` the
    browser's.
    """

    def __init__(self, page: Page, widgets: Widgets) -> None:
        self.page, self.widgets = page, widgets
        self.speeds: dict[Path, float] = {}  # times real time, of models measured on this page

    def refresh(
        self,
        key: str | None,
        against: str | None,
        stored_key: str,
        token: str,
        request: gr.Request,
        *,
        select: bool = False,
    ) -> Updates:
        """The current list, and the card of the model `key`, else of the stored one, else of the first.

        The list's value is set only where it changes or `select` is set: a response under way would
        undo a choice made meanwhile.
        """
        from serdemo.runs.registry.summary import card_text, summarise

        ui = self.widgets
        entries = self.page.models(token, request).entries()
        shown = next((entry for entry in entries if entry.key == (key or stored_key)), entries[0])
        rows = {entry.key: summarise(entry) for entry in entries}
        others = [other for other, row in rows.items() if row.labels and other != shown.key]
        row = replace(rows[shown.key], times_real_time=self.speeds.get(shown.folder))
        value: dict[str, Any] = {"value": shown.key} if select or shown.key != key else {}
        other: dict[str, Any] = {}
        if against not in others:
            other = {"value": others[0] if others else None}
        in_use = self.page.answered_by(request) == shown.folder
        return {
            ui.listed: gr.Radio(choices=list(rows), **value),
            ui.other: gr.Radio(choices=others, info=None if others else NO_OTHER_MODEL, **other),
            ui.card: view.card_page(row, card_text(shown.folder), in_use),
            ui.delete: gr.Button(interactive=shown.origin in ("run", "imported")),
        }

    def load(self, token: str, request: gr.Request) -> Updates:
        """What the visitor may compare on, and whether the visitor may push."""
        from serdemo.data import corpora

        ui = self.widgets
        available = corpora.available_corpora()
        is_local = self.page.owner(token, request) is None
        first = available[0][1] if available else None
        return {
            ui.owner_only: gr.Column(visible=is_local),
            ui.corpus: gr.Radio(available, value=first, visible=bool(available)),
            ui.folder: gr.Textbox(visible=is_local),
            ui.compare_corpus: gr.Button(visible=is_local or bool(available)),
        }

    def use(self, key: str, token: str, request: gr.Request) -> Updates:
        """Answer the visitor by the chosen model from now on."""
        try:
            predictor = self.page.use(key, token, request)
        except SerdemoError as problem:
            return self._refusal(problem)
        return {
            self.widgets.message: html.in_use_html(key),
            self.page.footer: footer_html(request.session_hash, predictor),
            self.page.chosen: key,
        }

    def measure_speed(
        self, key: str, against: str | None, stored_key: str, token: str, request: gr.Request
    ) -> Updates:
        """Measure the speed of the chosen model on this machine."""
        from serdemo.inference.speed import times_real_time

        try:
            folder = self.page.models(token, request).get(key).folder
            self.speeds[folder] = times_real_time(folder)
        except SerdemoError as problem:
            return self._refusal(problem)
        updates = self.refresh(key, against, stored_key, token, request)
        return {self.widgets.message: "", **updates}

    def export(self, key: str, token: str, request: gr.Request) -> Updates:
        """Offer the chosen model as a zip."""
        exported = self.widgets.exported
        try:
            archive = visitor_store.export(self.page.models(token, request).get(key))
        except SerdemoError as problem:
            return {exported: gr.File(visible=False), **self._refusal(problem)}
        return {exported: gr.File(str(archive), visible=True), self.widgets.message: ""}

    def import_zip(
        self, path: str | None, against: str | None, token: str, request: gr.Request
    ) -> Updates:
        """Add the model of an uploaded zip."""
        archive = self.widgets.archive
        if path is None:
            return {archive: None, self.widgets.message: ""}
        owner = self.page.owner(token, request)
        try:
            entry = visitor_store.import_archive(Path(path), owner)
        except SerdemoError as problem:
            return {archive: None, **self._refusal(problem)}
        return {archive: None, **self._imported(entry, against, token, request)}

    def pull(self, repo: str, against: str | None, token: str, request: gr.Request) -> Updates:
        """Add a model of the Hugging Face hub."""
        try:
            entry = visitor_store.import_from_hub(repo or "", self.page.owner(token, request))
        except SerdemoError as problem:
            return self._refusal(problem)
        return self._imported(entry, against, token, request)

    def push(
        self, key: str, repo: str, public: bool, force: bool, token: str, request: gr.Request
    ) -> Updates:
        """Push the chosen model to the hub; only for a local user, whose token it is."""
        from serdemo.runs.registry import hub

        try:
            if self.page.owner(token, request) is not None:
                raise UsageError("Models are pushed from the computer that serves this page.")
            folder = self.page.models(token, request).get(key).folder
            pushed = hub.push(folder, (repo or "").strip(), public=public, force=force)
        except SerdemoError as problem:
            return self._refusal(problem)
        audience = "for you alone to see" if pushed.private else "for all to see"
        return {self.widgets.message: html.message_html(f"{key} is at {pushed.url}, {audience}.")}

    def delete(
        self, key: str, against: str | None, stored_key: str, token: str, request: gr.Request
    ) -> Updates:
        """Delete the chosen model."""
        registry = self.page.models(token, request)
        try:
            entry = registry.get(key)
            registry.delete(entry)
        except SerdemoError as problem:
            updates = self.refresh(key, against, stored_key, token, request)
            return {**updates, **self._refusal(problem)}
        self.page.visitors.forget(entry.folder)
        message = html.message_html(f"{key} is deleted.")
        return {self.widgets.message: message, **self.refresh(None, against, "", token, request)}

    def compare_clip(
        self, key: str, against: str | None, path: str | None, token: str, request: gr.Request
    ) -> Updates:
        """Show both models' predictions for the visitor's clip, else for an example voice."""
        ui, example = self.widgets, next(iter(EXAMPLES))
        file = EXAMPLES_DIR / EXAMPLES[example] if path is None else Path(path)
        title = example if path is None else "Your clip"
        try:
            pair = self._pair(key, against, token, request)
            predictions = predict_both(
                self.page.visitors, pair, file, title, delete=path is not None
            )
        except SerdemoError as problem:
            return {ui.comparison: html.refusal_html(str(problem)), ui.clip: None}
        keys = (pair[0].key, pair[1].key)
        return {
            ui.comparison: view.clip_comparison_html(title, keys, predictions),
            ui.clip: None,
        }

    def compare_corpus(
        self,
        key: str,
        against: str | None,
        corpus: str | None,
        folder: str,
        token: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (gradio looks for it here)
    ) -> Updates:
        """Compare both models on a known corpus or, for a local user, on a folder or table."""
        from serdemo.data import corpora
        from serdemo.evaluation import comparison

        # A visitor reaches no file of this machine.
        folder = (folder or "").strip() if self.page.owner(token, request) is None else ""
        source = folder or str(corpus)
        try:
            pair = self._pair(key, against, token, request)
            if not folder and corpus not in [name for _, name in corpora.available_corpora()]:
                raise UsageError("Choose a corpus to compare them on.")
            clips = corpora.load_many(source, data_root(None))
            first, second = (self.page.visitors.at(entry.folder) for entry in pair)
            comparisons = comparison.compare(
                *(first, second, clips, comparison.fairest_speaker_set(first, second, clips)),
                progress=lambda done, total: progress((done, total), unit="answers"),
                names=(pair[0].key, pair[1].key),
                most=MAX_CLIPS,
            )
        except SerdemoError as problem:
            return {self.widgets.comparison: html.refusal_html(str(problem))}
        words = ("models", "compare", pair[0].key, pair[1].key, "--corpus", source)
        command = shlex.join(["serdemo", *words])
        shown = view.corpus_comparison_html(comparisons, command=command)
        return {self.widgets.comparison: shown}

    def _refusal(self, problem: SerdemoError) -> Updates:
        return {self.widgets.message: html.refusal_html(str(problem))}

    def _imported(
        self, entry: Entry, against: str | None, token: str, request: gr.Request
    ) -> Updates:
        self.page.visitors.forget(entry.folder)
        self.speeds.pop(entry.folder, None)
        message = html.message_html(f"It is kept as {entry.key}.")
        updates = self.refresh(entry.key, against, "", token, request, select=True)
        return {self.widgets.message: message, **updates}

    def _pair(
        self, key: str, against: str | None, token: str, request: gr.Request
    ) -> tuple[Entry, Entry]:
        if against is None:
            raise UsageError(NO_OTHER_MODEL)
        registry = self.page.models(token, request)
        return registry.get(against), registry.get(key)


def predict_both(
    visitors: Visitors, entries: tuple[Entry, Entry], path: Path, name: str, *, delete: bool
) -> tuple[Prediction, Prediction]:
    """The predictions of two models for a clip, whose file is deleted once it is read if `delete`.

    Raises SerdemoError when the clip cannot be read or a model has no classifier.
    """
    from serdemo.audio import waveform

    try:
        check_size(path, name)
        clip = waveform.decode(path, name=name)
    finally:
        if delete:
            path.unlink(missing_ok=True)
    first, second = (visitors.at(entry.folder).predict(clip) for entry in entries)
    return first, second
