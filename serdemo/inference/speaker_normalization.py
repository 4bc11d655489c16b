"""Speaker normalisation by neutral speech: part of a speaker's offset is subtracted.

A speaker's neutral speech lies elsewhere in the embedding space than the mean neutral speech of the
training corpora. Part of that offset is subtracted from all of this speaker's embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serdemo.audio import vad, waveform
from serdemo.inference.predictor import Embedder
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Utterance

# Chosen on corpora unseen in training: a full subtraction takes away emotion with the speaker.
STRENGTH = 0.5
MIN_SPEECH_S = 2.0  # less than this helps nobody
GOOD_SPEECH_S = 4.0
CLIPS_PER_CORPUS = 60  # of the reference
NEUTRAL = ("neutral", "calm")


@dataclass(frozen=True, slots=True, eq=False)
class SpeakerOffset:
    """Vector `offset` (E,) float32 to subtract from a speaker's embeddings.

    `speech_s` is the duration of the speech it was estimated from; `warnings` are plain sentences
    on what may make it useless.
    """

    offset: NDArray[np.float32]
    speech_s: float
    warnings: tuple[str, ...] = ()


def estimate_speaker_offset(
    model: Embedder, clip: waveform.Clip, strength: float = STRENGTH
) -> SpeakerOffset:
    """Estimate a speaker's offset from a few seconds of neutral speech.

    `strength` in [0, 1] is the part of the offset to subtract. Raises SerdemoError when the model has
    no reference of neutral speech, or the clip holds less than 2 s of speech.
    """
    reference = model.description.neutral
    if not reference:
        raise SerdemoError(
            f"{model.name} was not measured on neutral speech, so it cannot be calibrated to a"
            " voice: choose another model."
        )
    speech = model.speech.probabilities(clip.samples)
    speech_s = vad.speech_duration_s(speech)
    if speech_s < MIN_SPEECH_S:
        raise SerdemoError(
            f"Only {speech_s:.1f} s of speech were heard: speak in your everyday voice for about"
            " 6 s."
        )
    spans = waveform.windows(len(clip.samples), window_s=model.window_s)
    weights = np.array([vad.speech_share(speech, start, stop) for start, stop in spans])
    rows = model.embeddings([clip.samples[start:stop] for start, stop in spans])
    offset = strength * (weights @ rows / weights.sum() - np.array(reference))
    warnings = []
    if speech_s < GOOD_SPEECH_S:
        warnings.append(
            f"Only {speech_s:.1f} s of speech were heard: with less than {GOOD_SPEECH_S:.0f} s this"
            " may not help."
        )
    (output,) = model.score_clips([clip], segments=True)
    prediction = output.stream.result(clip.name)
    if prediction.label not in NEUTRAL and not prediction.unsure:
        warnings.append(
            f"This sounds {prediction.label} rather than neutral: if you were not speaking in your"
            " everyday voice, do it once more."
        )
    return SpeakerOffset(offset.astype(np.float32), speech_s, tuple(warnings))


def subtract_offsets(
    embeddings: NDArray[np.float32], offsets: Sequence[NDArray[np.float32] | None]
) -> NDArray[np.float32]:
    """Embeddings (n, E) less each row's speaker offset (E,), if it has one."""
    shifted = embeddings.copy()
    for row, offset in zip(shifted, offsets, strict=True):
        if offset is not None:
            row -= offset
    return shifted


def neutral_centroid(model: Embedder, utterances: Sequence[Utterance]) -> list[float]:
    """Mean embedding (E,) of neutral training speech, every corpus with equal weight.

    At most 60 clips of each corpus are read, evenly spaced. Empty without neutral clips.
    """
    means = []
    for corpus in sorted({u.corpus for u in utterances}):
        neutral = [u for u in utterances if u.corpus == corpus and u.emotion in NEUTRAL]
        clips = neutral[:: max(1, len(neutral) // CLIPS_PER_CORPUS)][:CLIPS_PER_CORPUS]
        if clips:
            waves = [waveform.decode(u.path).samples for u in clips]
            means.append(model.embeddings(waves).mean(axis=0))
    return [float(x) for x in np.mean(means, axis=0)] if means else []
