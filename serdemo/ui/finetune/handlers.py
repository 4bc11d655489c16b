"""The handlers of the tab Fine-tune: each answers with the components that change and their updates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import Markup

from serdemo.data.corpora.folder_levels import LevelUnclearError
from serdemo.runs.job import OVER, Job, State, queue_position
from serdemo.runs.queue import JobQueue
from serdemo.runs.registry.entry import PREFIXES
from serdemo.runs.request import TrainingRequest
from serdemo.schema.errors import SerdemoError
from serdemo.ui.finetune import new_run, run_view, start_models
from serdemo.ui.finetune.form import Form, Updates
from serdemo.ui.shell import html, permissions, visitor_store
from serdemo.ui.shell.activity import note_refusal
from serdemo.ui.shell.page import Page, footer_html
from serdemo.ui.shell.zerogpu import GpuTrain

POLL_S = 1.0


class RunPanel:
    """The widgets beside the form, laid out where it is created: the visitor's runs, the one that is shown,
    and its buttons."""

    def __init__(self) -> None:
        self.runs = gr.Radio([], label="Runs", visible=False, elem_id="finetune-runs")
        self.run = gr.HTML(run_view.EMPTY, apply_default_css=False, elem_id="finetune-run")
        with gr.Row(visible=False) as self.buttons:
            self.use = gr.Button(
                "Use this model", variant="primary", size="sm", elem_id="finetune-use"
            )
            self.stop = gr.Button("Stop", size="sm", elem_id="finetune-stop")
            self.resume = gr.Button("Resume", size="sm", elem_id="finetune-resume")
            self.delete = gr.Button("Delete", size="sm", elem_id="finetune-delete")
        self.used = gr.HTML("", apply_default_css=False, elem_id="finetune-used")
        self.timer = gr.Timer(POLL_S, active=False)

    @property
    def refreshed(self) -> list[gr.blocks.Block]:
        """The widgets that follow the state of the runs."""
        return [
            *(self.runs, self.run, self.buttons, self.use),
            *(self.stop, self.resume, self.delete, self.timer),
        ]


class Handlers:
    """The handlers of one page's tab. `gpu_train` trains on a ZeroGPU Space, None elsewhere."""

    def __init__(
        self, page: Page, jobs: JobQueue, form: Form, panel: RunPanel, gpu_train: GpuTrain | None
    ) -> None:
        self.page, self.jobs, self.form, self.panel = page, jobs, form, panel
        self.gpu_train = gpu_train

    def on_load(self, token: str, request: gr.Request) -> Updates:
        """Show what there is for a browser."""
        owner = self.page.owner(token, request)
        return {
            **self.form.loaded(owner, self.page.corpora.choices()),
            # While a run is active the runs are shown anew each second, and this is not.
            self.form.start: self._start_choices(start_models.SHIPPED, owner, self.jobs.states()),
            **self.refresh(None, start_models.SHIPPED, token, request),
        }

    def refresh(
        self,
        selected: str | None,
        start: str,
        token: str,
        request: gr.Request,
        choose: bool = False,
    ) -> Updates:
        """Show the visitor's runs, and of those the `selected` one, or else the latest.

        `start` is the model chosen to begin with, which stays chosen as long as it is there; `choose` says
        that the selection is new to the page.
        """
        panel, owner = self.panel, self.page.owner(token, request)
        states = self.jobs.states()
        own = {job.name: (job, state) for job, state in states if job.belongs_to(owner)}
        if not own:
            return {
                panel.runs: gr.Radio([], value=None, visible=False),
                panel.run: run_view.EMPTY,
                panel.buttons: gr.Row(visible=False),
                panel.timer: gr.Timer(active=False),
                self.form.start: self._start_choices(start, owner, states),
            }
        name = selected if selected in own else next(iter(own))
        job, state = own[name]
        active = any(state not in OVER for _, state in own.values())
        if active:
            self.jobs.start_watcher()  # the page that submitted them may be gone
        # Set only where it changes: this answer may be older than the visitor's next choice.
        value: dict[str, Any] = {"value": name} if choose or name != selected else {}
        updates = {
            panel.runs: gr.Radio(choices=list(own), visible=True, **value),
            panel.run: run_view.view(self.jobs, job, state, queue_position(job, states)),
            panel.buttons: gr.Row(visible=True),
            panel.use: gr.Button(interactive=start_models.leaves_model(self.jobs, job, state)),
            panel.stop: gr.Button(interactive=state in ("running", "waiting")),
            panel.resume: gr.Button(interactive=state in OVER - {"finished"}),
            panel.delete: gr.Button(interactive=state in OVER),
            panel.timer: gr.Timer(active=active),
        }
        if not active:
            updates[self.form.start] = self._start_choices(start, owner, states)
        return updates

    def on_check(self, values: dict[Any, Any], request: gr.Request) -> Iterator[Updates]:
        """Show what a run would train on, how long it takes, and its command."""
        status = self.form.status
        try:
            yield from self._fetch_start(values, request)
            notes: list[str] = []
            training, clips = new_run.load_clips(self._request(values, request), notes.append)
            split = training.split.split(clips)
            shown = run_view.split_html(split, notes)
            yield {status: shown + Markup("<p>Measuring this machine, for some seconds…</p>")}
            command = new_run.command(training, new_run.free_name(training, self.jobs))
            shown += run_view.estimate_html(training, split) + run_view.command_html(command)
            yield {status: shown}
        except LevelUnclearError as problem:
            yield self._question(values, problem)
        except SerdemoError as problem:
            yield {status: html.refusal_html(str(problem))}

    def _question(self, values: dict[Any, Any], problem: LevelUnclearError) -> Updates:
        """What has to be chosen before the clips can be read."""
        message = (
            "It is not clear which folders are the people's and which the emotions': choose above."
        )
        return {
            self.form.status: html.message_html(message),
            self.form.level: self.form.level_choice(values, problem),
        }

    def on_submit(self, values: dict[Any, Any], request: gr.Request) -> Iterator[Updates]:
        """Start a run as it is filled in."""
        form, token = self.form, values[self.page.token]
        try:
            yield from self._fetch_start(values, request)
            owner = self.page.owner(token, request)
            job = new_run.new_job(self._request(values, request), self.jobs, owner)
            for _ in new_run.start(job, self.jobs, self.gpu_train, values[form.time]):
                shown = self.refresh(job.name, values[form.start], token, request, choose=True)
                yield {form.status: "", **shown}
        except LevelUnclearError as problem:
            yield self._question(values, problem)
        except SerdemoError as problem:
            yield {form.status: html.refusal_html(str(problem))}

    def on_resume(
        self, name: str, start: str, token: str, request: gr.Request
    ) -> Iterator[Updates]:
        """Let a run go on."""
        try:
            permissions.require_training(self.page.owner(token, request))
            if self._owns(name, token, request):
                for _ in new_run.start(self.jobs.rerun(name), self.jobs, self.gpu_train):
                    yield self.refresh(name, start, token, request)
        except SerdemoError as problem:
            note_refusal()
            gr.Warning(str(problem))
        yield self.refresh(name, start, token, request)

    def on_stop(self, name: str, start: str, token: str, request: gr.Request) -> Updates:
        """Stop a run, or take it out of the queue."""
        return self._act(self.jobs.stop, name, start, token, request)

    def on_delete(self, name: str, start: str, token: str, request: gr.Request) -> Updates:
        """Delete a run; its model answers nobody any more."""

        def delete(name: str) -> None:
            self.jobs.delete(name)
            self.page.visitors.forget(self.jobs.path(name) / "checkpoint")

        return self._act(delete, name, start, token, request)

    def on_use(self, name: str, token: str, request: gr.Request) -> Updates:
        """Let a run's model answer the visitor, in every tab."""
        key = f"{PREFIXES['run']}{name}"
        try:
            predictor = self.page.use(key, token, request)
        except SerdemoError as problem:
            return {self.panel.used: html.refusal_html(str(problem))}
        return {
            self.panel.used: html.in_use_html(key),
            self.page.footer: footer_html(request.session_hash, predictor),
            self.page.chosen: key,
        }

    def on_zip(self, path: str | None, before: str, token: str, request: gr.Request) -> Updates:
        """Unpack an uploaded zip in place of the one `before`; `path` is None where it is taken back."""
        form = self.form
        new_run.discard_upload(before, self.jobs)
        forgotten: Updates = {form.level: form.forget_level()}
        if path is None:
            return {form.uploaded: "", form.status: "", **forgotten}
        try:
            owner = self.page.owner(token, request)
            folder = new_run.receive_zip(Path(path), self.jobs, owner)
        except SerdemoError as problem:
            return {form.uploaded: "", form.status: html.refusal_html(str(problem)), **forgotten}
        message = f"Received {folder.name}. Press Check to see what is in it."
        return {form.uploaded: str(folder), form.status: html.message_html(message), **forgotten}

    def _request(self, values: dict[Any, Any], request: gr.Request) -> TrainingRequest:
        owner = self.page.owner(values[self.page.token], request)
        return self.form.request(values, self.jobs, owner)

    def _fetch_start(self, values: dict[Any, Any], request: gr.Request) -> Iterator[Updates]:
        """Fetch the model of the hub that is typed in, and choose it in `values` too; raises UsageError
        for a visitor who may not train."""
        form, owner = self.form, self.page.owner(values[self.page.token], request)
        permissions.require_training(owner)
        if not (repo := (values[form.hub] or "").strip()):
            return
        yield {form.status: Markup("<p>Fetching {}…</p>").format(repo)}
        key = visitor_store.import_from_hub(repo, owner).key
        values[form.start] = key
        choices = start_models.choices(self.jobs, owner)
        yield {form.status: "", form.hub: "", form.start: gr.Radio(choices=choices, value=key)}

    def _start_choices(
        self, chosen: str, owner: str | None, states: list[tuple[Job, State]]
    ) -> gr.Radio:
        """The models to begin with; another is chosen only where the `chosen` one is gone."""
        choices = start_models.choices(self.jobs, owner, states)
        gone = chosen not in [key for _, key in choices]
        value: dict[str, Any] = {"value": start_models.SHIPPED} if gone else {}
        return gr.Radio(choices=choices, **value)

    def _owns(self, name: str, token: str, request: gr.Request) -> bool:
        return name in [job.name for job in self.jobs.all(self.page.owner(token, request))]

    def _act(
        self,
        action: Callable[[str], object],
        name: str,
        start: str,
        token: str,
        request: gr.Request,
    ) -> Updates:
        """Do something to a run, if it is the visitor's own."""
        try:
            if self._owns(name, token, request):
                action(name)
        except SerdemoError as problem:
            note_refusal()
            gr.Warning(str(problem))
        return self.refresh(name, start, token, request)
