"""One live stream as it is served: what has arrived for it, what is known of it, what is wrong."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from serdemo.audio import quality, waveform
from serdemo.inference.stream import Stream
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Prediction, Segment

WAITING_S = 60.0  # of sound that was not looked at yet, at most
NO_SOUND_S = 2.0  # when nothing arrives for so long, something is wrong
SILENT_S = 2.0  # of digital silence, longer than a pause between words
TELL_S = 5.0  # a fault is told for so long after it happened
CLOCK_S = 10.0
REORDER = 8  # pieces that may overtake a late one before that one counts as lost

Piece = tuple[NDArray[np.generic], int]  # samples (N, C) and their rate in Hz


@dataclass(frozen=True, slots=True)
class LiveState:
    """What is known of a live stream now.

    `label` to `probabilities` are of the newest answered window: "" and empty before the first,
    "no speech" for one without. `speech` says whether someone speaks now. `level_dbfs`, `peak` and
    `clipped` (shares of full scale and of the samples) are the input's. `delay_s` is the time from
    the last sample of the newest scored window being spoken to its answer. `scored`, `gated` and
    `skipped` count windows: answered, without speech, and left out because the machine was busy;
    `lost_pieces` counts the pieces that never came. `segments` are those of the last minute,
    `warnings` plain sentences, the worst first.
    """

    label: str = ""
    confidence: float = 0.0
    unsure: bool = True
    probabilities: dict[str, float] = field(default_factory=dict)
    speech: bool = False
    level_dbfs: float = -120.0
    peak: float = 0.0
    clipped: float = 0.0
    delay_s: float | None = None
    received_samples: int = 0
    received_s: float = 0.0
    lost_pieces: int = 0
    scored: int = 0
    gated: int = 0
    skipped: int = 0
    segments: tuple[Segment, ...] = ()
    warnings: tuple[str, ...] = ()

    def prediction(self, name: str = "live") -> Prediction:
        """The newest answer in the form that a file's answer has."""
        return Prediction(
            name,
            round(self.received_s, 3),
            self.label,
            self.confidence,
            self.unsure,
            self.probabilities,
            self.segments[-1:],
            self.warnings,
        )


