"""The tab Fine-tune: its layout, and which handler answers which event."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from serdemo.data import corpora
from serdemo.runs.job import OVER
from serdemo.runs.queue import JobQueue
from serdemo.runs.registry.entry import PREFIXES
from serdemo.runs.request import TrainingRequest
from serdemo.schema.errors import SerdemoError
from serdemo.schema.settings import runs_root
from serdemo.ui.adapt import tab as adapt_tab
from serdemo.ui.finetune import form as finetune_form
from serdemo.ui.finetune import handlers, run_view, start_models
from serdemo.ui.finetune.option_widgets import recipes_told
from serdemo.ui.shell import html, zerogpu
from serdemo.ui.shell.page import Page, footer_html

POLL_S = 1.0
LEAD = """<p>Teach a model new voices: choose clips, press Start, and watch it get better on speakers
it never heard. {}</p>"""
# On a phone the run is far below the button that begins it.
SEEN = "() => document.querySelector('#finetune-run')?.scrollIntoView({block: 'nearest'})"
GOES_ON = "A run goes on when you close the page."
LENT = "Keep the page open meanwhile: the Space lends a GPU to it, and takes it back from whoever leaves."


def build(page: Page) -> None:
    """Lay the tab out inside the page and connect it."""
    jobs = JobQueue(runs_root())
    gr.HTML(
        LEAD.format(LENT if zerogpu.is_zerogpu() else GOES_ON),
        elem_classes="sd-lead",
        apply_default_css=False,
    )
    adapt_tab.build(page)
    token, lent = page.token, zerogpu.gpu_train_function()
    with gr.Row(elem_classes="sd-columns", equal_height=False):
        with gr.Column(scale=4, min_width=300, elem_classes="sd-inputs"):
            form = finetune_form.laid_out(lent is not None)
            check = gr.Button("Check", elem_id="finetune-check")
            go = gr.Button("Start", variant="primary", elem_id="finetune-start")
            told = gr.HTML("", apply_default_css=False, elem_id="finetune-told")
        with gr.Column(scale=7, min_width=320, elem_classes="sd-follow"):
            chosen = gr.Radio([], label="Runs", visible=False, elem_id="finetune-runs")
            shown = gr.HTML(run_view.EMPTY, apply_default_css=False, elem_id="finetune-run")
            with gr.Row(visible=False) as buttons:
                use = gr.Button(
                    "Use this model", variant="primary", size="sm", elem_id="finetune-use"
                )
                stop = gr.Button("Stop", size="sm", elem_id="finetune-stop")
                resume = gr.Button("Resume", size="sm", elem_id="finetune-resume")
                delete = gr.Button("Delete", size="sm", elem_id="finetune-delete")
            used = gr.HTML("", apply_default_css=False, elem_id="finetune-used")
    timer = gr.Timer(POLL_S, active=False)
    outputs = [chosen, shown, buttons, use, stop, resume, delete, timer, form.start]
    seen = [chosen, form.start, token]  # what is looked at now, which an answer leaves as it is

    def begins(now: str, owner: str | None) -> Any:
        """What there is to begin with, chosen anew only where what was chosen is gone."""
        found = start_models.listed(jobs, owner)
        gone: dict[str, Any] = (
            {} if now in [key for _, key in found] else {"value": start_models.SHIPPED}
        )
        return gr.Radio(choices=found, **gone)

    def look(
        wanted: str | None, begin: str, token: str, request: gr.Request, choose: bool = False
    ) -> tuple[Any, ...]:
        owner = page.owner(token, request)
        own = jobs.all(owner)
        names = [job.name for job in own]
        name = wanted if wanted in names else (names[0] if names else None)
        if name is None:
            return (
                gr.Radio([], value=None, visible=False),
                run_view.EMPTY,
                gr.Row(visible=False),
                *[gr.skip()] * 4,
                gr.Timer(active=False),
                begins(begin, owner),
            )
        job = jobs.job(name)
        state = jobs.state(job)
        open_ = any(jobs.state(one) not in OVER for one in own)
        if open_:
            jobs.start_watcher()  # the page that they were asked for of may be gone
        # Said only where it changes: an answer under way would undo what is chosen meanwhile.
        value: dict[str, Any] = {"value": name} if choose or name != wanted else {}
        return (
            gr.Radio(choices=names, visible=True, **value),
            run_view.view(jobs, job),
            gr.Row(visible=True),
            gr.Button(interactive=start_models.leaves_model(jobs, job)),
            gr.Button(interactive=state in ("running", "waiting")),
            gr.Button(interactive=state in OVER - {"finished"}),
            gr.Button(interactive=state in OVER),
            gr.Timer(active=open_),
            gr.skip() if open_ else begins(begin, owner),
        )

    def on_load(token: str, request: gr.Request) -> tuple[Any, ...]:
        token = token or uuid.uuid4().hex
        owner = page.owner(token, request)
        return (
            token,
            gr.Radio(recipes_told(owner is None)),
            *form.data(corpora.available_corpora(), owner is None),
            *look(None, start_models.SHIPPED, token, request),
        )

    def requested(asked: dict[Any, Any], request: gr.Request) -> TrainingRequest:
        return form.request(asked, jobs, page.owner(asked[token], request))

    def at_hand(asked: dict[Any, Any], request: gr.Request) -> Iterator[tuple[str, Any, Any]]:
        """Fetch what is wanted of the hub, and begin with that."""
        if repo := (asked[form.hub] or "").strip():
            yield f"<p>Fetching {escape(repo)}…</p>", gr.skip(), gr.skip()
            owner = page.owner(asked[token], request)
            asked[form.start] = start_models.fetch(repo, owner)
            yield (
                "",
                "",
                gr.Radio(choices=start_models.listed(jobs, owner), value=asked[form.start]),
            )

    def on_check(asked: dict[Any, Any], request: gr.Request) -> Iterator[tuple[str, Any, Any]]:
        same = (gr.skip(), gr.skip())
        try:
            yield from at_hand(asked, request)
            asks, clips = handlers.load_clips(requested(asked, request))
            split = asks.split.split(clips)
            command = handlers.command(asks, handlers.free_name(asks, jobs))
            told = handlers.split_html(split)
            yield f"{told}<p>Measuring this machine, for some seconds…</p>", *same
            told += handlers.estimate_html(asks, split) + run_view.in_a_terminal(command)
            yield told, *same
        except SerdemoError as problem:
            yield html.refusal_html(str(problem)), *same

    def on_start(asked: dict[Any, Any], request: gr.Request) -> Iterator[tuple[Any, ...]]:
        same = [gr.skip()] * (len(outputs) - 1)
        try:
            for told, typed, begin in at_hand(asked, request):
                yield told, typed, *same, begin
            owner = page.owner(asked[token], request)
            job = handlers.new_job(requested(asked, request), jobs, owner)
            for _ in handlers.start(job, jobs, lent, asked[form.time]):
                shows = look(job.name, asked[form.start], asked[token], request, choose=True)
                yield "", gr.skip(), *shows
        except SerdemoError as problem:
            yield html.refusal_html(str(problem)), gr.skip(), *same, gr.skip()

    def on_resume(
        name: str, begin: str, token: str, request: gr.Request
    ) -> Iterator[tuple[Any, ...]]:
        try:
            if name in [job.name for job in jobs.all(page.owner(token, request))]:
                for _ in handlers.start(jobs.rerun(name), jobs, lent):
                    yield look(name, begin, token, request)
        except SerdemoError as problem:
            gr.Warning(str(problem))
        yield look(name, begin, token, request)

    def on_zip(path: str | None, before: str, token: str, request: gr.Request) -> tuple[Any, Any]:
        handlers.discard_upload(before, jobs)
        if path is None:
            return "", ""
        try:
            owner = page.owner(token, request)
            folder = handlers.receive_zip(Path(path), jobs.uploads, owner)
            return str(folder), f"<p>Received {folder.name}. Press Check to see what is in it.</p>"
        except SerdemoError as problem:
            return "", html.refusal_html(str(problem))

    def act(what: Callable[[str], Any]) -> Callable[..., tuple[Any, ...]]:
        def on_click(name: str, begin: str, token: str, request: gr.Request) -> tuple[Any, ...]:
            try:
                owner = page.owner(token, request)
                if name in [job.name for job in jobs.all(owner)]:
                    what(name)
            except SerdemoError as problem:
                gr.Warning(str(problem))
            return look(name, begin, token, request)

        return on_click

    def remove(name: str) -> None:
        jobs.delete(name)
        page.visitors.forget(jobs.path(name) / "checkpoint")

    def on_use(name: str, token: str, request: gr.Request) -> tuple[Any, ...]:
        key = f"{PREFIXES['run']}{name}"
        try:
            predictor = page.use(key, token, request)
        except SerdemoError as problem:
            return html.refusal_html(str(problem)), gr.skip(), gr.skip()
        return html.in_use_html(key), footer_html(request.session_hash, predictor), key

    for handler in page.fns.values():  # the one that lays out the options cannot be told itself
        handler.api_visibility = "private"
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    page.load(
        on_load,
        token,
        [token, form.recipe, form.here, form.named, form.folder, form.archive, *outputs],
        **quiet,
    )
    asked = {*form.asked, token}
    check.click(on_check, asked, [told, form.hub, form.start], concurrency_limit=2, **quiet)
    several = None if lent else 2  # the Space itself lets them wait
    go.click(on_start, asked, [told, form.hub, *outputs], concurrency_limit=several, **quiet)
    chosen.change(None, js=SEEN, **quiet)
    sent = [form.archive, form.uploaded, token]
    form.archive.upload(on_zip, sent, [form.uploaded, told], **quiet)
    form.archive.clear(on_zip, sent, [form.uploaded, told], **quiet)
    chosen.input(look, seen, outputs, trigger_mode="always_last", **quiet)
    chosen.input(lambda: "", None, used, **quiet)
    use.click(on_use, [chosen, token], [used, page.footer, page.chosen], **quiet)
    timer.tick(look, seen, outputs, **quiet)
    page.tab.select(look, seen, outputs, **quiet)  # another tab may have brought a model
    stop.click(act(jobs.stop), seen, outputs, **quiet)
    resume.click(on_resume, seen, outputs, concurrency_limit=several, **quiet)
    gone = delete.click(
        act(remove),
        seen,
        outputs,
        js="(...given) => { if (!confirm('Delete this run with all that it learnt?'))"
        " throw new Error('kept'); return given; }",
        **quiet,
    )
    gone.then(page.foot, None, page.footer, **quiet)
