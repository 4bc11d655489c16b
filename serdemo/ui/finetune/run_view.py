"""What the page shows of a training run: its state in words, its course as curves, its end."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from serdemo.runs.job import Job, State, queue_position
from serdemo.runs.queue import JobQueue
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import read_json
from serdemo.training.events import EVENTS, EpochEnd, Event, Finished, Started, Step, Stopped, read
from serdemo.ui.finetune import handlers
from serdemo.ui.models import view as models_view
from serdemo.ui.shell import html
from serdemo.ui.shell.html import duration

WIDTH, HEIGHT, MOST_POINTS = 320, 110, 120
RATE_SPAN = 0.2  # of a curve of rates, at least
TIMED = 3  # steps, before how long the rest takes is told
EMPTY = """<section class="sd-run"><p class="sd-run-none">No run yet. Choose what to train on and
press Start: its progress appears here, and stays when you close the page.</p></section>"""


def view(jobs: JobQueue, job: Job) -> str:
    """One run as a section of HTML."""
    state = jobs.state(job)
    events: list[Event] = []
    try:
        events = list(read(jobs.path(job.name) / EVENTS))
    except SerdemoError as problem:
        return _section(job, state, f"<p>{escape(str(problem))}</p>")
    steps = [event for event in events if isinstance(event, Step)]
    epochs = [event for event in events if isinstance(event, EpochEnd)]
    last = events[-1] if events else None
    body = [
        f'<p role="status" class="sd-run-said">{escape(sentence(jobs, job, state, events))}</p>',
        _verdict_html(jobs, job, last) if isinstance(last, Finished) else "",
        _progress(state, events),
        _numbers(state, steps, epochs),
    ]
    if steps:
        body.append(_curves(steps, epochs))
    if epochs and epochs[-1].confusion:
        best = [event for event in epochs if event.best] or epochs
        body.append(_confusion(best[-1]))
    body.append(in_a_terminal(handlers.command(job.request, job.name)))
    if log := jobs.log_tail(job).strip():
        body.append(
            f"<details><summary>The end of its log</summary><pre>{escape(log)}</pre></details>"
        )
    return _section(job, state, "".join(body))


def _verdict_html(jobs: JobQueue, job: Job, finished: Finished) -> str:
    """The run's model beside the checkpoint it began with, or beside chance."""
    from serdemo.evaluation.baselines import REPORT
    from serdemo.evaluation.comparison import load_before_after
    from serdemo.metrics.significance import compare_to_chance

    folder = jobs.path(job.name)
    try:
        comparisons, _ = load_before_after(folder)
        if comparisons:
            return models_view.corpus_comparison_html(comparisons, ("Before", "After"))
        report = folder / "checkpoint" / REPORT
        chance = finished.verdict.chance if finished.verdict else ()
        if not chance and report.is_file():  # such as of a run of version 0.1
            chance = tuple(compare_to_chance(read_json(report)))
    except SerdemoError as problem:
        return html.refusal_html(str(problem))
    return models_view.chance_html(chance) if chance else ""


def in_a_terminal(command: str) -> str:
    """A command, folded away."""
    return (
        f"<details><summary>The same in a terminal</summary><pre>{escape(command)}</pre></details>"
    )


def sentence(jobs: JobQueue, job: Job, state: State, events: Sequence[Event]) -> str:
    """Where a run stands, in words; never 'finished' unless it is."""
    last = events[-1] if events else None
    steps = [event for event in events if isinstance(event, Step)]
    if state == "waiting":
        before = queue_position(job, jobs.states())
        return f"Waiting: {before} before it." if before else "Waiting: it starts in a moment."
    if state == "running":
        now = [step for step in steps[-TIMED:] if step.time >= job.started_at]
        if not now:
            return "Starting: the program is loaded and the clips are read."
        if isinstance(last, EpochEnd) or steps[-1].left_s < 1:
            return "Training: about to save or to be scored."
        if len(now) < TIMED:
            return "Training: its first steps are timed."
        return f"Training: {duration(steps[-1].left_s)} left."
    if state == "stopping":
        return "Stopping: it saves what it has learnt so far."
    if state == "stopped":
        reason = last.reason if isinstance(last, Stopped) else "as asked"
        return f"Stopped ({reason}). What it learnt is saved; Resume goes on from there."
    if state == "finished":
        note = last.note if isinstance(last, Finished) else ""
        return f"Finished. {note}".strip()
    if state == "withdrawn":
        return "Taken out of the queue before it began."
    why = jobs.failure_reason(job)
    saved = (jobs.path(job.name) / "resume").exists()
    return f"Broke off: {why}" + (" Resume goes on from what was saved." if saved else "")


