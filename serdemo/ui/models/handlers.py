"""Handlers of the tab Models. Each returns what changes, as a dictionary from component to update."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from serdemo.audio.waveform import VISITOR, SoundFile
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.settings import data_root
from serdemo.ui.models import view
from serdemo.ui.models.widgets import MAX_CLIPS, NO_OTHER_MODEL, Widgets
from serdemo.ui.shell import html, permissions, uploads, visitor_store
from serdemo.ui.shell.examples import EXAMPLES, EXAMPLES_DIR
from serdemo.ui.shell.page import Page, footer_html

if TYPE_CHECKING:
    from serdemo.runs.registry.entry import Entry
    from serdemo.runs.registry.store import Registry
    from serdemo.schema.types import Prediction
    from serdemo.ui.shell.session import Visitors

Updates = dict[Any, Any]
Values = Mapping[Any, Any]  # of the components that a handler reads


class Handlers:
    """What the events of the tab do, given the values of the components that they read."""

    def __init__(self, page: Page, widgets: Widgets) -> None:
        self.page, self.widgets = page, widgets
        self.speeds: dict[Path, float] = {}  # times real time, of models measured on this page

    def refresh(self, values: Values, request: gr.Request, *, select: bool = False) -> Updates:
        """The current list, and the card of the selected model, else of the one that the browser remembers
        as chosen for answers, else of the first.

        The list's value is set only where it changes or `select` is set: a response under way would
        undo a choice made meanwhile.
        """
        from serdemo.runs.registry.summary import card_text, summarise

        ui, key = self.widgets, values[self.widgets.listed]
        entries = self._registry(values, request).entries()
        preferred = key or values[self.page.chosen]
        shown = next((entry for entry in entries if entry.key == preferred), entries[0])
        rows = {entry.key: summarise(entry) for entry in entries}
        others = [other for other, row in rows.items() if row.labels and other != shown.key]
        row = replace(rows[shown.key], times_real_time=self.speeds.get(shown.folder))
        value: dict[str, Any] = {"value": shown.key} if select or shown.key != key else {}
        other: dict[str, Any] = {}
        if values[ui.other] not in others:
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
        ui, owner = self.widgets, self.page.owner(token, request)
        is_local = owner is None
        available = self.page.corpora.choices() if permissions.may_train(owner) else []
        first = available[0][1] if available else None
        return {
            ui.owner_only: gr.Column(visible=is_local),
            ui.corpus: gr.Radio(available, value=first, visible=bool(available)),
            ui.folder: gr.Textbox(visible=is_local),
            ui.compare_corpus: gr.Button(visible=is_local or bool(available)),
        }

    def use(self, values: Values, request: gr.Request) -> Updates:
        """Answer the visitor by the selected model from now on."""
        key = values[self.widgets.listed]
        try:
            predictor = self.page.use(key, values[self.page.token], request)
        except SerdemoError as problem:
            return self._refusal(problem)
        return {
            self.widgets.message: html.in_use_html(key),
            self.page.footer: footer_html(request.session_hash, predictor),
            self.page.chosen: key,
        }

    def measure_speed(self, values: Values, request: gr.Request) -> Updates:
        """Measure the speed of the selected model on this machine."""
        from serdemo.inference.speed import times_real_time

        try:
            folder = self._selected(values, request).folder
            self.speeds[folder] = times_real_time(folder)
        except SerdemoError as problem:
            return self._refusal(problem)
        return {self.widgets.message: "", **self.refresh(values, request)}

    def export(self, values: Values, request: gr.Request) -> Updates:
        """Offer the selected model as a zip."""
        exported = self.widgets.exported
        try:
            archive = visitor_store.export(self._selected(values, request))
        except SerdemoError as problem:
            return {exported: gr.File(visible=False), **self._refusal(problem)}
        return {exported: gr.File(str(archive), visible=True), self.widgets.message: ""}

    def import_zip(self, values: Values, request: gr.Request) -> Updates:
        """Add the model of an uploaded zip."""
        archive = self.widgets.archive
        if values[archive] is None:
            return {archive: None, self.widgets.message: ""}
        try:
            owner = self._owner(values, request)
            entry = visitor_store.import_archive(Path(values[archive]), owner)
        except SerdemoError as problem:
            return {archive: None, **self._refusal(problem)}
        return {archive: None, **self._imported(entry, values, request)}

    def pull(self, values: Values, request: gr.Request) -> Updates:
        """Add a model of the Hugging Face hub."""
        try:
            repo = values[self.widgets.repo] or ""
            entry = visitor_store.import_from_hub(repo, self._owner(values, request))
        except SerdemoError as problem:
            return self._refusal(problem)
        return self._imported(entry, values, request)

    def push(self, values: Values, request: gr.Request) -> Updates:
        """Push the selected model to the hub; only for a local user, whose token it is."""
        from serdemo.runs.registry import hub

        ui = self.widgets
        try:
            if self._owner(values, request) is not None:
                raise UsageError("Models are pushed from the computer that serves this page.")
            folder, repo = self._selected(values, request).folder, (values[ui.repo] or "").strip()
            pushed = hub.push(folder, repo, public=values[ui.public], force=values[ui.force])
        except SerdemoError as problem:
            return self._refusal(problem)
        audience = "for you alone to see" if pushed.private else "for all to see"
        message = f"{values[ui.listed]} is at {pushed.url}, {audience}."
        return {ui.message: html.message_html(message)}

    def delete(self, values: Values, request: gr.Request) -> Updates:
        """Delete the selected model."""
        ui = self.widgets
        try:
            entry = self._selected(values, request)
            self._registry(values, request).delete(entry)
        except SerdemoError as problem:
            return {**self.refresh(values, request), **self._refusal(problem)}
        self.page.visitors.forget(entry.folder)
        message = html.message_html(f"{entry.key} is deleted.")
        values = {**values, ui.listed: None, self.page.chosen: ""}
        return {ui.message: message, **self.refresh(values, request)}

    def compare_clip(self, values: Values, request: gr.Request) -> Updates:
        """Show both models' predictions for the visitor's clip, else for an example voice."""
        ui, example = self.widgets, next(iter(EXAMPLES))
        path = values[ui.clip]
        file = EXAMPLES_DIR / EXAMPLES[example] if path is None else Path(path)
        title = example if path is None else "Your clip"
        try:
            pair = self._pair(values, request)
            sent = path is not None
            predictions = predict_both(self.page.visitors, pair, file, title, delete=sent)
        except SerdemoError as problem:
            return {ui.comparison: html.refusal_html(str(problem)), ui.clip: None}
        keys = (pair[0].key, pair[1].key)
        shown = view.clip_comparison_html(title, keys, predictions)
        return {ui.comparison: shown, ui.clip: None}

    def compare_corpus(
        self,
        values: Values,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (gradio looks for it here)
    ) -> Updates:
        """Compare both models on a known corpus or, for a local user, on a folder or table."""
        from serdemo.data import corpora
        from serdemo.evaluation import comparison

        owner = self._owner(values, request)
        # A visitor reaches no file of this machine.
        folder = (values[self.widgets.folder] or "").strip() if owner is None else ""
        corpus = values[self.widgets.corpus]
        source = folder or str(corpus)
        try:
            permissions.require_training(owner)
            pair = self._pair(values, request)
            if not folder and corpus not in [name for _, name in self.page.corpora.choices()]:
                raise UsageError("Choose a corpus to compare them on.")
            clips = corpora.load_many(source, data_root(None))
            first, second = (self.page.visitors.at(entry.folder) for entry in pair)
            comparisons = comparison.compare(
                *(first, second, clips, comparison.fairest_speaker_set(first, second, clips)),
                progress=lambda done, total: progress((done, total), unit="answers"),
                names=(pair[0].key, pair[1].key),
                max_clips=MAX_CLIPS,
            )
        except SerdemoError as problem:
            return {self.widgets.comparison: html.refusal_html(str(problem))}
        words = ("models", "compare", pair[0].key, pair[1].key, "--corpus", source)
        command = shlex.join(["serdemo", *words])
        shown = view.corpus_comparison_html(comparisons, command=command)
        return {self.widgets.comparison: shown}

    def _refusal(self, problem: SerdemoError) -> Updates:
        return {self.widgets.message: html.refusal_html(str(problem))}

    def _owner(self, values: Values, request: gr.Request) -> str | None:
        return self.page.owner(values[self.page.token], request)

    def _registry(self, values: Values, request: gr.Request) -> Registry:
        return self.page.models(values[self.page.token], request)

    def _selected(self, values: Values, request: gr.Request) -> Entry:
        return self._registry(values, request).get(values[self.widgets.listed])

    def _imported(self, entry: Entry, values: Values, request: gr.Request) -> Updates:
        self.page.visitors.forget(entry.folder)
        self.speeds.pop(entry.folder, None)
        message = html.message_html(f"It is kept as {entry.key}.")
        values = {**values, self.widgets.listed: entry.key}
        return {self.widgets.message: message, **self.refresh(values, request, select=True)}

    def _pair(self, values: Values, request: gr.Request) -> tuple[Entry, Entry]:
        if (other := values[self.widgets.other]) is None:
            raise UsageError(NO_OTHER_MODEL)
        return self._registry(values, request).get(other), self._selected(values, request)


def predict_both(
    visitors: Visitors, entries: tuple[Entry, Entry], path: Path, name: str, *, delete: bool
) -> tuple[Prediction, Prediction]:
    """The predictions of two models for a clip, whose file is deleted once it is read if `delete`.

    Raises SerdemoError when the clip cannot be read or a model has no classifier.
    """
    try:
        uploads.check_size(path, name)
        models = [visitors.at(entry.folder) for entry in entries]
        first, second = (model.predict(SoundFile(path, name, VISITOR)) for model in models)
    finally:
        if delete:
            uploads.delete(path)
    return first, second
