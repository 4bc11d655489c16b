"""`serdemo predict`: emotions of recordings, in the terminal or in files for other programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serdemo.cli.batch import BATCH, Batch
from serdemo.cli.exits import fail, tell
from serdemo.cli.options import CHECKPOINT, DEVICE, JSON, LABEL_MAP, LIST, PATH
from serdemo.inference import answers as documents
from serdemo.inference.answers import FORMATS, SUFFIXES, TIMELINES, Answer
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import atomic, make_folder
from serdemo.schema.text import counted

if TYPE_CHECKING:  # help need not wait for torch
    from serdemo.data.recording_list import Named
    from serdemo.inference.predictor import Predictor
    from serdemo.schema.types import Prediction


@click.command()
@click.argument("files", nargs=-1, type=PATH)
@LIST
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="Write this to stdout or --out [default: text, or by the suffix of --out].",
)
@click.option(
    "--out",
    type=PATH,
    help=f"File ({', '.join(SUFFIXES)}) to write; a folder for Parquet in parts, which a second start goes"
    " on with, or by --format for one timeline for each recording.",
)
@click.option(
    "--segments", is_flag=True, help="A row for each segment in CSV and Parquet, not each file."
)
@click.option(
    "--subtitles",
    type=PATH,
    help="An SRT or VTT file of the one recording: an emotion for each cue.",
)
@click.option(
    "--same-speaker",
    is_flag=True,
    help="All recordings are of one person, to whose voice the model gets used.",
)
@BATCH
@CHECKPOINT
@LABEL_MAP
@DEVICE
@JSON
def predict(
    files: Sequence[Path],
    list_file: Path | None,
    form: str | None,
    out: Path | None,
    segments: bool,
    subtitles: Path | None,
    same_speaker: bool,
    checkpoint: Path | None,
    label_map: dict[str, str] | None,
    device: str,
    as_json: bool,
    parts: Batch,
) -> None:
    """Recognise the emotion of the voice in each FILE, or in each sound or film of a folder."""
    from serdemo.data.recording_list import listed_recordings, named_recordings
    from serdemo.inference.predictor import Predictor

    if not files and list_file is None:
        raise UsageError("Name a recording or a folder, or a list of them with --list.")
    if out is not None and form in (None, "parquet") and (out.is_dir() or not out.suffix):
        if segments or subtitles is not None or same_speaker:
            raise UsageError("Parts hold a row for each recording: name a file with --out.")
        parts.run(
            *("predict", listed_recordings(files, list_file), out),
            checkpoint=checkpoint,
            device=device,
            label_map=label_map,
            as_json=as_json,
        )
        return
    parts.refuse()
    recordings = named_recordings(files, list_file)
    output = Output.chosen(form or ("json" if as_json else None), out, recordings)
    output = replace(output, segments=segments)
    if subtitles is not None and (len(recordings) > 1 or same_speaker):
        raise UsageError("--subtitles belongs to one recording: name that one alone.")
    if segments and output.form not in ("csv", "parquet"):
        raise UsageError("--segments is for CSV and Parquet; the other formats hold them anyway.")
    predictor = Predictor(checkpoint, device=device, label_map=label_map)
    if subtitles is not None:
        answering = _with_subtitles(predictor, recordings[0], subtitles)
    elif same_speaker:
        answering = _of_same_speaker(predictor, recordings)
    else:
        answering = _of_each(predictor, recordings, output)
    found: list[Answer] = []
    stopped = False
    try:
        for answer in answering:
            if answer.error:
                tell(answer.error)
            else:
                output.take(len(found), answer)
            found.append(answer)
    except KeyboardInterrupt:
        stopped = True
    output.finish(found)
    if stopped:
        fail(f"Stopped after {counted(len(found), 'recording')} of {len(recordings)}.", 130)
    if any(answer.error for answer in found):
        sys.exit(1)


@dataclass(frozen=True, slots=True)
class Output:
    """Where answers go: `form` is one of `FORMATS` or `text`; `out` None is stdout.

    `places` are the files of formats that hold one recording, by its number.
    """

    form: str
    out: Path | None
    places: tuple[Path, ...] = ()
    segments: bool = False

    @classmethod
    def chosen(cls, form: str | None, out: Path | None, recordings: Sequence[Named]) -> Output:
        """The output that the flags mean; raises UsageError for what cannot be written there."""
        if form is None and out is not None:
            form = SUFFIXES.get(out.suffix.lower())
            if form is None:
                raise UsageError(f"{out} has no suffix of {', '.join(SUFFIXES)}: give --format.")
        if form is None:
            return cls("text", None)
        if form == "parquet" and out is None:
            raise UsageError("Parquet is no text for a terminal: name a file with --out.")
        if form not in TIMELINES or (form == "rttm" and (out is None or not out.is_dir())):
            if out is not None and out.is_dir():
                raise UsageError(f"{out} is a folder: name a file with --out.")
            return cls(form, out)
        if out is None:
            if len(recordings) > 1:
                raise UsageError(
                    f"--format {form} holds one recording, not {len(recordings)}: name a folder with"
                    " --out."
                )
            return cls(form, None)
        if len(recordings) == 1 and out.suffix and not out.is_dir():
            return cls(form, None, (out,))
        stems = documents.unique_stems([name for name, _ in recordings])
        suffix = TIMELINES[form].suffix
        return cls(form, None, tuple(out / f"{stem}{suffix}" for stem in stems))

    def take(self, number: int, answer: Answer) -> None:
        """Write what has a place of its own as soon as it is known."""
        if self.form == "text":
            show(answer)
        elif self.places:
            make_folder(self.places[number].parent)
            _write(self.places[number], TIMELINES[self.form].text(answer))

    def finish(self, answers: Sequence[Answer]) -> None:
        """Write what holds all answers, all of a file or nothing of it."""
        if self.form == "text" or self.places:
            return
        if self.out is None:
            # Errors are on stderr; a table has a row for each recording.
            rows = answers if self.form in ("csv", "jsonl") else [a for a in answers if not a.error]
            click.echo(self._text(rows), nl=False)
        elif self.form == "parquet":
            from serdemo.inference.parquet_file import write_parquet

            with atomic(self.out) as temporary:
                write_parquet(self._table(answers), temporary)
        else:
            _write(self.out, self._text(answers))

    def _text(self, answers: Sequence[Answer]) -> str:
        if self.form == "csv":
            return documents.to_csv(self._table(answers))
        if self.form == "json":
            return documents.to_json(answers)
        if self.form == "jsonl":
            return documents.to_jsonl(answers)
        if self.form == "rttm":
            return documents.to_rttm(answers)
        return "".join(TIMELINES[self.form].text(answer) for answer in answers)

    def _table(self, answers: Sequence[Answer]) -> documents.Table:
        if any(answer.cues for answer in answers):
            return documents.cues_table(answers)
        return (documents.segments_table if self.segments else documents.files_table)(answers)


def show(answer: Answer) -> None:
    """Print an answer, or its cues."""
    from serdemo.cli.views.console import show_cues, show_prediction

    if answer.cues:
        show_cues(answer.cues, answer.file)
    elif answer.prediction:
        show_prediction(answer.prediction, answer.file)


def _write(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_bytes(documents.encoded(text))


def _answer(name: str, prediction: Prediction | SerdemoError) -> Answer:
    if isinstance(prediction, SerdemoError):
        return Answer(name, error=str(prediction))
    return Answer(name, prediction)


def _of_each(predictor: Predictor, recordings: Sequence[Named], output: Output) -> Iterator[Answer]:
    """Answers in order, with progress on stderr."""
    from serdemo.cli.views.console import progress, seconds_progress

    paths = [path for _, path in recordings]
    if len(paths) == 1:
        with seconds_progress("Listening") as listening:
            (prediction,) = predictor.predict_many(paths, listening)
        yield _answer(recordings[0][0], prediction)
        return
    # A line for each answer is progress enough.
    with progress("Listening", len(paths), hidden=output.form == "text") as advance:
        for number, prediction in enumerate(predictor.predict_many(paths)):
            yield _answer(recordings[number][0], prediction)
            advance(number + 1)


def _of_same_speaker(predictor: Predictor, recordings: Sequence[Named]) -> Iterator[Answer]:
    from serdemo.inference.same_speaker import predict_same_speaker

    found = predict_same_speaker(predictor, [path for _, path in recordings])
    tell(f"Used to this voice by {found.speech_s:.0f} s of its speech.")
    for (name, _), prediction in zip(recordings, found.predictions, strict=True):
        yield _answer(name, prediction)


def _with_subtitles(predictor: Predictor, recording: Named, subtitles: Path) -> Iterator[Answer]:
    from serdemo.cli.views.console import seconds_progress
    from serdemo.inference.cue_scores import score_cues
    from serdemo.inference.subtitles import read_subtitles

    name, path = recording
    cues = read_subtitles(subtitles)
    try:
        with predictor.open(path) as opened, seconds_progress("Listening") as advance:
            progress = partial(advance, total_s=opened.duration_s)
            scored, duration_s = score_cues(predictor, opened.pieces, cues, progress)
            for note in opened.notes:
                tell(f"{name}: {note}")
    except SerdemoError as problem:
        yield Answer(name, error=str(problem))
        return
    yield Answer(name, cues=tuple(scored), duration_s=duration_s)
