"""Live sound from the page: each call of a visitor's browser is one function here.

The browser sends numbered pieces and gets the newest answers back, so it needs no other timer.
A stream is known by its unguessable handle alone. Nothing is kept of it once it is closed.
"""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from serdemo.schema import palette
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Prediction, Segment
from serdemo.ui.live import local_microphone
from serdemo.ui.shell import session
from serdemo.ui.shell.examples import EXAMPLES, EXAMPLES_DIR
from serdemo.ui.shell.rpc import Request, field, from_base64, shift_of
from serdemo.ui.shell.session import MOST_LOADED, Visitors
from serdemo.ui.shell.uploads import FAULT

if TYPE_CHECKING:
    from serdemo.inference.live_service import LiveService
    from serdemo.inference.live_session import LiveState
    from serdemo.ui.shell.session import WarmPredictor

SPOKEN = ("English, quick and high", "German, slow and low", "Greek, lively")  # as the example
PAUSE_S = 1.2  # between example voices

Answer = dict[str, Any]

log = logging.getLogger(__name__)


class Live:
    """The live streams of one page, served by one worker for each model in use."""

    def __init__(self, visitors: Visitors) -> None:
        self._visitors = visitors
        self._lock = threading.Lock()
        self._services: dict[WarmPredictor, LiveService] = {}
        self._local = local_microphone.LocalMicrophone()
        self._calls: dict[str, Callable[[Request, gr.Request], Answer]] = {
            "open": self._open,
            "push": self._push,
            "close": self._close,
            "calibrate": self._calibrate,
            "adjust": self._adjust,
            "example": self._example,
            "list_local": self._list_local,
            "open_local": self._open_local,
            "read_local": self._read_local,
        }

    @property
    def service(self) -> LiveService:
        """That of the page's own model; see `_with`."""
        return self._with(self._visitors.own)

    def _with(self, model: WarmPredictor) -> LiveService:
        """Waits for the model; raises SerdemoError when it cannot be had."""
        from serdemo.inference.live_service import LiveService

        predictor = model.get()
        with self._lock:
            if model not in self._services:
                self._let_go()
                self._services[model] = LiveService(predictor)
            return self._services[model]

    def _let_go(self) -> None:
        """End the services of models that nobody listens with, where there are many."""
        for model, service in list(self._services.items()):
            if len(self._services) <= MOST_LOADED:
                return
            if model is not self._visitors.own and not len(service):
                self._services.pop(model).shutdown()

    def _asked(self, asked: Request) -> LiveService:
        """The service of the model that answers this visitor."""
        return self._with(self._visitors.of(str(asked.get("visitor", ""))))

    def _of(self, stream: str) -> LiveService:
        """The service that has the stream; where none has, one that says so."""
        having = (one for one in list(self._services.values()) if stream in one)
        return next(having, None) or self.service

    def call(self, asked: Any, request: gr.Request) -> Answer:
        """Answer the call that `asked["call"]` names.

        A failure is the sentence `refused`; `gone` says that the stream asked for is no more.
        """
        try:
            name = field(asked, "call", str)
            if name not in self._calls:
                raise UsageError(f"There is no call {name!r}: reload the page.")
            return self._calls[name](asked, request)
        except SerdemoError as problem:
            return {"refused": str(problem), "gone": self._is_gone(asked)}
        except Exception:
            log.exception("a live call failed")
            return {"refused": FAULT}

    def _open(self, asked: Request, _: gr.Request) -> Answer:
        """Begin a stream of sound at `rate` Hz: gives its handle as `stream`.

        `visitor` is who asks, for the model that answers; `neutral` is what `calibrate` gave to this visitor before, if that is to be used.
        """
        return self._begun(self._asked(asked).open(field(asked, "rate", int)), asked)

    def _begun(self, stream: str, asked: Request) -> Answer:
        self._of(stream).set_speaker_offset(stream, shift_of(asked))
        return {"stream": stream}

    def _calibrate(self, asked: Request, _: gr.Request) -> Answer:
        """Take the last seconds of `stream` for the visitor's neutral voice, from now on.

        Gives the numbers it is made of as `neutral`, for the page to keep: the server forgets them
        with the stream.
        """
        stream = field(asked, "stream", str)
        voice = self._of(stream).estimate_speaker_offset(stream)
        return {"neutral": voice.offset.tolist(), "warnings": list(voice.warnings)}

    def _adjust(self, asked: Request, _: gr.Request) -> Answer:
        """Use `neutral` in `stream` from now on; null switches calibration off."""
        stream = field(asked, "stream", str)
        self._of(stream).set_speaker_offset(stream, shift_of(asked))
        return {}

    def _push(self, asked: Request, _: gr.Request) -> Answer:
        """Take the piece `sequence` of `stream`: 16-bit mono `samples` in base64.

        Gives what is known of the stream, with the segments that end after `since` seconds.
        """
        stream = field(asked, "stream", str)
        samples = from_base64(field(asked, "samples", str))
        self._of(stream).push(stream, samples, sequence=field(asked, "sequence", int))
        return self._known(stream, field(asked, "since", float))

    def _close(self, asked: Request, _: gr.Request) -> Answer:
        """End `stream` and forget it. With `since`, give the answer for all of it."""
        stream = field(asked, "stream", str)
        self._local.close(stream)
        if "since" in asked:
            return answer(self._of(stream).finish(stream), field(asked, "since", float))
        self._of(stream).close(stream)
        return {}

    def _example(self, _: Request, __: gr.Request) -> Answer:
        """Example voices one after another, as 16-bit samples in base64 at `rate` Hz."""
        from serdemo.audio import waveform

        pause = np.zeros(round(PAUSE_S * waveform.SAMPLE_RATE), np.float32)
        voices = [waveform.decode(EXAMPLES_DIR / EXAMPLES[name]).samples for name in SPOKEN]
        sound = np.concatenate([part for voice in voices for part in (pause, voice)])
        samples = base64.b64encode(waveform.to_int16(sound).tobytes()).decode()
        return {"samples": samples, "rate": waveform.SAMPLE_RATE}

    def _list_local(self, _: Request, request: gr.Request) -> Answer:
        """The machine's own microphones, for a visitor who sits at it."""
        return {"microphones": local_microphone.microphones() if session.is_local(request) else []}

    def _open_local(self, asked: Request, request: gr.Request) -> Answer:
        """Begin a stream of what the machine's microphone `device` hears, at `rate` Hz."""
        if not session.is_local(request):
            raise UsageError("This microphone can be heard only at the computer it belongs to.")
        listening = self._local.open(self._asked(asked), field(asked, "device", int))
        begun = self._begun(listening.stream, asked)
        return {**begun, "rate": listening.microphone.rate}

    def _read_local(self, asked: Request, _: gr.Request) -> Answer:
        """What is known of such a stream, and its samples from number `first` on."""
        stream = field(asked, "stream", str)
        listening = self._local.find(stream)
        return {
            **self._known(stream, field(asked, "since", float)),
            "samples": base64.b64encode(listening.fetch(field(asked, "first", int))).decode(),
            "lost": listening.microphone.lost_samples,
        }

    def _known(self, stream: str, since: float) -> Answer:
        """The newest answer of a stream, its counts, and how many streams there are."""
        state = self._of(stream).state(stream)
        return {
            **answer(newest(state), since),
            "speech": state.is_speaking,
            "received_s": state.received_s,
            "received": state.received_samples,
            "delay_s": state.delay_s,
            "scored": state.n_scored,
            "skipped": state.n_skipped,
            "streams": sum(map(len, list(self._services.values()))),
        }

    def _is_gone(self, asked: Any) -> bool:
        if not self._services or not isinstance(asked, dict) or "stream" not in asked:
            return False
        return not any(str(asked["stream"]) in one for one in list(self._services.values()))


