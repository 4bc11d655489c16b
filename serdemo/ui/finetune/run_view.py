"""The view of a training run: its clips before it starts, its state in words, its curves, its verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from serdemo.data.splits import Split
from serdemo.runs.event_log import event_log
from serdemo.runs.job import Job, JobStore, State
from serdemo.runs.request import TrainingRequest
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import read_json
from serdemo.schema.text import counted, counted_speakers
from serdemo.schema.types import is_known_speaker
from serdemo.training.events import EVENTS, EpochEnd, Event, Finished, Started, Step, Stopped
from serdemo.ui.finetune import new_run
from serdemo.ui.models import view as models_view
from serdemo.ui.shell import html, zerogpu
from serdemo.ui.shell.gradio_settings import scratch_folder
from serdemo.ui.shell.html import duration
from serdemo.ui.shell.templates import render

WIDTH, HEIGHT, MAX_POINTS = 320, 110, 120  # of a chart, in pixels
MIN_RATE_SPAN = 0.2  # of a chart of rates
MIN_TIMED_STEPS = 3  # before the time left is shown
EMPTY = """<section class="sd-run"><p class="sd-run-none">No run yet. Choose what to train on and
press Start: its progress appears here.</p></section>"""
USES = {"train": "to train on", "valid": "to choose by", "test": "to test on"}


def split_html(split: Split, notes: Sequence[str] = ()) -> Markup:
    """The clips of each emotion, clips and speakers of each part, and what is doubtful about them, after
    the `notes` of their reader."""
    from serdemo.runs import preflight

    clips = [clip for part in split.parts.values() for clip in part]
    parts = [
        f"{counted(len(part), 'clip')}{_of_speakers(split, name)} {USES[name]}"
        for name, part in split.parts.items()
    ]
    durations = [clip.duration_s for clip in clips if clip.duration_s]
    return render(
        "finetune/check.html",
        parts=parts,
        emotions=Counter(clip.emotion for clip in clips).most_common(),
        speaker_independent=split.speaker_independent,
        durations=(min(durations), max(durations)) if durations else None,
        warnings=(*notes, *preflight.preflight_warnings(split)),
    )


def _of_speakers(split: Split, part: str) -> str:
    speakers = split.speakers(part)
    known = sum(map(is_known_speaker, speakers))
    return f" of {counted_speakers(known) if speakers else '0 speakers'}"


def estimate_html(request: TrainingRequest, split: Split) -> Markup:
    """How long a run takes on this machine, and how many epochs fit into its time."""
    from serdemo.runs import estimate

    minutes = float(request.options["budget_minutes"])
    estimated = None
    if not zerogpu.is_zerogpu():
        estimated = estimate.estimate_duration(
            request.recipe, request.options, split, scratch_folder=scratch_folder()
        )
    return render("finetune/estimate.html", minutes=minutes, estimate=estimated)


def view(jobs: JobStore, job: Job, state: State, position: int = 0) -> Markup:
    """A run as a section of HTML; `position` is how many jobs are before it in the queue."""
    shown: dict[str, Any] = {"name": job.name, "state": state, "fault": ""}
    try:
        events = event_log(jobs.path(job.name) / EVENTS).read()
    except SerdemoError as problem:
        return render("finetune/run.html", **{**shown, "fault": str(problem)})
    steps = [event for event in events if isinstance(event, Step)]
    epochs = [event for event in events if isinstance(event, EpochEnd)]
    independent = all(e.speaker_independent for e in events if isinstance(e, Started))
    best = [event for event in epochs if event.best] or epochs
    last = events[-1] if events and state == "finished" else None  # with its process gone
    shown |= {
        "sentence": sentence(jobs, job, state, events, position),
        "verdict": verdict_html(jobs, job, last) if isinstance(last, Finished) else "",
        "progress": _progress(state, events),
        "figures": _figures(state, steps, epochs, independent),
        "charts": _charts(steps, epochs, independent),
        "confusion": best[-1] if best and epochs[-1].confusion else None,
        "command": new_run.command(job.request, job.name),
        "log": jobs.log_tail(job).strip(),
    }
    return render("finetune/run.html", **shown)


def verdict_html(jobs: JobStore, job: Job, finished: Finished) -> Markup:
    """The run's model beside the checkpoint it began with, or beside chance."""
    from serdemo.evaluation.comparison import load_before_after
    from serdemo.metrics.significance import compare_to_chance
    from serdemo.nn.checkpoint_files import REPORT

    folder = jobs.path(job.name)
    try:
        comparisons, _ = load_before_after(folder)
        if comparisons:
            columns = ("Before", "After")
            return Markup(models_view.corpus_comparison_html(comparisons, columns))
        report = folder / "checkpoint" / REPORT
        chance = finished.verdict.chance if finished.verdict else ()
        if not chance and report.is_file():  # such as of a run of version 0.1
            chance = tuple(compare_to_chance(read_json(report)))
    except SerdemoError as problem:
        return html.refusal_html(str(problem))
    return Markup(models_view.chance_html(chance) if chance else "")


