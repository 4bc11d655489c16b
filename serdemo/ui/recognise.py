"""What Recognise does with a recording: read it, forget it, answer it. Plain functions."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.utils import get_upload_folder

from serdemo.schema import SerdemoError, UsageError
from serdemo.ui import answers
from serdemo.ui.session import Run, WarmPredictor

if TYPE_CHECKING:
    from serdemo.predict import Predictor

MOST_FILES = 50
MOST_MB = 20
TOO_LARGE = f"{{}} is larger than {MOST_MB} MB: cut it, or save it as MP3 or OGG."
FAULT = "Something went wrong inside serdemo, and its log says what: try another recording."
log = logging.getLogger(__name__)

EXAMPLES_DIR = Path(__file__).parent / "examples"
EXAMPLES = {
    "English, quick and high": "english-quick-high.ogg",
    "German, slow and low": "german-slow-low.ogg",
    "Polish, even": "polish-even.ogg",
    "Greek, lively": "greek-lively.ogg",
}
SYNTHETIC = "synthetic example voice"


@dataclass(frozen=True, slots=True)
class Recording:
    """A file to answer, or the sentence why it never arrived.

    `path` is deleted once it is decoded, unless `keep`.
    """

    path: Path | None
    name: str
    keep: bool = False
    origin: str = ""
    refusal: str = ""


def example(label: str) -> Recording:
    """One of the voices that come with the page."""
    return Recording(EXAMPLES_DIR / EXAMPLES[label], label, keep=True, origin=SYNTHETIC)


def uploaded(file: dict[str, Any]) -> Recording:
    """What the drop zone says of one file: its `name`, and its `path` if it was sent.

    The browser is not trusted: what is no file in the upload folder counts as not sent.
    """
    name = str(file["name"])
    if file.get("too_large"):
        return Recording(None, name, refusal=TOO_LARGE.format(name))
    path = Path(str(file.get("path", ""))).resolve()
    if Path(get_upload_folder()).resolve() not in path.parents or not path.is_file():
        return Recording(None, name, refusal=f"{name} could not be sent: drop it once more.")
    return Recording(path, name)


def check_size(path: Path, name: str) -> None:
    """Raise UsageError for a recording that is larger than the page takes."""
    if path.exists() and path.stat().st_size > MOST_MB * 1024 * 1024:
        raise UsageError(TOO_LARGE.format(name))


def first_screen(model: WarmPredictor) -> str:
    """The answer for the first example, or the sentence why there is no model."""
    recording = example(next(iter(EXAMPLES)))
    try:
        return model.once(lambda predictor: answers.answers_page([answer(predictor, recording)]))
    except SerdemoError as error:
        return answers.refusal_page(str(error))
    except Exception:
        log.exception("the first screen failed")
        return answers.refusal_page(FAULT)


def recognise(model: WarmPredictor, recordings: Sequence[Recording], run: Run) -> Iterator[str]:
    """Answer the recordings one by one: pages to show, the last of them the result.

    A file that cannot be answered gets a toast and its sentence; the others go on. Stops
    after the current file when `run` is stopped, and falls silent when a later run replaced it.
    """
    done: list[answers.Answer] = []
    total = len(recordings)
    try:
        yield answers.waiting_page(_progress(recordings, 0, None), 0, total)
        predictor = model.get()
        started = time.monotonic()
        for recording in recordings:
            if run.stopped:
                break
            if done:
                left_s = (time.monotonic() - started) / len(done) * (total - len(done))
                yield answers.waiting_page(
                    _progress(recordings, len(done), left_s), len(done), total
                )
            done.append(answer(predictor, recording))
        if run.replaced:
            return
        for sentence in _toasts(done):
            gr.Warning(sentence)
        note = f"Stopped after {len(done)} of {total} files." if len(done) < total else ""
        yield answers.answers_page(done, note) if done else answers.refusal_page(note)
    except SerdemoError as error:
        yield answers.refusal_page(str(error))
    except Exception:
        log.exception("recognising failed")
        yield answers.refusal_page(FAULT)
    finally:
        run.end()
        for recording in recordings:
            _forget(recording)


def answer(predictor: Predictor, recording: Recording) -> answers.Answer:
    """Decode, delete and answer one recording; a refusal is an answer too."""
    from serdemo import audio

    if recording.path is None:
        return answers.Answer(recording.name, refusal=recording.refusal)
    try:
        check_size(recording.path, recording.name)
        clip = audio.decode(recording.path, name=recording.name)
        _forget(recording)
        prediction = predictor.predict(clip)
    except SerdemoError as error:
        return answers.Answer(recording.name, refusal=str(error), origin=recording.origin)
    return answers.Answer(recording.name, clip, prediction, origin=recording.origin)


def _forget(recording: Recording) -> None:
    if recording.keep or recording.path is None:
        return
    recording.path.unlink(missing_ok=True)
    with suppress(OSError):  # each upload has a folder of its own; leave none behind
        recording.path.parent.rmdir()


def _progress(recordings: Sequence[Recording], done: int, left_s: float | None) -> str:
    name = recordings[done].name
    if len(recordings) == 1:
        return f"Listening to {name}"
    left = f", about {left_s:.0f} s left" if left_s and left_s >= 2 else ""
    return f"Listening to {name} ({done + 1} of {len(recordings)}{left})"


def _toasts(done: Sequence[answers.Answer]) -> list[str]:
    refused = [item.refusal for item in done if item.refusal]
    if len(refused) <= 3:
        return refused
    return [f"{len(refused)} of {len(done)} files could not be answered: the table says why."]
