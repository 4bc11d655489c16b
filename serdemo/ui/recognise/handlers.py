"""Answers for recordings: each is read, deleted and answered."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import gradio as gr

from serdemo.audio import waveform
from serdemo.schema.errors import SerdemoError
from serdemo.ui.recognise import view
from serdemo.ui.shell.examples import EXAMPLES, example
from serdemo.ui.shell.session import TrackedRequest, WarmPredictor
from serdemo.ui.shell.uploads import FAULT, Recording, check_size

if TYPE_CHECKING:
    from serdemo.inference.predictor import Predictor
    from serdemo.schema.types import Prediction
log = logging.getLogger(__name__)


def first_screen(model: WarmPredictor) -> str:
    """The answer for the first example, or the sentence why there is no model."""
    recording = example(next(iter(EXAMPLES)))
    try:
        return model.once(lambda predictor: view.answers_page([answer(predictor, recording)]))
    except SerdemoError as error:
        return view.refusal_page(str(error))
    except Exception:
        log.exception("the first screen failed")
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
            if done:
                left_s = (time.monotonic() - started) / len(done) * (total - len(done))
                yield view.waiting_page(_progress(recordings, len(done), left_s), len(done), total)
            done.append(answer(predictor, recording))
        if run.replaced:
            return
        refusals = [item.refusal for item in done if item.refusal]
        if len(refusals) > 3:
            n_refused = f"{len(refusals)} of {len(done)} files"
            refusals = [f"{n_refused} could not be answered: the table says why."]
        for sentence in refusals:
            gr.Warning(sentence)
        note = f"Stopped after {len(done)} of {total} files." if len(done) < total else ""
        yield view.answers_page(done, note, box) if done else view.refusal_page(note)
    except SerdemoError as error:
        yield view.refusal_page(str(error))
    except Exception:
        log.exception("recognising failed")
        yield view.refusal_page(FAULT)
    finally:
        run.end()
        for recording in recordings:
            _forget(recording)


def answer(predictor: Predictor, recording: Recording) -> view.Answer:
    """Decode, delete and answer one recording; a refusal is an answer too."""
    return _answered(_decoded(recording), predictor.predict)


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

    decoded = [_decoded(recording) for recording in recordings if not run.stopped]
    clips = [answer.clip for answer in decoded if answer.clip]
    if len(clips) < 2:
        return [_answered(answer, predictor.predict) for answer in decoded], 0.0
    found = predict_same_speaker(predictor, clips)
    predictions = dict(zip(map(id, clips), found.predictions, strict=True))
    return [_answered(one, lambda clip: predictions[id(clip)]) for one in decoded], found.speech_s


def _decoded(recording: Recording) -> view.Answer:
    """A recording's sound, or the sentence why there is none; its file is deleted."""
    if recording.path is None:
        return view.Answer(recording.name, refusal=recording.refusal)
    try:
        check_size(recording.path, recording.name)
        clip = waveform.decode(recording.path, name=recording.name)
        _forget(recording)
    except SerdemoError as error:
        return view.Answer(recording.name, refusal=str(error), origin=recording.origin)
    return view.Answer(recording.name, clip, origin=recording.origin)


def _answered(
    decoded: view.Answer, predict: Callable[[waveform.Clip], Prediction | SerdemoError]
) -> view.Answer:
    """A decoded recording with its prediction, or the sentence why there is none."""
    if decoded.clip is None:
        return decoded
    try:
        prediction = predict(decoded.clip)
    except SerdemoError as error:
        prediction = error
    if isinstance(prediction, SerdemoError):
        return replace(decoded, clip=None, refusal=str(prediction))
    return replace(decoded, prediction=prediction)


def _forget(recording: Recording) -> None:
    if recording.keep or recording.path is None:
        return
    recording.path.unlink(missing_ok=True)
    with suppress(OSError):  # each upload has a folder of its own; leave none behind
        recording.path.parent.rmdir()


def _progress(recordings: Sequence[Recording], done: int, left_s: float) -> str:
    name = recordings[done].name
    if len(recordings) == 1:
        return f"Listening to {name}"
    left = f", about {left_s:.0f} s left" if left_s >= 2 else ""
    return f"Listening to {name} ({done + 1} of {len(recordings)}{left})"
