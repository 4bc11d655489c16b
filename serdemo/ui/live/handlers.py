"""Live sound from the page: each call of a visitor's browser is one function here.

The browser sends numbered pieces and gets the newest answers back, so it needs no other timer.
A stream is known by its unguessable handle alone. Nothing of it is stored once it is closed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from serdemo.audio.waveform import SAMPLE_RATE
from serdemo.nn.checkpoint_files import SHIPPED, SMALLEST, bundled_checkpoint
from serdemo.schema import palette
from serdemo.schema.errors import UsageError
from serdemo.schema.types import Prediction, Segment
from serdemo.ui.live import local_microphone
from serdemo.ui.shell import session
from serdemo.ui.shell.activity import note_refusal
from serdemo.ui.shell.examples import example_voices
from serdemo.ui.shell.rpc import Calls, Request, Response, field, to_base64
from serdemo.ui.shell.session import Visitors

if TYPE_CHECKING:
    from serdemo.inference.live_service import LiveService
    from serdemo.inference.live_services import LiveServices
    from serdemo.inference.live_session import LiveState
    from serdemo.inference.predictor import Predictor

NEUTRAL = "neutral"
FLUSH_S = 10.0  # until what has arrived is read
STANDS_IN = "{smallest} answers: {default} would come late on this machine now. To have it, choose it in Models."


class Live(Calls):
    """The calls about live streams of one page."""

    def __init__(self, visitors: Visitors) -> None:
        super().__init__(visitors.activity)
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

    def _choose(self, request: Request) -> tuple[Predictor, str]:
        """The model that answers a new stream of a visitor, and where it stands in for the default,
        which would be too slow here, a sentence that says so; waits for the model."""
        visitor = str(request.get("visitor", ""))
        model = self._visitors.of(visitor).get()
        is_default = model.folder == bundled_checkpoint() and not self._visitors.has_chosen(visitor)
        if SHIPPED == SMALLEST or not is_default or self.services.keeps_up(model):
            return model, ""
        smallest = self._visitors.at(bundled_checkpoint(SMALLEST))
        return smallest, STANDS_IN.format(smallest=smallest.name, default=model.name)

    def call(self, request: Any, visit: gr.Request | None) -> Response:
        """Answer a call. A refusal has `gone`: whether the stream that the request names is closed."""
        response = super().call(request, visit)
        if "refused" in response:
            has_stream = isinstance(request, dict) and "stream" in request
            response["gone"] = has_stream and str(request["stream"]) not in self.services
        return response

    def on_open(self, request: Request, visit: gr.Request) -> Response:
        """Open a stream of sound at `rate` Hz for the session `visitor`; gives its handle as `stream`.

        With `adapt`, the model gets used to the voice. See `_about` for what else it gives. A refusal has
        `full` where all places are taken: the browser may answer by itself.
        """
        from serdemo.inference.live_service import NoPlaceError

        model, instead = self._choose(request)
        rate, adapt = field(request, "rate", int), request.get("adapt") is True
        try:
            stream = self.services.of(model).open(rate, adapt=adapt)
        except NoPlaceError as problem:
            return {"refused": str(problem), "full": True}
        return {"stream": stream, **_about(model, instead)}

    def on_adapt(self, request: Request, _: gr.Request) -> Response:
        """Let the model get used to the voice of `stream` from now on, or not, as `adapt` says."""
        stream = field(request, "stream", str)
        self.services.find(stream).set_adapting(stream, field(request, "adapt", bool))
        return {}

    def on_voice(self, request: Request, _: gr.Request) -> Response:
        """What `stream` knows of the speaker, as `voice`, for the page to hold: the server forgets it
        with the stream. Null where nothing is known."""
        stream = field(request, "stream", str)
        service = self.services.find(stream)
        return {"voice": service.speaker_state(stream), **_adaptation(service.state(stream))}

    def on_restore(self, request: Request, _: gr.Request) -> Response:
        """Use in `stream` what the page holds of the speaker, `voice` as `on_voice` gave it."""
        stream = field(request, "stream", str)
        self.services.find(stream).set_speaker_state(stream, request.get("voice"))
        return {}

    def on_forget(self, request: Request, _: gr.Request) -> Response:
        """Forget the speaker of `stream`."""
        stream = field(request, "stream", str)
        self.services.find(stream).forget_speaker(stream)
        return {}

    def on_calibrate(self, request: Request, _: gr.Request) -> Response:
        """Take the last seconds of `stream` for the speaker's neutral voice."""
        stream = field(request, "stream", str)
        service = self.services.find(stream)
        warnings = list(service.calibrate(stream).warnings)
        return {"warnings": warnings, **_adaptation(service.state(stream))}

    def on_push(self, request: Request, _: gr.Request) -> Response:
        """Add the piece `sequence` to `stream`, 16-bit mono `samples` (N,) from the route; gives the
        stream's state, with the segments that end after `since` seconds. A refusal has `busy` where the
        piece is to be sent again later."""
        from serdemo.inference.live_session import BacklogError

        stream = field(request, "stream", str)
        sequence, since = field(request, "sequence", int), field(request, "since", float)
        samples = request.get("samples")
        if not isinstance(samples, np.ndarray):
            raise UsageError("Live sound has an address of its own: reload the page.")
        try:
            self.services.find(stream).push(stream, samples, sequence=sequence)
        except BacklogError as problem:
            note_refusal()
            return {"refused": str(problem), "busy": True}
        return self._state(stream, since)

    def on_close(self, request: Request, _: gr.Request) -> Response:
        """Close `stream`. With `since`, give the answer for all of it, and how many samples that were."""
        stream = field(request, "stream", str)
        self._local.close(stream)
        if "since" in request:
            service = self.services.find(stream)
            service.flush(stream, FLUSH_S)
            received = service.state(stream).received_samples
            whole = answer(service.finish(stream), field(request, "since", float))
            return whole | {"received": received}
        if stream in self.services:
            self.services.find(stream).close(stream)
        return {}

    def on_example(self, _: Request, __: gr.Request) -> Response:
        """Example voices as 16-bit samples in base64 at `rate` Hz."""
        return {"samples": to_base64(example_voices()), "rate": SAMPLE_RATE}

    def on_list_local(self, _: Request, visit: gr.Request) -> Response:
        """The machine's own microphones, for a visitor who sits at it."""
        return {"microphones": local_microphone.microphones() if session.is_local(visit) else []}

    def on_open_local(self, request: Request, visit: gr.Request) -> Response:
        """Open a stream of the machine's microphone `device`, at `rate` Hz."""
        if not session.is_local(visit):
            raise UsageError("This microphone can be heard only at the computer it belongs to.")
        model, instead = self._choose(request)
        device, adapt = field(request, "device", int), request.get("adapt") is True
        source = self._local.open(self.services.of(model), device, adapt=adapt)
        rate = source.microphone.rate
        return {"stream": source.stream, "rate": rate, **_about(model, instead)}

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
            **_adaptation(state),
            "speech": state.is_speaking,
            "received_s": state.received_s,
            "received": state.received_samples,
            "delay_s": state.delay_s,
            "scored": state.n_scored,
            "skipped": state.n_skipped,
            "streams": len(self.services),
        }