class LiveSession:
    """A stream with its inbox, and what went wrong with it.

    `now` is always in seconds of one monotonic clock. The caller sees to it that one thread at a
    time uses the inbox (`arrive`, `end`, `collect`); the stream belongs to the worker, and what
    others may know of it is in `state`.
    """

    def __init__(self, stream: Stream, rate: int, now: float) -> None:
        self.stream = stream
        self.heard_at = now  # when something last arrived
        self.ending = False  # nothing more will arrive
        self.ended = threading.Event()  # and all of it is answered
        self.failure: SerdemoError | None = None
        self.shift: NDArray[np.float32] | None = None  # the calibration, while it is switched on
        self._rate = rate
        self._inbox: list[Piece] = []
        self._waiting_s = self._arrived_s = 0.0
        self._begun: deque[tuple[float, float]] = deque()
        self._begun_at = now
        self._expected = self._lost = self._skipped = 0
        self._early: dict[int, Piece] = {}
        self._lost_at = self._skipped_at = -TELL_S
        self._loud_s = 0.0  # where in the sound it was last not silent
        self._delay_s: float | None = None
        self._state = LiveState()

    def arrive(
        self, samples: NDArray[np.generic], rate: int | None, sequence: int | None, now: float
    ) -> None:
        """Put samples (N, C) into the inbox, numbered ones in order.

        Raises SerdemoError, and takes nothing, for an impossible rate, for sound that comes too
        fast, and when the stream has failed.
        """
        if self.failure:
            raise self.failure
        if rate is not None and rate != self._rate:
            waveform.Resampler(rate)
            self._rate = rate
        if self._waiting_s + len(samples) / self._rate > WAITING_S:
            raise SerdemoError(
                "The sound comes faster than it can be answered: send it at the pace it is spoken."
            )
        self.heard_at = now
        if sequence is None:
            self._append((samples, self._rate), now)
        elif sequence >= self._expected:
            self._early.setdefault(sequence, (samples, self._rate))
            self._release(REORDER, now)

    def end(self, now: float) -> None:
        """Say that nothing more will arrive."""
        self.ending, self.heard_at = True, now
        self._release(0, now)

    def collect(self) -> tuple[list[Piece], bool]:
        """Empty the inbox, pieces of one kind joined; the flag says that nothing more comes."""
        pieces, self._inbox, self._waiting_s = self._inbox, [], 0.0
        kinds = groupby(pieces, key=lambda piece: (piece[1], piece[0].shape[1], piece[0].dtype))
        joined = [
            (np.concatenate([samples for samples, _ in group]), rate)
            for (rate, _, _), group in kinds
        ]
        return joined, self.ending

    @property
    def waits(self) -> bool:
        """Whether there is something for the worker to do."""
        return bool(self._inbox or (self.ending and not self.ended.is_set()))

    def fail(self, sentence: str) -> None:
        """Answer nothing more: `sentence` says why."""
        self.failure = SerdemoError(sentence)
        self.ended.set()

    def skip(self, count: int, now: float) -> None:
        """Note that so many due windows are left out."""
        self._skipped, self._skipped_at = self._skipped + count, now

    def answered(self, stop: int, now: float) -> float:
        """Note that the window ending at the 16 kHz sample `stop` is answered; give the delay."""
        self._delay_s = max(0.0, now - self._begun_at - stop / waveform.SAMPLE_RATE)
        return self._delay_s

    def publish(self) -> None:
        """Make what the stream knows visible in `state`."""
        stream, segments = self.stream, self.stream.segments
        if stream.meter.level_dbfs >= quality.SILENT_DBFS:
            self._loud_s = stream.received_s
        newest = segments[-1] if segments else Segment(0.0, 0.0, "", 0.0, {}, 0.0)
        self._state = LiveState(
            label=newest.label,
            confidence=newest.confidence,
            unsure=newest.confidence < stream.unsure_below or newest.speech == 0,
            probabilities=newest.probabilities,
            speech=stream.is_speaking,
            level_dbfs=stream.meter.level_dbfs,
            peak=stream.meter.peak,
            clipped=stream.meter.clipped,
            delay_s=self._delay_s,
            received_samples=stream.received_samples,
            received_s=stream.received_s,
            lost_pieces=self._lost,
            scored=stream.n_scored,
            gated=stream.n_silent,
            skipped=self._skipped,
            segments=segments,
        )

    def state(self, now: float) -> LiveState:
        """What was published last, with what is wrong now."""
        return replace(self._state, warnings=tuple(self._warnings(now)))

    def _append(self, piece: Piece, now: float) -> None:
        seconds = len(piece[0]) / piece[1]
        self._inbox.append(piece)
        self._waiting_s += seconds
        self._arrived_s += seconds
        # Nothing arrives before it is spoken, so the least late arrival tells the beginning.
        self._begun.append((now, now - self._arrived_s))
        while self._begun[0][0] < now - CLOCK_S:
            self._begun.popleft()
        self._begun_at = min(begun for _, begun in self._begun)

    def _release(self, most: int, now: float) -> None:
        """Take numbered pieces in order; with more than `most` waiting, give up the one missing."""
        while self._early and (self._expected in self._early or len(self._early) > most):
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
        if now - self.heard_at > NO_SOUND_S:
            yield "No sound arrives: check that the microphone is connected and allowed."
        elif state.received_s - self._loud_s >= SILENT_S:
            yield "The microphone is silent: check that it is on and not muted."
        if now - self._lost_at < TELL_S:
            yield "Some sound was lost on its way here: use a steadier connection."
        if now - self._skipped_at < TELL_S:
            yield "This machine is busy: answers come later and some are left out."
        if state.clipped > quality.CLIPPED_SHARE:
            yield "The sound is clipped: turn the microphone down or move away from it."
        if state.speech and state.level_dbfs < quality.QUIET_DBFS:
            yield "The voice is very quiet: turn the microphone up or move closer to it."