def newest(state: LiveState) -> Prediction:
    """What is known now, in the form of an answer for a recording."""
    from serdemo.audio import quality

    # A pause between words may be wholly silent: the page itself says when it lasts too long.
    pausing = state.level_dbfs < quality.SILENT_DBFS
    warnings = () if pausing else state.warnings
    return replace(state.prediction(), segments=state.segments, warnings=warnings)


def answer(prediction: Prediction, since: float) -> Answer:
    """An answer as the page shows it: the sentence, the labels it names and their shares."""
    told = prediction.label in prediction.probabilities and prediction.has_speech
    labels = prediction.nearest(2 if prediction.unsure else 1) if told else []
    return {
        "says": palette.sentence(prediction) if told else "No voice heard",
        "labels": labels,
        "shares": [prediction.probabilities[label] for label in labels],
        "probabilities": prediction.probabilities if told else {},
        "segments": [row(part) for part in prediction.segments if part.end_s > since],
        "warnings": list(prediction.warnings),
    }


def row(segment: Segment) -> Answer:
    """A segment with as many digits as are of use, since many are sent."""
    shares = {label: round(share, 4) for label, share in segment.probabilities.items()}
    confidence = round(segment.confidence, 4)
    return {**segment.to_json(), "confidence": confidence, "probabilities": shares}