def _about(model: Predictor, instead: str) -> Response:
    """The `model` that answers a stream, `instead` where it stands in for another, and as `voice` how it
    gets used to one: by itself (`adapts`), by neutral speech (`calibrates`); `fingerprint` names the
    model that such a voice belongs to."""
    from serdemo.inference.speaker_prior import SpeakerPrior

    prior = SpeakerPrior.of(model.description)
    voice = {
        "adapts": prior is not None and prior.unlabelled,
        "calibrates": prior is not None and NEUTRAL in prior.names,
        "fingerprint": prior.fingerprint if prior else "",
    }
    return {"model": model.name, "instead": instead, "voice": voice}


def _adaptation(state: LiveState) -> Response:
    """How long a stream's speaker was heard, in seconds, how far that is trusted, from 0 to 1, and how
    often it began anew with another."""
    return {
        "adapted_s": state.adapted_s,
        "adaptation": state.adaptation,
        "voice_changes": state.voice_changes,
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
    named = prediction.label in prediction.probabilities
    answered = (named or bool(prediction.dimensions)) and prediction.has_speech
    labels = prediction.nearest(2 if prediction.unsure else 1) if answered and named else []
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
    label = segment.label or " ".join(f"{value:.2f}" for value in segment.dimensions.values())
    return {**segment.to_json(), "label": label, "confidence": confidence, "probabilities": shares}
