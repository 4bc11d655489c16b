"""An emotion for each cue of a recording's subtitles, in one pass over its sound."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from serdemo.audio.waveform import SAMPLE_RATE, Clip, Samples
from serdemo.inference.clip_batches import CLIP_BATCH_SIZE, MAX_BATCH_S
from serdemo.inference.predictor import Predictor
from serdemo.inference.subtitles import Cue
from serdemo.inference.timeline import NO_SPEECH, Span
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Prediction

MIN_CUE_S = 1.0  # of sound that a shorter cue is scored on, around its middle
MAX_CUE_S = 600.0


@dataclass(frozen=True, slots=True)
class ScoredCue:
    """A cue with the prediction of its sound, or the sentence why there is none."""

    cue: Cue
    prediction: Prediction | None = None
    error: str = ""

    @property
    def label(self) -> str:
        """The label; `no speech` where the cue's sound holds none, empty without a prediction."""
        if self.prediction is None:
            return ""
        return self.prediction.label if self.prediction.has_speech else NO_SPEECH

    @property
    def confidence(self) -> float:
        """Probability of the label; 0 without one."""
        speaks = self.prediction and self.prediction.has_speech
        return self.prediction.confidence if self.prediction and speaks else 0.0

    @property
    def is_unsure(self) -> bool:
        """Whether there is a label of which the model is not sure."""
        return bool(self.confidence and self.prediction and self.prediction.unsure)

    @property
    def prefix(self) -> str:
        """What stands before the text in a subtitle: `[angry]`, `[angry?]` where unsure."""
        if self.prediction is None:
            return ""
        return f"[{self.label or self.span.caption}{'?' if self.is_unsure else ''}]"

    @property
    def span(self) -> Span:
        """The cue as a stretch of the timeline."""
        dimensions = self.prediction.dimensions if self.prediction else {}
        return Span(self.cue.start_s, self.cue.end_s, self.label, self.confidence, dimensions)

    def to_json(self) -> dict[str, Any]:
        """A dictionary for JSON: times, text, and the prediction or the error."""
        values: dict[str, Any] = {
            "start_s": self.cue.start_s,
            "end_s": self.cue.end_s,
            "text": self.cue.text,
        }
        if self.prediction is None:
            return {**values, "error": self.error}
        values |= {
            "label": self.label,
            "confidence": self.confidence,
            "unsure": self.prediction.unsure,
            "probabilities": self.prediction.probabilities,
        }
        dimensions = self.prediction.dimensions
        return {**values, "dimensions": dimensions} if dimensions else values


def score_cues(
    predictor: Predictor,
    pieces: Iterable[Samples],
    cues: Sequence[Cue],
    progress: Callable[[float], object] = lambda done_s: None,
) -> tuple[list[ScoredCue], float]:
    """Score the sound of each cue, cut from `pieces` of 16 kHz samples.

    Returns the scored cues in their order, and the duration of the sound in seconds. A cue shorter than a second is scored on the second around its middle. Only the sound of cues
    that are not over is held in memory. `progress` gets the seconds of sound read.
    """
    scored: dict[int, ScoredCue] = {}
    batch: list[tuple[int, Clip]] = []
    duration_s = 0.0

    def read(done_s: float) -> None:
        nonlocal duration_s
        duration_s = done_s
        progress(done_s)

    def score_batch() -> None:
        predictions = predictor.predict_many([clip for _, clip in batch])
        for (number, _), prediction in zip(batch, predictions, strict=True):
            if isinstance(prediction, SerdemoError):
                scored[number] = ScoredCue(cues[number], error=str(prediction))
            else:
                scored[number] = ScoredCue(cues[number], prediction)
        batch.clear()

    for number, cut in _cut(pieces, cues, read):
        if isinstance(cut, str):
            scored[number] = ScoredCue(cues[number], error=cut)
            continue
        batch.append((number, Clip(cut, f"cue {number + 1}", SAMPLE_RATE, 1, 0.0)))
        full = sum(clip.duration_s for _, clip in batch) > MAX_BATCH_S
        if full or len(batch) == CLIP_BATCH_SIZE:
            score_batch()
    if batch:
        score_batch()
    return [scored[number] for number in range(len(cues))], duration_s


def _cut(
    pieces: Iterable[Samples], cues: Sequence[Cue], progress: Callable[[float], object]
) -> Iterator[tuple[int, Samples | str]]:
    """(number of a cue, its samples or the sentence why there are none), cues by their end."""
    waiting: list[tuple[float, float, int]] = []
    for number, cue in enumerate(cues):
        if cue.end_s - cue.start_s > MAX_CUE_S:
            yield number, f"This cue is longer than {MAX_CUE_S / 60:.0f} minutes: split it."
            continue
        start_s, end_s = _widened(cue.start_s, cue.end_s)
        waiting.append((end_s, start_s, number))
    waiting.sort(reverse=True)
    earliest = list(accumulate((start_s for _, start_s, _ in waiting), min))
    held, held_from, end = np.zeros(0, np.float32), 0, 0
    for piece in pieces:
        held, end = np.concatenate([held, piece]), end + len(piece)
        progress(end / SAMPLE_RATE)
        while waiting and waiting[-1][0] * SAMPLE_RATE <= end:
            end_s, start_s, number = waiting.pop()
            start, stop = (round(t * SAMPLE_RATE) - held_from for t in (start_s, end_s))
            yield number, held[start:stop].copy()
        # The last cue may be widened to the second before the end.
        first_s = earliest[len(waiting) - 1] if waiting else math.inf
        needed = int(max(held_from, min(first_s * SAMPLE_RATE, end - MIN_CUE_S * SAMPLE_RATE)))
        held, held_from = held[needed - held_from :], needed
    duration_s = end / SAMPLE_RATE
    for _, start_s, number in reversed(waiting):
        cue = cues[number]
        if cue.start_s >= duration_s:
            yield number, f"This cue begins after the end of the recording ({duration_s:.1f} s)."
            continue
        end_s = min(max(cue.end_s, start_s), duration_s)
        start_s, _ = _widened(cue.start_s, end_s)
        start = round(max(0.0, min(start_s, duration_s - MIN_CUE_S)) * SAMPLE_RATE) - held_from
        yield number, held[max(0, start) :].copy()


def _widened(start_s: float, end_s: float) -> tuple[float, float]:
    """The times, or those of the second around their middle where they are closer; from 0 on."""
    missing_s = MIN_CUE_S - (end_s - start_s)
    if missing_s > 0:
        start_s = max(0.0, start_s - missing_s / 2)
        end_s = start_s + MIN_CUE_S
    return start_s, end_s