def _section(job: Job, state: State, body: str) -> str:
    name = escape(job.name)
    return (
        f'<section class="sd-run" aria-label="Run {name}"><h3>{name} '
        f'<span class="sd-state" data-state="{state}">{state}</span></h3>{body}</section>'
    )


def _progress(state: State, events: Sequence[Event]) -> str:
    started = [event for event in events if isinstance(event, Started)]
    steps = [event for event in events if isinstance(event, Step)]
    if not started or state not in ("running", "stopping", "stopped"):
        return ""
    done = steps[-1].step if steps else started[-1].resumed_step
    # A time limit may end it before its last step: then the share of the time counts.
    share = done / max(1, started[-1].steps)
    if steps and steps[-1].left_s > 0:
        spent = steps[-1].time - started[-1].time
        share = max(share, spent / (spent + steps[-1].left_s))
    return (
        f'<progress class="sd-run-bar" max="1" value="{share:.4f}" aria-label="Progress">'
        f"{share:.0%}</progress>"
    )


def _numbers(state: State, steps: Sequence[Step], epochs: Sequence[EpochEnd]) -> str:
    shown = []
    if steps:
        shown.append(("epoch", str(steps[-1].epoch + 1)))
        if state == "running":
            shown.append(("clips a second", f"{steps[-1].clips_per_s:.0f}"))
    scores = [event.metrics["uar"] for event in epochs if "uar" in event.metrics]
    if scores:
        shown.append(("best UAR of speakers not trained on", f"{max(scores):.1%}"))
    rows = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in shown)
    return f'<dl class="sd-run-numbers">{rows}</dl>' if rows else ""


def _curves(steps: Sequence[Step], epochs: Sequence[EpochEnd]) -> str:
    every = max(1, len(steps) // MOST_POINTS)
    drawn = [steps[at : at + every] for at in range(0, len(steps), every)]
    means = [(some[-1].step, sum(s.loss for s in some) / len(some)) for some in drawn]
    rates = [(some[-1].step, some[-1].learning_rate) for some in drawn]
    charts = [chart("Loss", means, "{:.2f}"), chart("Learning rate", rates, "{:.0e}")]
    scores = [(e.step, e.metrics["uar"]) for e in epochs if "uar" in e.metrics]
    if scores:
        charts.insert(1, chart("UAR, speakers not trained on", scores, "{:.0%}", RATE_SPAN))
    return f'<div class="sd-charts">{"".join(charts)}</div>'


def chart(title: str, points: Sequence[tuple[float, float]], form: str, span: float = 0.0) -> str:
    """A line through (x, y) points, with its range and its last value in words.

    `span` is the least that the frame spans, for rates from 0 to 1: chance looks like no leap.
    """
    xs, ys = zip(*points, strict=True)
    low, high = min(ys), max(ys)
    wide, tall = max(xs) - min(xs) or 1.0, max(high - low, span) or 1.0
    if high - low < span:
        low = min(max(0.0, (low + high - span) / 2), 1 - span)
        high = low + span
    line = " ".join(
        f"{4 + (WIDTH - 8) * (x - min(xs)) / wide:.1f},"
        f"{HEIGHT - 6 - (HEIGHT - 12) * (y - low) / tall:.1f}"
        for x, y in points
    )
    end = line.rsplit(" ", 1)[-1].split(",")
    told = f"{title}: {form.format(ys[-1])} now, between {form.format(min(ys))} and {form.format(max(ys))}"
    return (
        f'<figure class="sd-chart" data-points="{len(points)}"><figcaption>{title}'
        f" <b>{form.format(ys[-1])}</b></figcaption>"
        f'<div class="sd-chart-frame"><p aria-hidden="true"><span>{form.format(high)}</span>'
        f"<span>{form.format(low)}</span></p>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{told}"'
        f' preserveAspectRatio="none"><polyline points="{line}"/>'
        f'<circle cx="{end[0]}" cy="{end[1]}" r="3.5"/></svg></div></figure>'
    )


def _confusion(event: EpochEnd) -> str:
    """Rows are what was said, columns what was answered; as shares of the row."""
    head = "".join(f'<th scope="col">{escape(label)}</th>' for label in event.labels)
    rows = []
    for label, counts in zip(event.labels, event.confusion, strict=True):
        total = sum(counts)
        if not total:
            continue
        cells = "".join(
            f'<td style="--share:{count / total:.2f}">{count or "·"}</td>' for count in counts
        )
        rows.append(f'<tr><th scope="row">{escape(label)}</th>{cells}</tr>')
    return (
        "<details><summary>Who is taken for whom</summary>"
        f'<div class="sd-scroll"><table class="sd-confusion"><caption>Best epoch: rows are true,'
        f" columns answered.</caption><thead><tr><th></th>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div></details>"
    )
