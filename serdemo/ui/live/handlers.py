"""Live sound from the page: each call of a visitor's browser is one function here.

The browser sends numbered pieces and gets the newest answers back, so it needs no other timer.
A stream is known by its unguessable handle alone. Nothing of it is stored once it is closed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from serdemo.schema import palette
from serdemo.schema.errors import UsageError
from serdemo.schema.types import Prediction, Segment
from serdemo.ui.live import local_microphone
from serdemo.ui.shell import session
from serdemo.ui.shell.examples import EXAMPLES, EXAMPLES_DIR
from serdemo.ui.shell.rpc import (
    Call,
    Request,
    Response,
    dispatch,
    field,
    from_base64,
    speaker_offset_of,
    to_base64,
)
from serdemo.ui.shell.session import Visitors

if TYPE_CHECKING:
    from serdemo.inference.live_service import LiveService, LiveServices
    from serdemo.inference.live_session import LiveState

EXAMPLE_LABELS = ("English, quick and high", "German, slow and low", "Greek, lively")
PAUSE_S = 1.2  # between example voices


class Live:
    """The calls about live streams of one page."""

    def __init__(self, visitors: Visitors) -> None:
        self._visitors = visitors
        self._local = local_microphone.LocalMicrophones()
        self._calls: dict[str, Call] = {
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
    def services(self) -> LiveServices:
        """The live services of all models."""
        return self._visitors.live_services

    @property
    def service(self) -> LiveService:
        """The live service of the page's own model."""
        return self.services.of(self._visitors.own.get())

    def _service_for(self, request: Request) -> LiveService:
        """The live service of the model that answers this visitor; waits for the model."""
        return self.services.of(self._visitors.of(str(request.get("visitor", ""))).get())

    def call(self, request: Any, visit: gr.Request) -> Response:
        """Answer a call, see `dispatch`. A refusal has `gone`, true where its stream is closed."""
        response = dispatch(self._calls, request, visit)
        if "refused" in response:
            response["gone"] = self._is_gone(request)
        return response

    def _open(self, request: Request, _: gr.Request) -> Response:
        """Open a stream of sound at `rate` Hz; gives its handle as `stream`.

        `visitor` is the session's hash, for the model that answers; `neutral` is the speaker offset
        that `calibrate` gave to this visitor before, if it is to be used.
        """
        return self._opened(self._service_for(request).open(field(request, "rate", int)), request)

    def _opened(self, stream: str, request: Request) -> Response:
        self.services.find(stream).set_speaker_offset(stream, speaker_offset_of(request))
        return {"stream": stream}

    def _calibrate(self, request: Request, _: gr.Request) -> Response:
        """Estimate the visitor's speaker offset from the last seconds of `stream`, and use it.

        Gives its numbers as `neutral`, for the page to hold: the server forgets them with the stream.
        """
        stream = field(request, "stream", str)
        speaker = self.services.find(stream).estimate_speaker_offset(stream)
        return {"neutral": speaker.offset.tolist(), "warnings": list(speaker.warnings)}

    def _adjust(self, request: Request, _: gr.Request) -> Response:
        """Use the speaker offset `neutral` in `stream` from now on; null uses none."""
        stream = field(request, "stream", str)
        self.services.find(stream).set_speaker_offset(stream, speaker_offset_of(request))
        return {}

    def _push(self, request: Request, _: gr.Request) -> Response:
        """Add the piece `sequence` to `stream`: 16-bit mono `samples` in base64.

        Gives the stream's state, with the segments that end after `since` seconds.
        """
        stream = field(request, "stream", str)
        samples = from_base64(field(request, "samples", str))
        sequence = field(request, "sequence", int)
        self.services.find(stream).push(stream, samples, sequence=sequence)
        return self._state(stream, field(request, "since", float))

    def _close(self, request: Request, _: gr.Request) -> Response:
        """Close `stream`. With `since`, give the answer for all of it."""
        stream = field(request, "stream", str)
        self._local.close(stream)
        if "since" in request:
            prediction = self.services.find(stream).finish(stream)
            return answer(prediction, field(request, "since", float))
        if stream in self.services:
            self.services.find(stream).close(stream)
        return {}

    def _example(self, _: Request, __: gr.Request) -> Response:
        """Example voices one after another, as 16-bit samples in base64 at `rate` Hz."""
        from serdemo.audio import waveform

        pause = np.zeros(round(PAUSE_S * waveform.SAMPLE_RATE), np.float32)
        voices = [
            waveform.decode(EXAMPLES_DIR / EXAMPLES[label]).samples for label in EXAMPLE_LABELS
        ]
        sound = np.concatenate([part for voice in voices for part in (pause, voice)])
        return {"samples": to_base64(waveform.to_int16(sound)), "rate": waveform.SAMPLE_RATE}

    def _list_local(self, _: Request, visit: gr.Request) -> Response:
        """The machine's own microphones, for a visitor who sits at it."""
        return {"microphones": local_microphone.microphones() if session.is_local(visit) else []}

    def _open_local(self, request: Request, visit: gr.Request) -> Response:
        """Open a stream of the machine's microphone `device`, at `rate` Hz."""
        if not session.is_local(visit):
            raise UsageError("This microphone can be heard only at the computer it belongs to.")
        source = self._local.open(self._service_for(request), field(request, "device", int))
        return {**self._opened(source.stream, request), "rate": source.microphone.rate}

    def _read_local(self, request: Request, _: gr.Request) -> Response:
        """The state of such a stream, and its samples from number `first` on."""
        stream = field(request, "stream", str)
        source = self._local.find(stream)
        samples = source.fetch(field(request, "first", int))
        return {
            **self._state(stream, field(request, "since", float)),
            "samples": to_base64(samples),
            "lost": source.microphone.lost_samples,
        }

    def _state(self, stream: str, since: float) -> Response:
        """The newest answer of a stream, its counts, and how many streams there are."""
        state = self.services.find(stream).state(stream)
        return {
            **answer(newest(state), since),
            "speech": state.is_speaking,
            "received_s": state.received_s,
            "received": state.received_samples,
            "delay_s": state.delay_s,
            "scored": state.n_scored,
            "skipped": state.n_skipped,
            "streams": len(self.services),
        }

    def _is_gone(self, request: Any) -> bool:
        """Whether the stream of a request is closed; false before any stream was ever opened."""
        if not isinstance(request, dict) or "stream" not in request:
            return False
        return str(request["stream"]) not in self.services


