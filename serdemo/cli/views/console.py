"""Terminal output: predictions as bars, tables, and progress bars."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from serdemo.data.corpora import Status
from serdemo.schema import palette
from serdemo.schema.text import counted, counted_speakers
from serdemo.schema.types import Prediction, Segment
from serdemo.training.events import (
    EpochEnd,
    Event,
    Failed,
    Finished,
    Saved,
    Started,
    Step,
    Stopped,
    Verdict,
)

if TYPE_CHECKING:  # a bar need not wait for torch
    from serdemo.evaluation.adaptation import AdaptationGain
    from serdemo.evaluation.report import Document
    from serdemo.evaluation.scoring import Report
    from serdemo.inference.cue_scores import ScoredCue

BAR = 24
MIN_WIDTH = 110  # columns of a wide table, whose cells cannot be read when they are broken


def plain_console() -> Console:
    """The terminal, without markup, on which the terminal itself breaks lines."""
    return Console(highlight=False, markup=False, soft_wrap=True)


def show_prediction(answer: Prediction, file: str) -> None:
    """Print the prediction, a bar for each emotion, the segments, and the warnings."""
    out = plain_console()
    out.print(Text(f"{file}  ({answer.duration_s:.1f} s)", style="bold"))
    out.print(f"  {palette.sentence(answer)}")
    if answer.has_speech:
        if answer.is_multi_label:
            out.print("    Each label by itself, as several may apply:")
        width = max([10, *map(len, answer.probabilities)])
        for label in answer.nearest(len(answer.probabilities)):
            share = answer.probabilities[label]
            bar = Text("█" * round(BAR * share) or "▏", style=palette.style_of(label).colour)
            out.print(Text(f"    {label:<{width}} {share:>4.0%} "), bar, sep="")
        if len(answer.segments) > 1:
            course = Text("    ")
            for segment in answer.segments:
                name = segment_words(segment)
                course.append(
                    f"{segment.start_s:.1f}-{segment.end_s:.1f} s {name}",
                    style=palette.style_of(name).colour,
                )
                course.append("  ")
            out.print(course, soft_wrap=False)
    for warning in answer.warnings:
        out.print(f"  Note: {warning}")


def segment_words(segment: Segment) -> str:
    """The label of a segment, or the values of a regression; "no speech" where it holds none."""
    if segment.speech_ratio <= 0:
        return "no speech"
    return segment.label or " ".join(f"{value:.2f}" for value in segment.dimensions.values())


def show_corpora(rows: Sequence[Status]) -> None:
    """Print how much of each corpus is present, then its licence, protocol and source."""
    table = Table("corpus", "language", "clips", "speakers", "state", box=None)
    for row in rows:
        state = "complete" if row.complete else "in part" if row.clips else "not found"
        table.add_row(
            row.name,
            row.language,
            f"{row.clips} of {row.expected_clips or '?'}",
            f"{row.speakers} of {row.expected_speakers or '?'}",
            state,
        )
    out = plain_console()
    out.print(table, soft_wrap=False)
    for row in rows:
        out.print(Text(f"\n{row.name}: {row.title}", style="bold"))
        out.print(f"  licence: {row.licence}\n  test: {row.protocol}")
        if row.missing:
            out.print(f"  {'the rest' if row.clips else 'to get it'}: {row.missing}")


def show_report(report: Report) -> None:
    """Print scores in percent with the interval, and the confusion matrix."""
    scores, out = report.scores, plain_console()
    out.print(f"{report.checkpoint} on {report.corpus}: {scores.n} clips of {report.who}")
    low, high = scores.uar_ci95
    out.print(
        f"  UAR {scores.uar:.1%} (95 % interval over {scores.ci95_over} {low:.1%} to {high:.1%}),"
        f" WA {scores.wa:.1%}, macro F1 {scores.macro_f1:.1%}, calibration error {scores.ece:.3f}"
    )
    if report.adapted:
        out.print(f"  {adaptation_phrase(report.adapted)}")
    table = Table("true \\ answer", *scores.labels, box=None)
    for label, row in zip(scores.labels, scores.confusion, strict=True):
        if sum(row):
            table.add_row(label, *(str(count) if count else "·" for count in row))
    out.print(table, soft_wrap=False)
    for part in report.by_corpus:
        out.print(
            f"  {part.corpus}: UAR {part.scores.uar:.1%}, WA {part.scores.wa:.1%}, macro F1"
            f" {part.scores.macro_f1:.1%}, calibration error {part.scores.ece:.3f},"
            f" {part.scores.n} clips, {counted_speakers(part.scores.speakers)}"
        )
        if part.adapted:
            out.print(f"    {adaptation_phrase(part.adapted)}")
    for sentence in report.unreadable:
        out.print(f"  Left out: {sentence}")


def adaptation_phrase(gain: AdaptationGain) -> str:
    """UAR after adaptation to the speakers, and its difference to the UAR without."""
    low, high = (f"{100 * bound:+.1f}" for bound in gain.ci95)
    return (
        f"used to each speaker by {counted(gain.clips, 'other clip')}: UAR {gain.uar:.1%},"
        f" {100 * gain.difference:+.1f} points (95 % interval {low} to {high})"
    )


def show_protocol(document: Document, folder: Path) -> None:
    """Print the tables of a cross-validation, the effect of leakage, and the path of the report."""
    from serdemo.evaluation.report import leakage_sentence, tables

    out = plain_console()
    out.width = max(out.width, MIN_WIDTH)
    out.print(document["protocol"])
    for title, (head, *rows) in tables(document):
        table = Table(*head, box=None, title=title, title_justify="left", title_style="bold")
        for row in rows:
            table.add_row(*row)
        out.print()
        out.print(table, soft_wrap=False)
    if sentence := leakage_sentence(document):
        out.print(f"\n{sentence}")
    out.print(f"\nThe report: {folder / 'report.md'}")


@contextmanager
def progress(title: str, total: int, *, hidden: bool = False) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on stderr; yields a function of the number done."""
    with _bar(hidden) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def seconds_progress(title: str, *, hidden: bool = False) -> Iterator[Callable[..., None]]:
    """Show progress through a recording on stderr; yields a function `(done_s, total_s=None)`."""
    with _bar(hidden) as bar:
        task = bar.add_task(title, total=None)

        def advance(done_s: float, total_s: float | None = None) -> None:
            bar.update(task, completed=round(done_s), total=total_s and round(total_s))

        yield advance


