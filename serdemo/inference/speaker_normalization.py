"""Calibration to a speaker's own neutral voice: what sets it apart from others is taken away.

A speaker's neutral speech lies elsewhere in the embedding than the mean neutral speech that the
model was trained on. Part of that offset is subtracted from all of this speaker's embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serdemo.audio import vad, waveform
from serdemo.inference.predictor import Predictor
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Utterance

# Chosen on corpora that models had never heard: a full subtraction takes away emotion with the speaker.
STRENGTH = 0.5
MIN_SPEECH_S = 2.0  # less than this helps nobody
GOOD_SPEECH_S = 4.0
REFERENCE_CLIPS = 60  # of each corpus
NEUTRAL = ("neutral", "calm")


@dataclass(frozen=True, slots=True, eq=False)
class SpeakerOffset:
    """Vector `offset` (E,) float32 to subtract from a speaker's embeddings.

    `speech_s` is how much speech it was taken from; `warnings` say what may make it of no help.
    """

    offset: NDArray[np.float32]
    speech_s: float
    warnings: tuple[str, ...] = ()


def estimate_speaker_offset(
    predictor: Predictor, clip: waveform.Clip, strength: float = STRENGTH
) -> SpeakerOffset:
    """The calibration that a few seconds of neutral speech give; `strength` is in [0, 1].

    Raises SerdemoError when the model carries no reference of neutral speech, or the clip holds
    less than 2 s of speech.
    """
    reference = predictor.description.neutral
    if not reference:
        raise SerdemoError(
            f"{predictor.name} was not measured on neutral speech, so it cannot be calibrated to a"
            " voice: choose another model."
        )
    speech = predictor.speech.probabilities(clip.samples)
    speech_s = vad.speech_duration_s(speech)
    if speech_s < MIN_SPEECH_S:
        raise SerdemoError(
            f"Only {speech_s:.1f} s of speech were heard: speak in your everyday voice for about"
            " 6 s."
        )
    spans = waveform.windows(len(clip.samples), window_s=predictor.window_s)
    share = np.array([vad.speech_share(speech, start, stop) for start, stop in spans])
    rows = predictor.embeddings([clip.samples[start:stop] for start, stop in spans])
    offset = strength * (share @ rows / share.sum() - np.array(reference))
    warnings = []
    if speech_s < GOOD_SPEECH_S:
        warnings.append(
            f"Only {speech_s:.1f} s of speech were heard: with less than {GOOD_SPEECH_S:.0f} s this"
            " may not help."
        )
    answer = predictor.predict(clip)
    if answer.label not in NEUTRAL and not answer.unsure:
        warnings.append(
            f"This sounds {answer.label} rather than neutral: if you were not speaking in your"
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


def neutral_centroid(predictor: Predictor, utterances: Sequence[Utterance]) -> list[float]:
    """The mean embedding (E,) of neutral training speech, every corpus counting alike.

    At most 60 clips of each corpus are read, evenly spaced. Empty without neutral clips.
    """
    means = []
    for corpus in sorted({u.corpus for u in utterances}):
        clips = [u for u in utterances if u.corpus == corpus and u.emotion in NEUTRAL]
        chosen = clips[:: max(1, len(clips) // REFERENCE_CLIPS)][:REFERENCE_CLIPS]
        if chosen:
            waves = [waveform.decode(u.path).samples for u in chosen]
            means.append(predictor.embeddings(waves).mean(axis=0))
    return [float(x) for x in np.mean(means, axis=0)] if means else []
