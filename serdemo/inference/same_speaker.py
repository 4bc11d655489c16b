"""Recordings of one person: each is scored with the offset estimated from all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from serdemo.audio import quality
from serdemo.audio.waveform import Clip
from serdemo.inference.clip_outputs import EmbeddedClip
from serdemo.inference.predictor import Predictor, Source
from serdemo.inference.speaker_adaptation import estimate_offset, speech_seconds
from serdemo.inference.speaker_prior import require_prior
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Prediction


@dataclass(frozen=True, slots=True)
class SameSpeaker:
    """Predictions of recordings of one person, in order; the error for one that cannot be read.

    `speech_s` is the speech that the speaker's offset was estimated from.
    """

    predictions: tuple[Prediction | SerdemoError, ...]
    speech_s: float


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """An embedded clip without its sound."""

    name: str
    clip: EmbeddedClip
    warnings: tuple[str, ...]


def predict_same_speaker(predictor: Predictor, sources: Iterable[Source]) -> SameSpeaker:
    """Predict recordings of one person, without a label of any.

    Raises UsageError for fewer than two recordings, SerdemoError for a model that cannot get used
    to a voice.
    """
    prior = require_prior(predictor, unlabelled=True)

    def embed(clips: Sequence[Clip]) -> list[_Waiting]:
        waiting = []
        for clip, embedded in zip(clips, predictor.embed_clips(clips, segments=True), strict=True):
            windows = tuple(replace(w, wave=w.wave[:0].copy()) for w in embedded.windows)
            notes = tuple(quality.warnings(clip, embedded.stream.speech))
            waiting.append(_Waiting(clip.name, replace(embedded, windows=windows), notes))
        return waiting

    embedded = predictor.in_batches(sources, embed)
    waiting = list(embedded)
    if len(waiting) < 2:
        raise UsageError("One recording tells nothing of a person: give two or more of the same.")
    readable = [one.clip for one in waiting if isinstance(one, _Waiting)]
    seconds = [speech_seconds(clip.windows) for clip in readable]
    rows = np.array([clip.embedding for clip in readable], np.float32)
    offset = estimate_offset(prior, rows, seconds)
    predictions: list[Prediction | SerdemoError] = []
    for one in waiting:
        if isinstance(one, _Waiting):
            (output,) = predictor.score_embedded([one.clip], offset)
            predictions.append(output.stream.result(one.name, one.warnings))
        else:
            predictions.append(one)
    return SameSpeaker(tuple(predictions), float(sum(seconds)))