def show_cues(cues: Sequence[ScoredCue], file: str) -> None:
    """Print a line for each cue of a recording: times, label, confidence and text."""
    out = plain_console()
    out.print(Text(file, style="bold"))
    for scored in cues:
        times = f"  {scored.cue.start_s:8.2f} to {scored.cue.end_s:8.2f} s  "
        words = " ".join(scored.cue.text.split())
        if scored.error:
            out.print(f"{times}{'-':<20} {words}  ({scored.error})")
            continue
        caption = f"not sure: {scored.label}" if scored.is_unsure else scored.span.caption
        colour = palette.style_of(scored.label).colour
        out.print(Text(times), Text(f"{caption:<20} ", style=colour), Text(words), sep="")


def show_training(events: Iterable[Event]) -> None:
    """Show a training run: a bar with loss, speed and time left, and a line for each epoch."""
    with _bar(False) as bar:
        task = bar.add_task("Starting", total=None)
        for event in events:
            if isinstance(event, Started):
                bar.console.print(
                    f"{event.recipe}: {event.train_clips} clips to train on, {event.valid_clips} to"
                    f" choose by, {event.parameters / 1e6:.2f} M parameters,"
                    f" {event.device}, {event.precision}"
                    + (f", {event.processes} processes" if event.processes > 1 else "")
                )
                bar.update(task, total=event.steps, completed=event.resumed_step)
            elif isinstance(event, Step):
                text = f"{event.stage} {event.epoch + 1}: loss {event.loss:.3f}, {event.clips_per_s:.0f} clips/s"
                bar.update(task, completed=event.step, description=text)
            elif isinstance(event, EpochEnd):
                figures = ", ".join(f"{k} {v:.1%}" for k, v in event.metrics.items())
                best = " (best so far)" if event.best else ""
                bar.console.print(f"epoch {event.epoch + 1}: {figures}{best}")
            elif isinstance(event, Stopped):
                bar.console.print(f"Stopped {event.reason}; saved, go on with --resume.")
            elif isinstance(event, Finished):
                bar.console.print(f"Finished in {event.seconds:.0f} s. {event.note}".strip())
                if event.verdict is not None:
                    bar.console.print(verdict_sentence(event.verdict))
            else:
                assert isinstance(event, Saved | Failed)  # shown by the bar and the error


def verdict_sentence(verdict: Verdict) -> str:
    """A run's verdict, with the figures that it rests on."""
    paired = verdict.paired
    if paired is None:
        return " ".join(comparison.sentence for comparison in verdict.chance)
    speakers = counted_speakers(verdict.speakers, unseen=verdict.unseen_speakers)
    low, high = (f"{100 * bound:+.1f}" for bound in paired.ci95)
    return (
        f"Compared with {verdict.before}: {paired.words}; {counted(paired.n, 'clip')} of {speakers}"
        f" (95 % interval of the difference {low} to {high} points)."
    )


def _bar(hidden: bool) -> Progress:
    """A transient bar, disabled where stderr is no terminal."""
    console = Console(stderr=True, highlight=False)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=hidden or not console.is_terminal,
    )
