"""Live sound from the page: each call of a visitor's browser is one function here.

The browser sends numbered pieces and gets the newest answers back, so it needs no other timer.
A stream is known by its unguessable handle alone. Nothing of it is stored once it is closed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from serdemo.audio import waveform
from serdemo.schema import palette
from serdemo.schema.errors import UsageError
from serdemo.schema.types import Prediction, Segment
from serdemo.ui.live import local_microphone
from serdemo.ui.shell import session
from serdemo.ui.shell.examples import EXAMPLES, EXAMPLES_DIR
from serdemo.ui.shell.rpc import Calls, Request, Response, field, from_base64, to_base64
from serdemo.ui.shell.session import Visitors

if TYPE_CHECKING:
    from serdemo.inference.live_service import LiveService, LiveServices
    from serdemo.inference.live_session import LiveState

EXAMPLE_LABELS = ("English, quick and high", "German, slow and low", "Greek, lively")
PAUSE_S = 1.2  # between example voices


class Live(Calls):
    """The calls about live streams of one page."""

    def __init__(self, visitors: Visitors) -> None:
        self._visitors = visitors
        self._local = local_microphone.LocalMicrophones()

    @property
    def services(self) -> LiveServices:
        """The live services of all models."""
        return self._visitors.live_services

    @property
    def service(self) -> LiveService:
        """The live service of the page's own model."""
        return self.services.of(self._visitors.own.get())

    def _service_for(self, request: Request) -> LiveService:
        """The live service of the visitor's model; waits for the model."""
        return self.services.of(self._visitors.of(str(request.get("visitor", ""))).get())

    def call(self, request: Any, visit: gr.Request) -> Response:
        """Answer a call. A refusal has `gone`: whether the stream that the request names is closed."""
        response = super().call(request, visit)
        if "refused" in response:
            has_stream = isinstance(request, dict) and "stream" in request
            response["gone"] = has_stream and str(request["stream"]) not in self.services
        return response

    def on_open(self, request: Request, visit: gr.Request) -> Response:
        """Open a stream of sound at `rate` Hz for the session `visitor`; gives its handle as `stream`.

        `neutral` is the voice that `calibrate` gave before, if it is to be used.
        """
        stream = self._service_for(request).open(field(request, "rate", int))
        return self.on_adjust({**request, "stream": stream}, visit) | {"stream": stream}

    def on_calibrate(self, request: Request, _: gr.Request) -> Response:
        """Estimate the speaker's offset from the last seconds of `stream`, and use it; gives it as
        `neutral`, for the page to hold: the server forgets it with the stream."""
        stream = field(request, "stream", str)
        found = self.services.find(stream).calibrate(stream)
        return {"neutral": found.adapter.to_json(), "warnings": list(found.warnings)}

    def on_adjust(self, request: Request, _: gr.Request) -> Response:
        """Use the voice `neutral` in `stream` from now on; null forgets the voice."""
        stream = field(request, "stream", str)
        self.services.find(stream).set_speaker_state(stream, request.get("neutral"))
        return {}

    def on_push(self, request: Request, _: gr.Request) -> Response:
        """Add the piece `sequence` to `stream`, 16-bit mono `samples` in base64; gives the stream's
        state, with the segments that end after `since` seconds."""
        stream = field(request, "stream", str)
        samples = from_base64(field(request, "samples", str))
        sequence = field(request, "sequence", int)
        self.services.find(stream).push(stream, samples, sequence=sequence)
        return self._state(stream, field(request, "since", float))

    def on_close(self, request: Request, _: gr.Request) -> Response:
        """Close `stream`. With `since`, give the answer for all of it."""
        stream = field(request, "stream", str)
        self._local.close(stream)
        if "since" in request:
            prediction = self.services.find(stream).finish(stream)
            return answer(prediction, field(request, "since", float))
        if stream in self.services:
            self.services.find(stream).close(stream)
        return {}

    def on_example(self, _: Request, __: gr.Request) -> Response:
        """Example voices one after another, as 16-bit samples in base64 at `rate` Hz."""
        pause = np.zeros(round(PAUSE_S * waveform.SAMPLE_RATE), np.float32)
        paths = [EXAMPLES_DIR / EXAMPLES[label] for label in EXAMPLE_LABELS]
        sound = np.concatenate(
            [x for path in paths for x in (pause, waveform.decode(path).samples)]
        )
        return {"samples": to_base64(waveform.to_int16(sound)), "rate": waveform.SAMPLE_RATE}

    def on_list_local(self, _: Request, visit: gr.Request) -> Response:
        """The machine's own microphones, for a visitor who sits at it."""
        return {"microphones": local_microphone.microphones() if session.is_local(visit) else []}

    def on_open_local(self, request: Request, visit: gr.Request) -> Response:
        """Open a stream of the machine's microphone `device`, at `rate` Hz."""
        if not session.is_local(visit):
            raise UsageError("This microphone can be heard only at the computer it belongs to.")
        source = self._local.open(self._service_for(request), field(request, "device", int))
        self.on_adjust({**request, "stream": source.stream}, visit)
        return {"stream": source.stream, "rate": source.microphone.rate}

    def on_read_local(self, request: Request, _: gr.Request) -> Response:
        """The state of such a stream, and its samples from number `first` on."""
        stream = field(request, "stream", str)
        source = self._local.find(stream)
        sound = {"samples": to_base64(source.fetch(field(request, "first", int)))}
        state = self._state(stream, field(request, "since", float))
        return state | sound | {"lost": source.microphone.lost_samples}

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
