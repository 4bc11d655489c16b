"""One live stream as the service keeps it: its inbox, its published state and its faults."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from serdemo.audio import quality, waveform
from serdemo.inference.aggregation import Window
from serdemo.inference.speaker_tracking import SpeakerTracker
from serdemo.inference.stream import Stream
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Prediction, Segment

MAX_BACKLOG_S = 60.0  # of sound that was not scored yet
NO_SOUND_S = 2.0  # when nothing arrives for so long, something is wrong
SILENT_S = 2.0  # of digital silence, longer than a pause between words
WARNING_S = 5.0  # a warning is shown for so long after its cause
CLOCK_S = 10.0  # arrivals by which the time of speaking is estimated
MAX_REORDERED = 8  # pieces that may overtake a late one before that one counts as lost

Piece = tuple[NDArray[np.generic], int]  # samples (N, C) and their rate in Hz


class BacklogError(SerdemoError):
    """More sound waits than a stream may hold: it is to be sent again later."""


class WindowConsumer(Protocol):
    """Receiver of a live stream's scored windows, in order, called in the worker's thread."""

    def __call__(
        self,
        window: Window,
        embedding: NDArray[np.float32],
        probabilities: NDArray[np.float64],
        /,
    ) -> object:
        """Take a window with its embedding (E,), no speaker offset subtracted, and scores (C,)."""


@dataclass(frozen=True, slots=True)
class LiveState:
    """Published state of a live stream.

    `label` to `probabilities` are of the newest window: "" and empty before the first, "no speech"
    for one without. `is_speaking` says whether someone speaks now. `level_dbfs`, `peak` and
    `clipped` (shares of full scale and of the samples) are the input's. `delay_s` is the time from
    the last sample of the newest scored window being spoken to its scores. `n_scored`, `n_silent` and
    `n_skipped` count windows: scored, without speech, and left out because the machine was busy;
    `lost_pieces` counts the pieces that never came. `adapted_s` is the speech by which the model is
    used to the speaker, `adaptation` in [0, 1] how far it trusts that, and `voice_changes` counts how
    often another voice made it start anew. `segments` are those of the last minute,
    `warnings` plain sentences, the worst first, and `dimensions` the newest values of a regression.
    """

    label: str = ""
    confidence: float = 0.0
    unsure: bool = True
    probabilities: dict[str, float] = field(default_factory=dict)
    is_speaking: bool = False
    level_dbfs: float = -120.0
    peak: float = 0.0
    clipped: float = 0.0
    delay_s: float | None = None
    received_samples: int = 0
    received_s: float = 0.0
    lost_pieces: int = 0
    n_scored: int = 0
    n_silent: int = 0
    n_skipped: int = 0
    adapted_s: float = 0.0
    adaptation: float = 0.0
    voice_changes: int = 0
    segments: tuple[Segment, ...] = ()
    warnings: tuple[str, ...] = ()
    dimensions: dict[str, float] = field(default_factory=dict)

    def prediction(self, name: str = "live") -> Prediction:
        """The newest scores in the form that a file's prediction has."""
        return Prediction(
            name,
            round(self.received_s, 3),
            self.label,
            self.confidence,
            self.unsure,
            self.probabilities,
            self.segments[-1:],
            self.warnings,
            self.dimensions,
        )