def command_html(command: str) -> Markup:
    """A command, folded away."""
    return render("finetune/command.html", command=command)


def sentence(jobs: JobStore, job: Job, state: State, events: Sequence[Event], position: int) -> str:
    """The state of a run in words; never 'finished' unless it is."""
    last = events[-1] if events else None
    if state == "waiting":
        return f"Waiting: {position} before it." if position else "Waiting: it starts in a moment."
    if state == "running":
        return _training_sentence(job, events)
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
    reason = jobs.failure_reason(job)
    saved = (jobs.path(job.name) / "resume").exists()
    return f"Broke off: {reason}" + (" Resume goes on from what was saved." if saved else "")


def _training_sentence(job: Job, events: Sequence[Event]) -> str:
    steps = [event for event in events if isinstance(event, Step)]
    recent = [step for step in steps[-MIN_TIMED_STEPS:] if step.time >= job.started_at]
    if not recent:
        return "Starting: the program is loaded and the clips are read."
    if isinstance(events[-1], EpochEnd) or steps[-1].left_s < 1:
        return "Training: about to save or to be scored."
    if len(recent) < MIN_TIMED_STEPS:
        return "Training: its first steps are timed."
    return f"Training: {duration(steps[-1].left_s)} left."


def _progress(state: State, events: Sequence[Event]) -> float | None:
    """The share of the training that is done, None where that is not shown."""
    started = [event for event in events if isinstance(event, Started)]
    steps = [event for event in events if isinstance(event, Step)]
    if not started or state not in ("running", "stopping", "stopped"):
        return None
    done = steps[-1].step if steps else started[-1].resumed_step
    # A time limit may end it before its last step: then the share of the time counts.
    share = done / max(1, started[-1].steps)
    if steps and steps[-1].left_s > 0:
        spent = steps[-1].time - started[-1].time
        share = max(share, spent / (spent + steps[-1].left_s))
    return share


def _figures(
    state: State, steps: Sequence[Step], epochs: Sequence[EpochEnd], independent: bool
) -> list[tuple[str, str]]:
    figures = []
    if steps:
        figures.append(("epoch", str(steps[-1].epoch + 1)))
        if state == "running":
            figures.append(("clips a second", f"{steps[-1].clips_per_s:.0f}"))
    recalls = [event.metrics["uar"] for event in epochs if "uar" in event.metrics]
    if recalls:
        figures.append((f"best UAR of {_held_out(independent)}", f"{max(recalls):.1%}"))
    return figures


def _held_out(independent: bool) -> str:
    return "speakers not trained on" if independent else "clips not trained on"


def _charts(steps: Sequence[Step], epochs: Sequence[EpochEnd], independent: bool) -> list[Markup]:
    if not steps:
        return []
    size = max(1, len(steps) // MAX_POINTS)
    bins = [steps[start : start + size] for start in range(0, len(steps), size)]
    losses = [(part[-1].step, sum(step.loss for step in part) / len(part)) for part in bins]
    rates = [(part[-1].step, part[-1].learning_rate) for part in bins]
    charts = [chart("Loss", losses, "{:.2f}"), chart("Learning rate", rates, "{:.0e}")]
    recalls = [(epoch.step, epoch.metrics["uar"]) for epoch in epochs if "uar" in epoch.metrics]
    if recalls:
        title = f"UAR, {_held_out(independent)}"
        charts.insert(1, chart(title, recalls, "{:.0%}", MIN_RATE_SPAN))
    return charts


def chart(
    title: str, points: Sequence[tuple[float, float]], form: str, span: float = 0.0
) -> Markup:
    """A line through (x, y) points, with its range and its last value in words.

    `form` formats a y. `span` is the least that the frame spans, for rates from 0 to 1: without it noise
    looks like progress.
    """
    xs, ys = zip(*points, strict=True)
    low, high = min(ys), max(ys)
    width, height = max(xs) - min(xs) or 1.0, max(high - low, span) or 1.0
    if high - low < span:
        low = min(max(0.0, (low + high - span) / 2), 1 - span)
        high = low + span
    pixels = [
        (
            f"{4 + (WIDTH - 8) * (x - min(xs)) / width:.1f}",
            f"{HEIGHT - 6 - (HEIGHT - 12) * (y - low) / height:.1f}",
        )
        for x, y in points
    ]
    return render(
        "finetune/chart.html",
        title=title,
        size=(WIDTH, HEIGHT),
        pixels=pixels,
        last=form.format(ys[-1]),
        range=(form.format(min(ys)), form.format(max(ys))),
        frame=(form.format(low), form.format(high)),
    )
