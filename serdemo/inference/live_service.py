"""Live inference: one worker per model scores the ready windows of all streams in one batch."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serdemo.audio import waveform
from serdemo.audio.samples import as_frames
from serdemo.inference import speed
from serdemo.inference.aggregation import Window
from serdemo.inference.live_session import LiveSession, LiveState, Piece, WindowConsumer
from serdemo.inference.live_totals import LiveTotals
from serdemo.inference.predictor import Embedder
from serdemo.inference.speaker_adaptation import Calibration, estimate_speaker_offset
from serdemo.inference.speaker_prior import SpeakerPrior, require_prior
from serdemo.inference.speaker_tracking import SpeakerTracker
from serdemo.inference.stream import FIRST_S, HOP_S
from serdemo.schema.errors import SerdemoError, trace
from serdemo.schema.types import Prediction

MAX_STREAMS = 64
MAX_ROUND_S = 0.5  # of scoring at a time, so that no stream waits long for another
MODEL_FAILED = "The model could not answer this sound: stop and start again."
CLOSED = "This live stream is closed: start it again."

log = logging.getLogger(__name__)

Rows = NDArray[np.float32]  # embeddings


class NoPlaceError(SerdemoError):
    """All places for live sound are taken."""


class LiveService:
    """Live streams of one model, scored together by one worker thread. Use it from any thread.

    A stream to which nothing was pushed for `idle_s` is dropped with all it holds. Sound is never
    dropped: when more windows are ready than can be scored in time, each stream's older ones are
    skipped in favour of its newest, and its state counts them and says so. `speaker_model` loads the
    model that tells voices apart, for streams that adapt: without it they do not start anew with
    another voice. `totals` counts what is done; several services may share it, and have `max_streams`
    in common where `count_streams` gives the streams of all.
    """

    def __init__(
        self,
        predictor: Embedder,
        max_streams: int = MAX_STREAMS,
        *,
        idle_s: float = 60.0,
        speaker_model: Callable[[], Embedder | None] = lambda: None,
        totals: LiveTotals | None = None,
        count_streams: Callable[[], int] | None = None,
    ) -> None:
        self.totals = totals or LiveTotals()
        self._count_streams = count_streams or self.__len__
        self._predictor, self._max_streams, self._idle_s = predictor, max_streams, idle_s
        self._speaker_model = cache(speaker_model)
        self._sessions: dict[str, LiveSession] = {}
        self._wake = threading.Condition()
        self._worker: threading.Thread | None = None
        self._stopping = False
        self._window_cost_s = 0.0  # running mean of the time to score one window
        self._delays: deque[float] = deque(maxlen=10_000)

    def __enter__(self) -> LiveService:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, handle: str) -> bool:
        return handle in self._sessions

    @property
    def delays_s(self) -> tuple[float, ...]:
        """Delays of the latest scores: from a window's last sample being spoken to its scores."""
        return tuple(self._delays)

    @property
    def is_working(self) -> bool:
        """Whether streams are answered."""
        return self._worker is None or self._worker.is_alive() or self._stopping

    @property
    def waiting_s(self) -> float:
        """Seconds of sound of all streams that is not scored yet."""
        return sum(session.waiting_s for session in list(self._sessions.values()))

    @property
    def window_cost_s(self) -> float:
        """Seconds to score a window: the running mean, measured on an example before the first."""
        if not self._window_cost_s:
            self._window_cost_s = speed.window_cost_s(self._predictor)
        return self._window_cost_s

    def open(
        self,
        rate: int,
        *,
        hop_s: float = HOP_S,
        first_s: float = FIRST_S,
        consumer: WindowConsumer | None = None,
        adapt: bool = False,
    ) -> str:
        """Open a stream of sound at `rate` Hz and return its handle; the times are those of `Stream`.

        `consumer` is called in the worker's thread with every scored window of the stream. With
        `adapt` the model gets used to the speaker, if it `can_adapt`. Raises NoPlaceError when all
        places are taken, SerdemoError for an impossible rate.
        """
        prior = SpeakerPrior.of(self._predictor.description) if adapt else None
        tracker = SpeakerTracker(prior) if prior and prior.unlabelled else None
        if tracker:
            self._speaker_model()  # loaded now, not while others wait for their answers
        stream = self._predictor.stream(rate, hop_s=hop_s, first_s=first_s)
        with self._wake:
            if self._stopping:
                raise SerdemoError("serdemo is shutting down: start it again.")
            if self._count_streams() >= self._max_streams:
                self.totals.add_refusal()
                raise NoPlaceError(
                    f"All {self._max_streams} places for live sound are taken: "
                    "try again in a minute."
                )
            handle = secrets.token_urlsafe()
            self._sessions[handle] = LiveSession(stream, rate, time.monotonic(), consumer, tracker)
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="live", daemon=True)
                self._worker.start()
        return handle

    def push(
        self,
        handle: str,
        samples: NDArray[np.generic],
        rate: int | None = None,
        sequence: int | None = None,
    ) -> None:
        """Add samples (N,) or (N, C) of any usual type; returns at once.

        `rate` in Hz is needed only where it has changed. Pieces numbered by `sequence` from 0 are
        put in order; one that comes twice is taken once, one that never comes is counted as lost.
        Raises SerdemoError for samples that are no sound or come too fast (BacklogError; the stream
        goes on), and for a stream that is closed or has failed.
        """
        waveform.validate_samples(samples)
        frames = np.array(as_frames(samples))
        with self._wake:
            self._find(handle).receive(frames, rate, sequence, time.monotonic())
            self._wake.notify_all()

    def flush(self, handle: str, timeout_s: float = 1.0) -> None:
        """Wait until all that was pushed in order is scored, or `timeout_s` is over."""
        with self._wake:
            session = self._find(handle)
            self._wake.wait_for(lambda: session.failure or not session.pending, timeout_s)

    def state(self, handle: str) -> LiveState:
        """Current state of the stream; raises SerdemoError when it is closed."""
        with self._wake:
            return self._find(handle).state(time.monotonic())

    def add_consumer(self, handle: str, consumer: WindowConsumer) -> None:
        """Call `consumer` with the windows of a stream that are scored from now on."""
        with self._wake:
            self._find(handle).consumers.append(consumer)

    def remove_consumer(self, handle: str, consumer: WindowConsumer) -> None:
        """Undo `add_consumer`. Raises SerdemoError when the stream is closed."""
        with self._wake:
            self._find(handle).consumers.remove(consumer)

    @property
    def can_adapt(self) -> bool:
        """Whether the model can get used to a speaker without a label."""
        prior = SpeakerPrior.of(self._predictor.description)
        return prior is not None and prior.unlabelled

    def calibrate(self, handle: str) -> Calibration:
        """Estimate the speaker's offset anew, from the last 6 s of the stream as neutral speech.

        Raises SerdemoError when they hold too little speech; the estimate in use stays.
        """
        with self._wake:
            session = self._find(handle)
        recent = session.stream.recent
        if not len(recent):
            raise SerdemoError("Nothing was heard yet: speak, then calibrate.")
        clip = waveform.Clip(recent, "the sound", waveform.SAMPLE_RATE, 1, clipped=0.0)
        found = estimate_speaker_offset(self._predictor, clip)
        self.set_speaker_state(handle, found.adapter.to_json())
        return found

    def set_adapting(self, handle: str, on: bool) -> None:
        """Let the model get used to the stream's speaker, from nothing, or answer as for any voice."""
        prior = SpeakerPrior.of(self._predictor.description) if on else None
        with self._wake:
            tracker = SpeakerTracker(prior) if prior and prior.unlabelled else None
            self._find(handle).tracker = tracker

    def forget_speaker(self, handle: str) -> None:
        """Start the estimate of the speaker's offset anew."""
        self.set_speaker_state(handle, None)

    def speaker_state(self, handle: str) -> dict[str, Any] | None:
        """The estimate of the stream's speaker for `set_speaker_state`, ready for JSON; None for none."""
        with self._wake:
            tracker = self._find(handle).tracker
        return tracker.to_json() if tracker and tracker.adapter.speech_s else None

    def set_speaker_state(self, handle: str, state: Any) -> None:
        """Use an estimate that `speaker_state` gave, as JSON; it grows on where the stream adapts.

        None forgets the speaker. Raises SerdemoError for an estimate of another model.
        """
        with self._wake:
            session = self._find(handle)
        grows = session.tracker is not None and session.tracker.grows
        prior = None if state is None and not grows else require_prior(self._predictor)
        tracker = None
        if state is not None and prior:
            tracker = SpeakerTracker.from_json(prior, state, grows)
        elif prior:
            tracker = SpeakerTracker(prior)
        with self._wake:
            session.tracker = tracker

    def finish(self, handle: str, *, name: str = "live", timeout_s: float = 30.0) -> Prediction:
        """Score the rest, close the stream and return the prediction for the whole of it.

        Raises SerdemoError when it holds no sound, it failed, or it takes too long.
        """
        with self._wake:
            session = self._find(handle)
            session.end(time.monotonic())
            self._wake.notify_all()
        try:
            if not session.ended.wait(timeout_s):
                raise SerdemoError("This machine is too busy for the last answer: try again.")
            if session.failure:
                raise session.failure
            return session.stream.result(name)
        finally:
            self.close(handle)

    def close(self, handle: str) -> None:
        """Drop the stream and all it holds; nothing happens when it is closed already."""
        with self._wake:
            self._sessions.pop(handle, None)

    def shutdown(self) -> None:
        """Close all streams and end the worker; waits for the batch in progress."""
        with self._wake:
            self._stopping = True
            for session in self._sessions.values():
                session.fail("serdemo is shutting down: start it again.")
            self._sessions.clear()
            self._wake.notify_all()
        if self._worker is not None:
            self._worker.join()

    def _find(self, handle: str) -> LiveSession:
        if session := self._sessions.get(handle):
            return session
        raise SerdemoError(CLOSED)

    def _work(self) -> None:
        # The first pass through the network is slow, and would be so for the first visitor.
        self._embed(self._predictor, [np.zeros(waveform.SAMPLE_RATE, np.float32)])
        while (inboxes := self._wait()) is not None:
            ready = {session: self._feed(session, *inbox) for session, inbox in inboxes.items()}
            self._score_newest({session: windows for session, windows in ready.items() if windows})
            with self._wake:
                for session in inboxes:
                    self.totals.add_progress(*session.publish())
                self._wake.notify_all()

    def _wait(self) -> dict[LiveSession, tuple[list[Piece], bool]] | None:
        """Sleep until a session has work; return the inboxes of those that have, None to end."""
        with self._wake:
            while not self._stopping:
                now = time.monotonic()
                for handle, session in list(self._sessions.items()):
                    if now - session.received_at > self._idle_s and not session.pending:
                        del self._sessions[handle]
                waiting = [session for session in self._sessions.values() if session.pending]
                if waiting:
                    return {session: session.collect() for session in waiting}
                self._wake.wait(self._idle_s / 4 if self._sessions else None)
        return None

    def _feed(self, session: LiveSession, pieces: list[Piece], last: bool) -> list[Window]:
        """Push pieces into a session's stream; a stream that cannot take them fails alone."""
        if session.failure:
            return []
        try:
            for samples, rate in pieces:
                session.stream.push(samples, rate)
            if last:
                session.stream.finish()
            return session.stream.ready_windows()
        except SerdemoError as problem:
            session.fail(str(problem))
        except Exception as problem:
            log.error("a live stream failed: %s", trace(problem))
            session.fail(MODEL_FAILED)
        return []

    def _score_newest(self, ready: dict[LiveSession, list[Window]]) -> None:
        """Score as many of the newest ready windows as there is time for."""
        if not ready:
            return
        started = time.monotonic()
        batch: list[tuple[LiveSession, Window]] = []
        for session, windows in ready.items():
            cost_s = self._window_cost_s
            affordable = MAX_ROUND_S / len(ready) / cost_s if cost_s else len(windows)
            n_skipped = max(0, len(windows) - max(1, int(affordable)))
            if n_skipped:
                session.skip(n_skipped, started)
            batch += [(session, window) for window in windows[n_skipped:]]
        embeddings = self._embed(self._predictor, [window.wave for _, window in batch])
        voices = self._embed_voices(batch)
        for number, ((session, window), embedding) in enumerate(
            zip(batch, embeddings, strict=True)
        ):
            try:
                if embedding is None:
                    session.fail(MODEL_FAILED)
                else:
                    row = embedding - session.speaker_offset
                    scores = self._predictor.classify(row[None])[0]
                    now = time.monotonic()
                    delay_s = session.add_scores(window, embedding, scores, now, voices.get(number))
                    self._delays.append(delay_s)
                    self.totals.delays_s.add(delay_s)
            except Exception as problem:
                log.error("a live stream or its consumer failed: %s", trace(problem))
                session.fail(MODEL_FAILED)
        cost_s = (time.monotonic() - started) / len(batch)
        self._window_cost_s = (
            0.8 * self._window_cost_s + 0.2 * cost_s if self._window_cost_s else cost_s
        )

    def _embed_voices(self, batch: Sequence[tuple[LiveSession, Window]]) -> dict[int, Rows]:
        """Speaker embeddings (V,) of the windows that need one, by their number in the batch."""
        numbers = [
            number
            for number, (session, window) in enumerate(batch)
            if session.tracker and session.tracker.wants_voice(window)
        ]
        model = self._speaker_model() if numbers else None
        if model is None:
            return {}
        rows = self._embed(model, [batch[number][1].wave for number in numbers])
        return {n: row for n, row in zip(numbers, rows, strict=True) if row is not None}

    def _embed(self, model: Embedder, waves: Sequence[NDArray[np.float32]]) -> list[Rows | None]:
        """Embedding (E,) of every window; None where the model fails."""
        try:
            return list(model.embeddings(waves))
        except Exception as problem:
            log.error("scoring failed: %s", trace(problem))
            if len(waves) == 1:
                return [None]
            return [self._embed(model, [wave])[0] for wave in waves]
