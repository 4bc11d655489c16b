"""Many live streams at once: one worker scores the due windows of all in one forward pass."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serdemo.audio import waveform
from serdemo.inference.aggregation import Window
from serdemo.inference.live_session import LiveSession, LiveState, Piece
from serdemo.inference.predictor import Predictor
from serdemo.inference.speaker_normalization import (
    SpeakerOffset,
    estimate_speaker_offset,
    subtract_offsets,
)
from serdemo.inference.stream import FIRST_S, HOP_S
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Prediction

ROUND_S = 0.5  # scoring takes no longer at a time, so that no answer waits long for another
MODEL_FAULT = "The model could not answer this sound: stop and start again."

log = logging.getLogger(__name__)


class LiveService:
    """Live streams, scored together by one worker thread. Use it from any thread.

    A stream to which nothing was pushed for `idle_s` is dropped with all it holds. Sound is never
    dropped: when more windows are due than can be scored in time, each stream's older ones are
    left out in favour of its newest, and its state counts them and says so.
    """

    def __init__(
        self, predictor: Predictor, max_streams: int = 64, *, idle_s: float = 60.0
    ) -> None:
        self._predictor, self._max_streams, self._idle_s = predictor, max_streams, idle_s
        self._sessions: dict[str, LiveSession] = {}
        self._wake = threading.Condition()
        self._worker: threading.Thread | None = None
        self._stopping = False
        self._cost_s = 0.0  # of scoring one window, lately
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
        """Of the latest answers: from the window's last sample being spoken to its answer."""
        return tuple(self._delays)

    def open(self, rate: int, *, hop_s: float = HOP_S, first_s: float = FIRST_S) -> str:
        """Open a stream of sound at `rate` Hz and return its handle; the times are those of `Stream`.

        Raises SerdemoError when all places are taken, or for an impossible rate.
        """
        stream = self._predictor.stream(rate, hop_s=hop_s, first_s=first_s)
        with self._wake:
            if self._stopping:
                raise SerdemoError("serdemo is shutting down: start it again.")
            if len(self._sessions) >= self._max_streams:
                raise SerdemoError(
                    f"All {self._max_streams} places for live sound are taken: "
                    "try again in a minute."
                )
            handle = secrets.token_urlsafe()
            self._sessions[handle] = LiveSession(stream, rate, time.monotonic())
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
        Raises SerdemoError for samples that are no sound or come too fast (the stream goes on),
        and for a stream that is closed or has failed.
        """
        waveform.validate_samples(samples)
        frames = np.array(waveform.as_frames(samples))
        with self._wake:
            self._find(handle).arrive(frames, rate, sequence, time.monotonic())
            self._wake.notify_all()

    def state(self, handle: str) -> LiveState:
        """What is known of the stream now; raises SerdemoError when it is closed."""
        with self._wake:
            return self._find(handle).state(time.monotonic())

    def calibrate(self, handle: str) -> SpeakerOffset:
        """Take the last 6 s of the stream for this speaker's neutral voice, and use it from now on.

        Raises SerdemoError when they hold too little speech; what was used before stays.
        """
        with self._wake:
            session = self._find(handle)
        recent = session.stream.recent
        if not len(recent):
            raise SerdemoError("Nothing was heard yet: speak, then calibrate.")
        clip = waveform.from_array(recent, waveform.SAMPLE_RATE, "The sound")
        voice = estimate_speaker_offset(self._predictor, clip)
        self.adjust(handle, voice.shift)
        return voice

    def adjust(self, handle: str, shift: NDArray[np.float32] | None) -> None:
        """Subtract a `NeutralVoice.shift` (E,) from the stream's embeddings; None for no more.

        Raises SerdemoError for one that is not of this model.
        """
        size = self._predictor.model.options.embedding
        if shift is not None and (shift.shape != (size,) or not np.isfinite(shift).all()):
            raise SerdemoError("This calibration is not of this model: calibrate once more.")
        with self._wake:
            self._find(handle).shift = shift

    def finish(self, handle: str, *, name: str = "live", timeout_s: float = 30.0) -> Prediction:
        """Answer what is left, close the stream and give the answer for the whole of it.

        Raises SerdemoError when nothing was heard of it, it failed, or it takes too long.
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
        """Forget the stream and all it holds; nothing happens when it is closed already."""
        with self._wake:
            self._sessions.pop(handle, None)

    def shutdown(self) -> None:
        """Close all streams and end the worker; waits for the round at hand."""
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
        raise SerdemoError("This live stream is closed: start it again.")

    def _work(self) -> None:
        # The first pass through the network is slow, and would be so for the first visitor.
        self._score([np.zeros(waveform.SAMPLE_RATE, np.float32)], [None])
        while (jobs := self._wait()) is not None:
            due = {session: self._take(session, *arrived) for session, arrived in jobs.items()}
            self._answer({session: windows for session, windows in due.items() if windows})
            for session in jobs:
                session.publish()
                if session.stream.finished:
                    session.ended.set()

    def _wait(self) -> dict[LiveSession, tuple[list[Piece], bool]] | None:
        """Sleep until something has arrived; give it for each stream, None to end."""
        with self._wake:
            while not self._stopping:
                now = time.monotonic()
                for handle, session in list(self._sessions.items()):
                    if now - session.heard_at > self._idle_s:
                        del self._sessions[handle]
                waiting = [s for s in self._sessions.values() if s.waits]
                if waiting:
                    return {session: session.collect() for session in waiting}
                self._wake.wait(self._idle_s / 4 if self._sessions else None)
        return None

    def _take(self, session: LiveSession, pieces: list[Piece], last: bool) -> list[Window]:
        """Put what arrived into the stream; a stream that cannot take it fails alone."""
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
        except Exception:
            log.exception("a live stream failed")
            session.fail(MODEL_FAULT)
        return []

    def _answer(self, due: dict[LiveSession, list[Window]]) -> None:
        """Score as many of the newest due windows as there is time for."""
        if not due:
            return
        began = time.monotonic()
        chosen: list[tuple[LiveSession, Window]] = []
        for session, windows in due.items():
            time_for = ROUND_S / len(due) / self._cost_s if self._cost_s else len(windows)
            left_out = max(0, len(windows) - max(1, int(time_for)))
            if left_out:
                session.skip(left_out, began)
            chosen += [(session, window) for window in windows[left_out:]]
        rows = self._score(
            [window.wave for _, window in chosen], [session.shift for session, _ in chosen]
        )
        now = time.monotonic()
        cost = (now - began) / len(chosen)
        self._cost_s = 0.8 * self._cost_s + 0.2 * cost if self._cost_s else cost
        for (session, window), row in zip(chosen, rows, strict=True):
            if row is None:
                session.fail(MODEL_FAULT)
                continue
            session.stream.add_scores(window, row)
            self._delays.append(session.answered(window.stop, now))

    def _score(
        self,
        waves: Sequence[NDArray[np.float32]],
        shifts: Sequence[NDArray[np.float32] | None],
    ) -> list[NDArray[np.float64] | None]:
        """A row of probabilities (C,) for each window; None where the model cannot answer it."""
        try:
            embeddings = subtract_offsets(self._predictor.embeddings(waves), shifts)
            return list(self._predictor.classify(embeddings))
        except Exception:
            log.exception("scoring failed")
            if len(waves) == 1:
                return [None]
            pairs = zip(waves, shifts, strict=True)
            return [self._score([wave], [shift])[0] for wave, shift in pairs]
