"""A sound that arrives in pieces: windows to score, voice activity, and aggregation of the scores.

A file is a stream pushed at once, so file and live sound share one resampler, one voice activity
detector and one aggregation. No input or output here, no threads and no model: the caller takes the
windows that are ready, has them scored and adds the scores.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serdemo.audio import quality, vad, waveform
from serdemo.audio.channels import StreamMixer
from serdemo.audio.samples import SAMPLE_RATE, Samples, to_frames
from serdemo.audio.vad import CHUNK
from serdemo.inference.aggregation import Window, WindowAggregator
from serdemo.inference.timeline import NO_SPEECH as NO_SPEECH
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Prediction, Segment

HOP_S = 0.5
# A short sound is scored as one window: 0.4 points more recall on the selection speakers than the
# mean of its windows.
WHOLE_S = 6.0
# Live sound comes in pieces of a tenth, a fifth or half a second, and a resampler keeps the last
# 40 ms back: a window ending just on a piece's end would have to wait for the next piece.
FIRST_S = 0.95
RECENT_SAMPLES = round(6.0 * SAMPLE_RATE)  # kept for the estimate of a speaker offset
SPEAKING_CHUNKS = 10  # the last 0.3 s decide whether someone speaks now


class Stream:
    """One sound in progress: push samples, take the windows that are ready, add their scores.

    Windows end `first_s` after the beginning and every `hop_s` from then on. They reach back to
    the beginning, at most `window_s`. A window without speech is not scored: it gives a segment
    labelled `NO_SPEECH`. After `finish` comes one more window, aligned to the end, unless one ended
    there, and for a sound of up to `whole_s` one that holds all of it. Without `segments`, a sound of
    up to `whole_s` has that last window only, and its speech is not looked for. Scores do not depend
    on how the samples were cut.

    `rate` is the rate of the samples in Hz, `labels` name the C probabilities of a window, `dimensions`
    the values of a regression in place of them, and `unsure_below` is the confidence below which the
    result is unsure. Segments are kept for `keep_s`, samples until `ready_windows` has seen them and no
    window needs them any more. `high_pass` takes off what lies below a voice. Use it from one thread at
    a time. Raises UsageError for impossible times, SerdemoError for an impossible rate.
    """

    def __init__(
        self,
        rate: int,
        *,
        labels: Sequence[str],
        dimensions: Sequence[str] = (),
        unsure_below: float = 0.0,
        hop_s: float = HOP_S,
        first_s: float = FIRST_S,
        window_s: float = waveform.WINDOW_S,
        whole_s: float = WHOLE_S,
        keep_s: float = 60.0,
        segments: bool = True,
        high_pass: bool = True,
        detector: vad.SpeechDetector | None = None,
    ) -> None:
        if not 0.01 <= hop_s <= window_s or not 0.01 <= first_s <= window_s or not keep_s > 0:
            raise UsageError(
                f"Windows of {window_s:g} s, the first after {first_s:g} s, every {hop_s:g} s, kept"
                f" for {keep_s:g} s: give positive times, with none longer than a window before it."
            )
        self.labels, self.unsure_below, self.keep_s = tuple(labels), unsure_below, keep_s
        self.dimensions = tuple(dimensions)
        self.meter = quality.LevelMeter()
        self.finished = False
        self.received_samples = 0  # at the source rate
        self.received_s = 0.0
        self.n_scored = 0  # windows
        self.n_silent = 0  # windows without speech
        self._window_size, self._hop = round(window_s * SAMPLE_RATE), round(hop_s * SAMPLE_RATE)
        self._whole_size = round(whole_s * SAMPLE_RATE)
        self._next_stop = round(first_s * SAMPLE_RATE)
        self._timeline = segments
        self._high_pass = high_pass
        self._rate, self._resampler = rate, waveform.Resampler(rate, high_pass=high_pass)
        self._mixer = StreamMixer(rate, 1)
        self._vad = vad.SpeechSession(detector or vad.SpeechDetector())
        self._samples = np.zeros(0, np.float32)
        self._samples_start = 0  # the number of the first sample in _samples
        self._speech = np.zeros(0, np.float32)
        self._speech_start = 0  # the number of the first chunk in _speech
        self._vad_stop = 0  # samples before this were passed to the detector
        self._last_stop = 0  # of the newest window
        self._n_windows = 0
        self._likeliest: tuple[float, Window] | None = None  # while no window held speech
        self._segments: list[Segment] = []
        self._aggregator = WindowAggregator(len(self.labels or self.dimensions))
        self._final_taken = False  # whether `ready_windows` was called after `finish`

    def push(self, samples: NDArray[np.generic], rate: int | None = None) -> None:
        """Append samples (N,) or (N, C) of any usual type; `rate` only where it has changed.

        They are not copied, so leave them as they are. Raises SerdemoError, and takes nothing,
        for samples that are no sound.
        """
        if self.finished:
            raise UsageError("This stream is finished: open another one.")
        frames, clipped = to_frames(samples)
        rate = self._rate if rate is None else rate
        if rate != self._rate:
            resampler = waveform.Resampler(rate, high_pass=self._high_pass)
            self._append(self._resampler.finish())
            self._resampler = resampler
        if (rate, frames.shape[1]) != (self._rate, self._mixer.channels):
            self._mixer = StreamMixer(rate, frames.shape[1])
        self._rate = rate
        if not len(frames):
            return
        self.received_samples += len(frames)
        self.received_s += len(frames) / self._rate
        sound = self._resampler.push(self._mixer.apply(frames))
        self.meter.update(sound, clipped / frames.size, len(frames) / self._rate)
        self._append(sound)

    def push_decoded(self, samples: Samples) -> None:
        """Append samples (N,) of a decoded recording, which need no check, down-mix, resampling or
        level meter."""
        self.received_samples += len(samples)
        self.received_s += len(samples) / SAMPLE_RATE
        self._append(samples)

    def finish(self) -> None:
        """Mark the end of the sound: the remaining windows are ready now."""
        if not self.finished:
            self._append(self._resampler.finish())
            self.finished = True

    def ready_windows(self) -> list[Window]:
        """Windows with speech that were completed since the last call, in order.

        Give each to `add_scores` in this order; one left out has no segment and counts for nothing.
        At the end of a short sound the window that holds all of it is ready, with speech or not; at
        that of a longer one without speech, the window most like speech.
        """
        ready: list[Window] = []
        end = self._samples_start + len(self._samples)
        if not self._timeline and end <= self._whole_size:
            if self.finished and not self._final_taken:
                self._final_taken = True
                ready.append(Window(0, end, self._samples, 1.0, whole=True))
            return ready
        if self._next_stop <= end or self.finished:
            self._detect_speech(end)
        while self._next_stop <= end:
            # The chunk that reaches beyond the window may not have come yet: it never counts.
            self._cut(self._next_stop, self._next_stop // CHUNK, ready)
            self._next_stop += self._hop
        if self.finished and self._last_stop < end:
            self._cut(end, -(-end // CHUNK), ready)
        if self.finished and not self._final_taken:
            self._final_taken = True
            if self._n_windows > 1 and end <= self._whole_size:
                speech_ratio = vad.speech_share(self._speech, 0, end)
                ready.append(Window(0, end, self._samples, speech_ratio, whole=True))
            elif not self.n_scored and not ready and self._likeliest:
                ready.append(self._likeliest[1])
        self._forget(end)
        return ready

    def add_scores(self, window: Window, probabilities: ArrayLike) -> Segment:
        """Add the probabilities (C,) of a window of `ready_windows`; return its smoothed segment."""
        self.n_scored += 1
        smoothed = self._aggregator.update(window, probabilities)
        segment = self._segment(window, smoothed)
        return segment if window.whole or smoothed is None else self._keep(segment)

    def result(self, name: str, warnings: Sequence[str] = ()) -> Prediction:
        """Prediction for the whole stream so far: the speech-weighted mean of its windows or, once a
        short sound is finished, the scores of the one window that holds all of it.

        Its segments are those still kept. Raises SerdemoError while no window was scored.
        """
        whole = self._aggregator.mean
        if whole is None:
            raise SerdemoError(f"No answer for {name}: it holds no sound yet.")
        label, confidence = self._best(whole)
        return Prediction(
            file=name,
            duration_s=round((self._samples_start + len(self._samples)) / SAMPLE_RATE, 3),
            label=label,
            confidence=confidence,
            unsure=not self._aggregator.has_speech or confidence < self.unsure_below,
            probabilities=self._named(self.labels, whole),
            dimensions=self._named(self.dimensions, whole),
            segments=self.segments,
            warnings=tuple(warnings),
        )

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Segments of the last `keep_s` seconds, oldest first."""
        return tuple(self._segments)

    @property
    def speech(self) -> NDArray[np.float32]:
        """Speech probabilities up to the newest window, one per 32 ms, `keep_s` back or more."""
        return self._speech

    @property
    def recent(self) -> Samples:
        """The newest samples at 16 kHz, at most 6 s of them, that windows were cut from."""
        return self._samples[-RECENT_SAMPLES:]

    @property
    def is_speaking(self) -> bool:
        """Whether someone spoke at the end of the newest window."""
        return vad.speech_duration_s(self._speech[-SPEAKING_CHUNKS:]) >= quality.NO_SPEECH_S

    def _append(self, samples: Samples) -> None:
        if len(samples):
            joined = [self._samples, samples]
            self._samples = np.concatenate(joined) if len(self._samples) else samples

    def _detect_speech(self, end: int) -> None:
        """Run the detector on the samples since the last call; many chunks at once cost least."""
        parts = [
            self._speech,
            self._vad.push(self._samples[self._vad_stop - self._samples_start :]),
        ]
        if self.finished:
            parts.append(self._vad.finish())
        self._speech, self._vad_stop = np.concatenate(parts), end

    def _cut(self, stop: int, last_chunk: int, ready: list[Window]) -> None:
        """Cut the window that ends at `stop`; append it to `ready` if it holds speech."""
        start = max(0, stop - self._window_size)
        wave = self._samples[start - self._samples_start : stop - self._samples_start]
        chunks = self._speech[start // CHUNK - self._speech_start : last_chunk - self._speech_start]
        has_speech = vad.speech_duration_s(chunks) >= quality.NO_SPEECH_S
        speech_ratio = float(np.mean(chunks >= vad.VAD_THRESHOLD)) if has_speech else 0.0
        window = Window(start, stop, wave, speech_ratio)
        self._last_stop = stop
        self._n_windows += 1
        if has_speech:
            ready.append(window)
            self._likeliest = None
            return
        self.n_silent += 1
        self._keep(self._segment(window, None))
        likeness = float(chunks.mean()) if len(chunks) else 0.0
        if not self.n_scored and (self._likeliest is None or likeness > self._likeliest[0]):
            self._likeliest = likeness, window

    def _segment(self, window: Window, row: NDArray[np.float64] | None) -> Segment:
        """Segment of a window with its probabilities (C,), or None where it holds no speech."""
        label, confidence = (NO_SPEECH, 0.0) if row is None else self._best(row)
        uniform = np.full(len(self.labels), 1 / max(1, len(self.labels)))
        return Segment(
            start_s=round(window.start / SAMPLE_RATE, 3),
            end_s=round(window.stop / SAMPLE_RATE, 3),
            label=label,
            confidence=confidence,
            probabilities=self._named(self.labels, uniform if row is None else row),
            dimensions={} if row is None else self._named(self.dimensions, row),
            speech_ratio=round(window.speech_ratio, 3),
        )

    @staticmethod
    def _named(names: Sequence[str], row: NDArray[np.float64]) -> dict[str, float]:
        """The values of a row by their names, none where the row is named otherwise."""
        return dict(zip(names, row.tolist(), strict=True)) if names else {}

    def _best(self, row: NDArray[np.float64]) -> tuple[str, float]:
        """The most probable label and its probability; "" and 0 for a model without labels."""
        if not self.labels:
            return "", 0.0
        best = int(row.argmax())
        return self.labels[best], float(row[best])

    def _keep(self, segment: Segment) -> Segment:
        # Those without speech are known before the scores of windows before them.
        insort(self._segments, segment, key=lambda segment: segment.end_s)
        return segment

    def _forget(self, end: int) -> None:
        """Drop what neither a later window nor the last `keep_s` seconds need."""
        longest = max(self._window_size, self._whole_size, RECENT_SAMPLES)
        needed = max(self._samples_start, end - longest)
        self._samples = self._samples[needed - self._samples_start :]
        if self.finished:
            self._samples = self._samples.copy()  # not a view that holds the whole sound
        self._samples_start = needed
        oldest_s = end / SAMPLE_RATE - self.keep_s
        expired = bisect_right(self._segments, oldest_s, key=lambda segment: segment.end_s)
        del self._segments[:expired]
        first_chunk = int(max(0, min(needed, oldest_s * SAMPLE_RATE)) // CHUNK)
        if first_chunk > self._speech_start:
            self._speech = self._speech[first_chunk - self._speech_start :].copy()
            self._speech_start = first_chunk
