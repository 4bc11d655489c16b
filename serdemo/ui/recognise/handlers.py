"""Answers for recordings: each is read, deleted and answered."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
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
    model: WarmPredictor, recordings: Sequence[Recording], run: TrackedRequest
) -> Iterator[str]:
    """Answer the recordings one by one; yields pages, the last of them the result.

    A file that cannot be answered gets a toast and its sentence. Ends after the current file when
    `run` is stopped, and without a result when it is replaced.
    """
    done: list[view.Answer] = []
    total = len(recordings)
    try:
        yield view.waiting_page(_progress(recordings, 0, 0), 0, total)
        predictor = model.get()
        started = time.monotonic()
        for recording in recordings:
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
        yield view.answers_page(done, note) if done else view.refusal_page(note)
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
    if recording.path is None:
        return view.Answer(recording.name, refusal=recording.refusal)
    try:
        check_size(recording.path, recording.name)
        clip = waveform.decode(recording.path, name=recording.name)
        _forget(recording)
        prediction = predictor.predict(clip)
    except SerdemoError as error:
        return view.Answer(recording.name, refusal=str(error), origin=recording.origin)
    return view.Answer(recording.name, clip, prediction, origin=recording.origin)


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