class LiveSession:
    """A stream with its inbox and its faults.

    `now` is always in seconds of one monotonic clock. The caller sees to it that one thread at a
    time uses the inbox (`receive`, `end`, `collect`, `publish`); the stream belongs to the worker,
    and other threads read `state`.
    """

    def __init__(
        self,
        stream: Stream,
        rate: int,
        now: float,
        consumer: WindowConsumer | None = None,
        tracker: SpeakerTracker | None = None,
    ) -> None:
        self.stream = stream
        self.received_at = now  # when something last arrived
        self.ending = False  # nothing more will arrive
        self.ended = threading.Event()  # all of it is scored, or it failed
        self.failure: SerdemoError | None = None
        self.tracker = tracker
        self.consumers = [consumer] if consumer else []
        self._rate = rate
        self._inbox: list[Piece] = []
        self._collected = False  # the worker has pieces that are not scored yet
        self._backlog_s = self._received_s = 0.0
        self._start_estimates: deque[tuple[float, float]] = deque()  # (arrival, estimate)
        self._started_at = now  # when the first sample was spoken
        self._expected = self._lost = self._skipped = 0
        self._early: dict[int, Piece] = {}
        self._lost_at = self._skipped_at = -WARNING_S
        self._loud_s = 0.0  # where in the sound it was last not silent
        self._delay_s: float | None = None
        self._state = LiveState()

    def receive(
        self, samples: NDArray[np.generic], rate: int | None, sequence: int | None, now: float
    ) -> None:
        """Put samples (N, C) into the inbox, numbered ones in order.

        Raises, and takes nothing: BacklogError while too much sound waits, SerdemoError for an
        impossible rate, and when the stream has failed.
        """
        if self.failure:
            raise self.failure
        if rate is not None and rate != self._rate:
            waveform.Resampler(rate)
            self._rate = rate
        if self._backlog_s + len(samples) / self._rate > MAX_BACKLOG_S:
            raise BacklogError(
                "The sound comes faster than it can be answered: send it at the pace it is spoken."
            )
        self.received_at = now
        if sequence is None:
            self._append((samples, self._rate), now)
        elif sequence >= self._expected:
            self._early.setdefault(sequence, (samples, self._rate))
            self._release(MAX_REORDERED, now)

    def end(self, now: float) -> None:
        """Mark the end: nothing more will arrive."""
        self.ending, self.received_at = True, now
        self._release(0, now)

    def collect(self) -> tuple[list[Piece], bool]:
        """Empty the inbox, pieces of one kind joined; the flag says that nothing more comes."""
        pieces, self._inbox, self._backlog_s = self._inbox, [], 0.0
        self._collected = True
        kinds = groupby(pieces, key=lambda piece: (piece[1], piece[0].shape[1], piece[0].dtype))
        joined = [
            (np.concatenate([samples for samples, _ in group]), rate)
            for (rate, _, _), group in kinds
        ]
        return joined, self.ending

    @property
    def pending(self) -> bool:
        """Whether something was received that is not scored yet."""
        return bool(self._inbox or self._collected or (self.ending and not self.ended.is_set()))

    @property
    def waiting_s(self) -> float:
        """Seconds of the sound that arrived in order and is not scored yet."""
        return max(0.0, self._received_s - self._state.received_s)

    def fail(self, sentence: str) -> None:
        """Stop scoring this stream; `sentence` is the error that its user gets."""
        self.failure = SerdemoError(sentence)
        self.ended.set()

    def skip(self, count: int, now: float) -> None:
        """Count ready windows that are left out."""
        self._skipped, self._skipped_at = self._skipped + count, now

    @property
    def speaker_offset(self) -> NDArray[np.float32] | float:
        """Offset (E,) to subtract from the embedding of the next window, 0 for none."""
        offset = self.tracker.adapter.offset if self.tracker else None
        return 0.0 if offset is None else offset

    def add_scores(
        self,
        window: Window,
        embedding: NDArray[np.float32],
        probabilities: NDArray[np.float64],
        now: float,
        voice: NDArray[np.float32] | None = None,
    ) -> float:
        """Add the scores of a window to the stream and give them to the consumers; return the delay
        in seconds since its last sample was spoken. `voice` (V,) is its speaker embedding."""
        self.stream.add_scores(window, probabilities)
        if self.tracker:
            self.tracker.update(window, embedding, voice)
        for consumer in tuple(self.consumers):
            consumer(window, embedding, probabilities)
        self._delay_s = max(0.0, now - self._started_at - window.stop / waveform.SAMPLE_RATE)
        return self._delay_s

    def publish(self) -> tuple[LiveState, LiveState]:
        """Make the stream's state visible in `state`, after all that was collected is scored; return
        the one before and the new one."""
        stream, segments, before = self.stream, self.stream.segments, self._state
        if stream.meter.level_dbfs >= quality.SILENT_DBFS:
            self._loud_s = stream.received_s
        newest = segments[-1] if segments else Segment(0.0, 0.0, "", 0.0, {}, 0.0)
        self._state = LiveState(
            label=newest.label,
            confidence=newest.confidence,
            unsure=newest.confidence < stream.unsure_below or newest.speech_ratio == 0,
            probabilities=newest.probabilities,
            is_speaking=stream.is_speaking,
            level_dbfs=stream.meter.level_dbfs,
            peak=stream.meter.peak,
            clipped=stream.meter.clipped,
            delay_s=self._delay_s,
            received_samples=stream.received_samples,
            received_s=stream.received_s,
            lost_pieces=self._lost,
            n_scored=stream.n_scored,
            n_silent=stream.n_silent,
            n_skipped=self._skipped,
            segments=segments,
            dimensions=newest.dimensions,
        )
        self._collected = False
        if stream.finished:
            self.ended.set()
        return before, self._state

    def state(self, now: float) -> LiveState:
        """The state published last, with the warnings and the adaptation of now."""
        tracker = self.tracker
        return replace(
            self._state,
            adapted_s=tracker.adapter.speech_s if tracker else 0.0,
            adaptation=tracker.adapter.trust if tracker else 0.0,
            voice_changes=tracker.changes if tracker else 0,
            warnings=tuple(self._warnings(now)),
        )

    def _append(self, piece: Piece, now: float) -> None:
        seconds = len(piece[0]) / piece[1]
        self._inbox.append(piece)
        self._backlog_s += seconds
        self._received_s += seconds
        # Nothing arrives before it is spoken, so the least late arrival tells the beginning.
        self._start_estimates.append((now, now - self._received_s))
        while self._start_estimates[0][0] < now - CLOCK_S:
            self._start_estimates.popleft()
        self._started_at = min(estimate for _, estimate in self._start_estimates)

    def _release(self, max_waiting: int, now: float) -> None:
        """Take numbered pieces in order; with more than `max_waiting`, give up the missing one."""
        while self._early and (self._expected in self._early or len(self._early) > max_waiting):
            first = min(self._early)
            if first > self._expected:
                self._lost, self._lost_at = self._lost + first - self._expected, now
            self._expected = first + 1
            self._append(self._early.pop(first), now)

    def _warnings(self, now: float) -> Iterator[str]:
        state = self._state
        if self.failure:
            yield str(self.failure)
            return
        if now - self.received_at > NO_SOUND_S:
            yield "No sound arrives: check that the microphone is connected and allowed."
        elif state.received_s - self._loud_s >= SILENT_S:
            yield "The microphone is silent: check that it is on and not muted."
        if now - self._lost_at < WARNING_S:
            yield "Some sound was lost on its way here: use a steadier connection."
        if now - self._skipped_at < WARNING_S:
            yield "This machine is busy: answers come later and some are left out."
        if state.clipped > quality.CLIPPED_SHARE:
            yield "The sound is clipped: turn the microphone down or move away from it."
        if state.is_speaking and state.level_dbfs < quality.QUIET_DBFS:
            yield "The voice is very quiet: turn the microphone up or move closer to it."
