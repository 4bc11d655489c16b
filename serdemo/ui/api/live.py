"""Live sound of programs: `/live_open`, `/live_push` and `/live_close`, on the streams of the page.

They are no tools for an agent, so MCP does not list them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict

import gradio as gr

from serdemo.schema.errors import UsageError
from serdemo.ui.api import calls
from serdemo.ui.api.endpoints import Endpoints, PredictionEntry, SegmentEntry, prediction_entry
from serdemo.ui.shell.rpc import from_base64

MAX_STREAMS = 16  # of all programs: the page has more places
MAX_PIECE_S = 5.0
SCORED_S = 1.0  # a call waits for so long until its piece is scored


class StreamEntry(TypedDict):
    """An open stream and the name of the model that answers it."""

    stream: str
    model: str


class StateEntry(TypedDict):
    """What a stream sounds like now; `label` is "" before the first window, "no speech" without a voice."""

    label: str
    confidence: float
    unsure: bool
    probabilities: dict[str, float]
    speaking: bool
    segments: list[SegmentEntry]
    warnings: list[str]
    received_s: float
    delay_s: float
    skipped: int


@dataclass
class LiveEndpoints:
    """The live functions that programs call on a page."""

    endpoints: Endpoints
    streams: dict[str, int] = field(default_factory=dict)  # handle -> rate in Hz

    @calls.answered
    def live_open(
        self, request: gr.Request, rate: int, model: str = "", adapt: bool = False
    ) -> StreamEntry:
        """Open a stream of live sound. It is closed a minute after its last piece.

        Args:
            rate: samples per second of the sound.
            model: key of the model, as `models` lists them; empty for the default.
            adapt: whether the model gets used to the voice while it listens.
        """
        calls.require("rate", rate, int)
        calls.require("adapt", adapt, bool)
        services = self.endpoints.page.visitors.live_services
        self.streams = {stream: own for stream, own in self.streams.items() if stream in services}
        if len(self.streams) >= MAX_STREAMS:
            raise UsageError(
                f"All {MAX_STREAMS} streams of programs are in use: try again in a minute."
            )
        predictor = self.endpoints.predictor(model, request)
        stream = services.of(predictor).open(rate, adapt=adapt)
        self.streams[stream] = rate
        return {"stream": stream, "model": predictor.name}

    @calls.answered
    def live_push(self, stream: str, sequence: int, samples: str, since: float = 0.0) -> StateEntry:
        """Add a piece of sound to a stream, and get the newest answer once the piece is scored.

        A piece that was sent already is taken once, so that it may be sent again where no answer came.

        Args:
            stream: the stream that `live_open` gave.
            sequence: number of the piece, from 0.
            samples: 16-bit little-endian mono samples in base64, at most 5 s; half a second is a good length.
            since: seconds; only segments that end later are returned.
        """
        calls.require("stream", stream, str)
        calls.require("sequence", sequence, int)
        calls.require("samples", samples, str)
        calls.require("since", float(since) if type(since) is int else since, float)
        service = self.endpoints.page.visitors.live_services.find(stream)
        piece = from_base64(samples)
        if len(piece) > MAX_PIECE_S * self.streams.get(stream, 0):
            raise UsageError(f"A piece holds at most {MAX_PIECE_S:.0f} s: send shorter ones.")
        service.push(stream, piece, sequence=sequence)
        service.flush(stream, SCORED_S)
        state = service.state(stream)
        segments = [part.to_json() for part in state.segments if part.end_s > since]
        return {
            "label": state.label,
            "confidence": state.confidence,
            "unsure": state.unsure,
            "probabilities": state.probabilities,
            "speaking": state.is_speaking,
            "segments": segments,  # type: ignore[typeddict-item]
            "warnings": list(state.warnings),
            "received_s": state.received_s,
            "delay_s": state.delay_s or 0.0,
            "skipped": state.n_skipped,
        }

    @calls.answered
    def live_close(self, stream: str) -> PredictionEntry:
        """Close a stream, and get the prediction for all of it, as `predict` gives it for a file.

        Args:
            stream: the stream that `live_open` gave.
        """
        calls.require("stream", stream, str)
        service = self.endpoints.page.visitors.live_services.find(stream)
        self.streams.pop(stream, None)
        return prediction_entry("live", service.finish(stream))


def build(endpoints: Endpoints) -> None:
    """Add the live endpoints to the page that is being laid out."""
    live = LiveEndpoints(endpoints)
    for function in (live.live_open, live.live_push, live.live_close):
        calls.publish(endpoints.page, function, queue=False, concurrency_limit=None)
