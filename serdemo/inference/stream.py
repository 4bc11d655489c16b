"""Sound that arrives piece by piece: which windows are due, is there speech, how answers add up.

A file is a stream pushed at once, so file and live sound share one resampler, one speech gate
and one smoother. No input or output here, no threads and no model: the caller takes the windows
that are due, has them scored and gives the probabilities back.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serdemo.audio import quality, vad, waveform
from serdemo.audio.vad import CHUNK
from serdemo.audio.waveform import SAMPLE_RATE, Samples
from serdemo.inference.aggregation import Window, WindowAggregator
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Prediction, Segment

NO_SPEECH = "no speech"  # the label of a segment that was not scored

HOP_S = 0.5
# A short sound is answered from all of it at once: 0.4 points more recall on the selection
# speakers than the mean of its windows.
WHOLE_S = 6.0
# Live sound comes in pieces of a tenth, a fifth or half a second, and a resampler keeps the last
# 40 ms back: a window ending just on a piece's end would have to wait for the next piece.
FIRST_S = 0.95
RECENT_SAMPLES = round(6.0 * SAMPLE_RATE)  # kept for who asks what was heard just now
SPEAKING_CHUNKS = 10  # the last 0.3 s say whether someone speaks now


class Stream:
    """One sound on its way: push samples, take the windows that are due, give their answers back.

    Windows end `first_s` after the beginning and every `hop_s` from then on. They reach back to
    the beginning, at most `window_s`. A window without speech is not due: it gives a segment
    labelled `NO_SPEECH`. After `finish` comes one window more, aligned to the end, unless one
    ended there, and for a sound of up to `whole_s` one that holds all of it. Answers do not depend
    on how the samples were cut.

    `rate` is the rate of the samples in Hz, `labels` name the C probabilities of a window and
    `unsure_below` is the confidence under which the whole answer is unsure. Segments are kept for
    `keep_s`, samples until `due` has seen them and no window needs them any more. Use it from one
    thread at a time. Raises UsageError for impossible times, SerdemoError for an impossible rate.
    """

    def __init__(
        self,
        rate: int,
        *,
        labels: Sequence[str],
        unsure_below: float = 0.0,
        hop_s: float = HOP_S,
        first_s: float = FIRST_S,
        window_s: float = waveform.WINDOW_S,
        whole_s: float = WHOLE_S,
        keep_s: float = 60.0,
        detector: vad.SpeechDetector | None = None,
    ) -> None:
        if not 0.01 <= hop_s <= window_s or not 0.01 <= first_s <= window_s or not keep_s > 0:
            raise UsageError(
                f"Windows of {window_s:g} s, the first after {first_s:g} s, every {hop_s:g} s, kept"
                f" for {keep_s:g} s: give positive times, with none longer than a window before it."
            )
        self.labels, self.unsure_below, self.keep_s = tuple(labels), unsure_below, keep_s
        self.meter = quality.LevelMeter()
        self.finished = False
        self.received_samples = 0  # at the source rate
        self.received_s = 0.0
        self.scored = 0  # windows answered
        self.gated = 0  # windows without speech
        self._size, self._hop = round(window_s * SAMPLE_RATE), round(hop_s * SAMPLE_RATE)
        self._whole = round(whole_s * SAMPLE_RATE)
        self._next = round(first_s * SAMPLE_RATE)  # where the next window ends
        self._rate, self._resampler = rate, waveform.Resampler(rate)
        self._session = vad.SpeechSession(detector or vad.SpeechDetector())
        self._sound = np.zeros(0, np.float32)
        self._begin = 0  # the number of the first sample in _sound
        self._speech = np.zeros(0, np.float32)
        self._speech_begin = 0  # the number of the first chunk in _speech
        self._detected = 0  # how far speech was looked for
        self._last = 0  # where the last window ended
        self._cuts = 0  # windows so far
        self._likeliest: tuple[float, Window] | None = None  # while no window held speech
        self._segments: list[Segment] = []
        self._tally = WindowAggregator(len(self.labels))
        self._closed = False  # whether what only the end makes due was asked for

    def push(self, samples: NDArray[np.generic], rate: int | None = None) -> None:
        """Take samples (N,) or (N, C) of any usual type; `rate` only where it has changed.

        They are not copied, so leave them as they are. Raises SerdemoError, and takes nothing,
        for samples that are no sound.
        """
        if self.finished:
            raise UsageError("This stream is finished: open another one.")
        frames = waveform.as_frames(samples)
        mono, clipped = waveform.mix(frames)
        if rate is not None and rate != self._rate:
            fresh = waveform.Resampler(rate)
            self._append(self._resampler.finish())
            self._rate, self._resampler = rate, fresh
        if not len(mono):
            return
        self.received_samples += len(mono)
        self.received_s += len(mono) / self._rate
        self.meter.update(mono, clipped / frames.size, self._rate)
        self._append(self._resampler.push(mono))

    def finish(self) -> None:
        """Say that nothing more comes; what is left is due now."""
        if not self.finished:
            self._append(self._resampler.finish())
            self.finished = True

    def due(self) -> list[Window]:
        """The windows with speech whose end has come since the last call, in order.

        Give each to `accept` in this order; one left out has no segment and counts for nothing.
        At the end of a short sound the whole of it is due, speech or not; at that of a longer one
        without speech the window most like speech.
        """
        found: list[Window] = []
        end = self._begin + len(self._sound)
        if self._next <= end or self.finished:
            self._detect(end)
        while self._next <= end:
            # The chunk that reaches beyond the window may not have come yet: it never counts.
            self._cut(self._next, self._next // CHUNK, found)
            self._next += self._hop
        if self.finished and self._last < end:
            self._cut(end, -(-end // CHUNK), found)
        if self.finished and not self._closed:
            self._closed = True
            if self._cuts > 1 and end <= self._whole:
                share = vad.speech_share(self._speech, 0, end)
                found.append(Window(0, end, self._sound, share, whole=True))
            elif not self.scored and not found and self._likeliest:
                found.append(self._likeliest[1])
        self._forget(end)
        return found

    def accept(self, window: Window, probabilities: ArrayLike) -> Segment:
        """Take the probabilities (C,) of a window from `due`; return its smoothed segment."""
        self.scored += 1
        smoothed = self._tally.add(window, probabilities)
        segment = self._segment(window, smoothed)
        return segment if window.whole or smoothed is None else self._keep(segment)

    def summary(self, name: str, warnings: Sequence[str] = ()) -> Prediction:
        """The answer for the whole stream so far: each window counts by the speech in it, or, once a
        short sound has come to its end, the one window that holds all of it.

        Its segments are those still kept. Raises SerdemoError while no window was answered.
        """
        whole = self._tally.answer
        if whole is None:
            raise SerdemoError(f"No answer for {name}: it holds no sound yet.")
        best = int(whole.argmax())
        return Prediction(
            file=name,
            duration_s=round((self._begin + len(self._sound)) / SAMPLE_RATE, 3),
            label=self.labels[best],
            confidence=float(whole[best]),
            unsure=not self._tally.heard or bool(whole[best] < self.unsure_below),
            probabilities=dict(zip(self.labels, whole.tolist(), strict=True)),
            segments=self.segments,
            warnings=tuple(warnings),
        )

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments of the last `keep_s` seconds, oldest first."""
        return tuple(self._segments)

    @property
    def speech(self) -> NDArray[np.float32]:
        """Speech probabilities up to the newest window, one each 32 ms, `keep_s` back or more."""
        return self._speech

    @property
    def recent(self) -> Samples:
        """The newest samples at 16 kHz, at most 6 s of them, that windows were cut from."""
        return self._sound[-RECENT_SAMPLES:]

    @property
    def speaking(self) -> bool:
        """Whether someone spoke at the end of the newest window."""
        return vad.speech_duration_s(self._speech[-SPEAKING_CHUNKS:]) >= quality.NO_SPEECH_S

    def _append(self, samples: Samples) -> None:
        if len(samples):
            self._sound = np.concatenate([self._sound, samples]) if len(self._sound) else samples

    def _detect(self, end: int) -> None:
        """Look for speech in what came since the last time; many chunks at once cost least."""
        found = [self._speech, self._session.push(self._sound[self._detected - self._begin :])]
        if self.finished:
            found.append(self._session.finish())
        self._speech, self._detected = np.concatenate(found), end

    def _cut(self, stop: int, last_chunk: int, found: list[Window]) -> None:
        """One window that ends at `stop`; into `found` if it holds speech."""
        start = max(0, stop - self._size)
        wave = self._sound[start - self._begin : stop - self._begin]
        chunks = self._speech[start // CHUNK - self._speech_begin : last_chunk - self._speech_begin]
        heard = vad.speech_duration_s(chunks) >= quality.NO_SPEECH_S
        window = Window(
            start, stop, wave, float(np.mean(chunks >= vad.VAD_THRESHOLD)) if heard else 0
        )
        self._last = stop
        self._cuts += 1
        if heard:
            found.append(window)
            self._likeliest = None
            return
        self.gated += 1
        self._keep(self._segment(window, None))
        likeness = float(chunks.mean()) if len(chunks) else 0.0
        if not self.scored and (self._likeliest is None or likeness > self._likeliest[0]):
            self._likeliest = likeness, window

    def _segment(self, window: Window, row: NDArray[np.float64] | None) -> Segment:
        """What the window says; without probabilities (C,) that it holds no speech."""
        known = np.full(len(self.labels), 1 / max(len(self.labels), 1)) if row is None else row
        return Segment(
            start_s=round(window.start / SAMPLE_RATE, 3),
            end_s=round(window.stop / SAMPLE_RATE, 3),
            label=NO_SPEECH if row is None else self.labels[int(known.argmax())],
            confidence=0.0 if row is None else float(known.max()),
            probabilities=dict(zip(self.labels, known.tolist(), strict=True)),
            speech=round(window.speech, 3),
        )

    def _keep(self, segment: Segment) -> Segment:
        # Those without speech are known before the answers of windows before them.
        insort(self._segments, segment, key=lambda kept: kept.end_s)
        return segment

    def _forget(self, end: int) -> None:
        """Drop what neither a later window nor the last `keep_s` seconds need."""
        needed = max(self._begin, end - max(self._size, self._whole, RECENT_SAMPLES))
        self._sound, self._begin = self._sound[needed - self._begin :], needed
        oldest = end / SAMPLE_RATE - self.keep_s
        gone = bisect_right(self._segments, oldest, key=lambda segment: segment.end_s)
        del self._segments[:gone]
        first = int(max(0, min(needed, oldest * SAMPLE_RATE)) // CHUNK)
        if first > self._speech_begin:
            self._speech = self._speech[first - self._speech_begin :].copy()
            self._speech_begin = first
