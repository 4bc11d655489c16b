"""Answers for recordings: each is read, deleted and answered."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, TypeVar

import gradio as gr

from serdemo.audio import waveform
from serdemo.inference.subtitles import SUBTITLE_SUFFIXES, Cue, read_subtitles
from serdemo.schema.errors import SerdemoError, UsageError, trace
from serdemo.ui.recognise import view
from serdemo.ui.recognise.background import Progress, StoppedError, followed
from serdemo.ui.recognise.drawing import Drawing, Outline
from serdemo.ui.shell.examples import EXAMPLES, example
from serdemo.ui.shell.html import clock
from serdemo.ui.shell.session import TrackedRequest, WarmPredictor
from serdemo.ui.shell.uploads import FAULT, Recording, check_size

if TYPE_CHECKING:
    from serdemo.inference.cue_scores import ScoredCue
    from serdemo.inference.predictor import Predictor
    from serdemo.schema.types import Prediction

TOO_MUCH = "{} is too much to be answered together with the others: answer it by itself."
Result = TypeVar("Result")
log = logging.getLogger(__name__)


def first_screen(model: WarmPredictor) -> str:
    """The answer for the first example, or the sentence why there is no model."""
    recording = example(next(iter(EXAMPLES)))
    try:
        return model.once(lambda predictor: view.answers_page([answer(predictor, recording)]))
    except SerdemoError as error:
        return view.refusal_page(str(error))
    except Exception as problem:
        log.error("the first screen failed: %s", trace(problem))
        return view.refusal_page(FAULT)


def recognise(
    model: WarmPredictor,
    recordings: Sequence[Recording],
    run: TrackedRequest,
    same_person: bool = False,
) -> Iterator[str]:
    """Answer the recordings one by one, or those of the same person together; yields pages, the last of
    them the result.

    A file that cannot be answered gets a toast and its sentence. Ends after the current file when
    `run` is stopped, and without a result when it is replaced.
    """
    recordings = with_subtitles(recordings)
    done: list[view.Answer] = []
    total = len(recordings)
    box = None
    try:
        yield view.waiting_page(_progress(recordings, 0, 0), 0, total)
        predictor = model.get()
        if total > 1 and adapts(predictor):
            box = view.SamePerson()
        started = time.monotonic()
        if same_person and box:
            done, speech_s = answer_same_person(predictor, recordings, run)
            box = view.SamePerson(True, view.adaptation_note(speech_s))
        for recording in recordings[len(done) :]:
            if run.stopped:
                break
            left_s = 0.0
            if done:
                left_s = (time.monotonic() - started) / len(done) * (total - len(done))
                yield view.waiting_page(_progress(recordings, len(done), left_s), len(done), total)
            text = _progress(recordings, len(done), left_s)
            try:
                done.append((yield from _followed(predictor, recording, run, text)))
            except StoppedError:
                break
        if run.replaced:
            return
        refusals = [item.refusal for item in done if item.refusal]
        if len(refusals) > 3:
            n_refused = f"{len(refusals)} of {len(done)} files"
            refusals = [f"{n_refused} could not be answered: the table says why."]
        for sentence in refusals:
            gr.Warning(sentence)
        files = "file" if total == 1 else "files"
        note = f"Stopped after {len(done)} of {total} {files}." if len(done) < total else ""
        yield view.answers_page(done, note, box) if done else view.refusal_page(note)
    except SerdemoError as error:
        yield view.refusal_page(str(error))
    except Exception as problem:
        log.error("recognising failed: %s", trace(problem))
        yield view.refusal_page(FAULT)
    finally:
        run.end()
        for recording in recordings:
            recording.forget()


def with_subtitles(recordings: Sequence[Recording]) -> list[Recording]:
    """The recordings, each with the subtitle file of its name, or the only one with the only file.

    Subtitles without a recording become a refusal.
    """
    files = [r for r in recordings if PurePath(r.name).suffix.lower() in SUBTITLE_SUFFIXES]
    sounds = [r for r in recordings if r not in files]
    paired: list[Recording] = []
    for sound in sounds:
        stem = PurePath(sound.name).stem.casefold()
        named = [file for file in files if PurePath(file.name).stem.casefold().startswith(stem)]
        if len(sounds) == len(files) == 1:
            named = files
        paired.append(replace(sound, subtitles=named[0]) if named else sound)
        files = [file for file in files if file not in named[:1]]
    lonely = "{} belongs to no recording here: drop it together with the one of its name."
    for file in files:
        file.forget()
        paired.append(Recording(None, file.name, refusal=lonely.format(file.name)))
    return paired


def answer(predictor: Predictor, recording: Recording) -> view.Answer:
    """Decode, delete and answer one short recording; a refusal is an answer too."""
    return _answered(_decoded(predictor, recording), predictor.predict)


def _followed(
    predictor: Predictor, recording: Recording, run: TrackedRequest, text: str
) -> Generator[str, None, view.Answer]:
    """Decode, answer and delete one recording, yielding pages with `text` while a long one takes its
    time. A refusal is an answer too. Raises StoppedError."""
    from serdemo.inference.predictor import LONG_S

    path = recording.path
    if path is None or (recording.keep and recording.subtitles is None):
        return answer(predictor, recording)
    try:
        if not recording.unlimited:
            check_size(path, recording.name)
        with predictor.open(recording.source) as opened:
            if clip := opened.head(LONG_S):
                found = view.Answer(recording.name, clip, origin=recording.origin)
            else:
                work = partial(_answer_long, predictor, opened)
                found = yield from _pages(followed(work, run), text)
        if recording.subtitles is None:
            recording.forget()  # at once; a recording with subtitles is read twice
        if clip:
            found = _answered(found, predictor.predict)
        if recording.subtitles is None or found.prediction is None:
            return found
        cues = _cues(recording.subtitles)
        scoring = partial(_score_cues, predictor, recording.source, cues)
        scored = yield from _pages(
            followed(scoring, run), f"Listening to the cues of {recording.name}"
        )
        return replace(found, cues=tuple(scored))
    except SerdemoError as error:
        return view.Answer(recording.name, refusal=str(error), origin=recording.origin)
    finally:
        recording.forget()


def _answer_long(
    predictor: Predictor, opened: waveform.Recording, progress: Progress
) -> view.Answer:
    """Answer a recording as its pieces come, and draw it."""
    drawing = Drawing(waveform.SAMPLE_RATE)
    opened.pieces = drawing.passing(opened.pieces)
    prediction = predictor.predict_recording(opened, progress)
    sound: waveform.Clip | Outline = drawing.outline
    if (samples := drawing.samples) is not None:
        sound = waveform.Clip(samples, opened.name, opened.source_rate, opened.channels, 0.0)
    return view.Answer(opened.name, sound, prediction)


def _cues(subtitles: Recording) -> list[Cue]:
    """The cues of an uploaded file; errors name it as the visitor does."""
    if subtitles.path is None:
        raise UsageError(subtitles.refusal)
    check_size(subtitles.path, subtitles.name)
    return read_subtitles(subtitles.path, name=subtitles.name)


def _score_cues(
    predictor: Predictor, source: waveform.SoundFile, cues: Sequence[Cue], progress: Progress
) -> list[ScoredCue]:
    from serdemo.inference.cue_scores import score_cues

    with predictor.open(source) as opened:
        total_s = opened.duration_s
        scored, _ = score_cues(
            predictor, opened.pieces, cues, lambda done_s: progress(done_s, total_s)
        )
    return scored


def _pages(
    work: Generator[tuple[float, float | None], None, Result], text: str
) -> Generator[str, None, Result]:
    """A page for each report of the work."""
    while True:
        try:
            done_s, total_s = next(work)
        except StopIteration as end:
            result: Result = end.value
            return result
        of = f" of {clock(total_s)}" if total_s else ""
        share = min(1.0, done_s / total_s) if total_s else 0.0
        yield view.waiting_page(f"{text}: {clock(done_s)}{of}", share=share)


def adapts(predictor: Predictor) -> bool:
    """Whether a model can get used to a voice."""
    from serdemo.inference.speaker_prior import SpeakerPrior

    prior = SpeakerPrior.of(predictor.description)
    return prior is not None and prior.unlabelled


def answer_same_person(
    predictor: Predictor, recordings: Sequence[Recording], run: TrackedRequest
) -> tuple[list[view.Answer], float]:
    """Decode, delete and answer recordings of one person, until `run` is stopped; with the seconds of
    speech by which the model got used to the voice, 0 for fewer than two that can be read."""
    from serdemo.inference.same_speaker import predict_same_speaker

    decoded = _together(predictor, recordings, run)
    clips = [one.clip for one in decoded if isinstance(one.clip, waveform.Clip)]
    if len(clips) < 2:
        return [_answered(answer, predictor.predict) for answer in decoded], 0.0
    found = predict_same_speaker(predictor, clips)
    predictions = dict(zip(map(id, clips), found.predictions, strict=True))
    return [_answered(one, lambda clip: predictions[id(clip)]) for one in decoded], found.speech_s


def _together(
    predictor: Predictor, recordings: Sequence[Recording], run: TrackedRequest
) -> list[view.Answer]:
    """The sound of recordings, decoded until `run` is stopped: as much of it as one may hold."""
    decoded: list[view.Answer] = []
    seconds = 0.0
    for recording in recordings:
        if run.stopped:
            break
        one = _decoded(predictor, recording)
        if isinstance(one.clip, waveform.Clip):
            seconds += one.clip.duration_s
            if seconds > recording.limits.seconds:
                seconds -= one.clip.duration_s
                one = replace(one, clip=None, refusal=TOO_MUCH.format(recording.name))
        decoded.append(one)
    return decoded


def _decoded(predictor: Predictor, recording: Recording) -> view.Answer:
    """A recording's sound, or the sentence why there is none; its file is deleted."""
    if recording.path is None:
        return view.Answer(recording.name, refusal=recording.refusal)
    try:
        if not recording.unlimited:
            check_size(recording.path, recording.name)
        with predictor.open(recording.source) as opened:
            clip = opened.collect()
        recording.forget()
    except SerdemoError as error:
        return view.Answer(recording.name, refusal=str(error), origin=recording.origin)
    return view.Answer(recording.name, clip, origin=recording.origin)


def _answered(
    decoded: view.Answer, predict: Callable[[waveform.Clip], Prediction | SerdemoError]
) -> view.Answer:
    """A decoded recording with its prediction, or the sentence why there is none."""
    if not isinstance(decoded.clip, waveform.Clip):
        return decoded
    try:
        prediction = predict(decoded.clip)
    except SerdemoError as error:
        prediction = error
    if isinstance(prediction, SerdemoError):
        return replace(decoded, clip=None, refusal=str(prediction))
    return replace(decoded, prediction=prediction)


def _progress(recordings: Sequence[Recording], done: int, left_s: float) -> str:
    name = recordings[done].name
    if len(recordings) == 1:
        return f"Listening to {name}"
    left = f", about {left_s:.0f} s left" if left_s >= 2 else ""
    return f"Listening to {name} ({done + 1} of {len(recordings)}{left})"