def newest(state: LiveState) -> Prediction:
    """The state of a stream in the form of a recording's prediction."""
    from serdemo.audio import quality

    # A pause between words may be wholly silent: the page itself says when it lasts too long.
    pausing = state.level_dbfs < quality.SILENT_DBFS
    warnings = () if pausing else state.warnings
    return replace(state.prediction(), segments=state.segments, warnings=warnings)


def answer(prediction: Prediction, since: float) -> Response:
    """A prediction as the page shows it: the sentence, the labels it names and their shares.

    Of its segments there are those that end after `since` seconds.
    """
    answered = prediction.label in prediction.probabilities and prediction.has_speech
    labels = prediction.nearest(2 if prediction.unsure else 1) if answered else []
    return {
        "says": palette.sentence(prediction) if answered else "No voice heard",
        "labels": labels,
        "shares": [prediction.probabilities[label] for label in labels],
        "probabilities": prediction.probabilities if answered else {},
        "segments": [row(part) for part in prediction.segments if part.end_s > since],
        "warnings": list(prediction.warnings),
    }


def row(segment: Segment) -> Response:
    """A segment with as many digits as are of use, since many are sent."""
    shares = {label: round(share, 4) for label, share in segment.probabilities.items()}
    confidence = round(segment.confidence, 4)
    return {**segment.to_json(), "confidence": confidence, "probabilities": shares}
