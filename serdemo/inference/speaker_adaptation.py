"""Adaptation to a speaker: an estimate of the voice's offset is subtracted from its embeddings.

The estimate rests on sums of the voice's embeddings, never on sound. Speech of a known emotion is
the labelled case: a fixed share of its deviation from that emotion's mean is the offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from serdemo.audio import vad, waveform
from serdemo.audio.waveform import SAMPLE_RATE
from serdemo.inference.aggregation import Window
from serdemo.inference.novelty import round_values
from serdemo.inference.predictor import Embedder
from serdemo.inference.speaker_prior import (
    CLIP_S,
    LABELLED_TRUST,
    Rows,
    SpeakerPrior,
    Vector,
    require_prior,
)
from serdemo.schema.errors import SerdemoError

MIN_SPEECH_S = 2.0  # of a calibration: less helps nobody
GOOD_SPEECH_S = 4.0
NEUTRAL = ("neutral", "calm")
MAX_VALUE = 1e12  # of a number in a saved state; the scatter of hours of speech is below it


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """What is known of a voice: seconds of speech, clips and `mean` (E,) of its speech of unknown
    emotion with the `scatter` (D,) along the discriminants, and the mean `deviation` (E,) from the
    emotions' means of `labelled` clips."""

    speech_s: float
    clips: float
    mean: Vector
    scatter: Vector
    labelled: float
    deviation: Vector


class SpeakerAdapter:
    """Running estimate of one speaker's offset. One thread may update it while others read it."""

    def __init__(self, prior: SpeakerPrior) -> None:
        self.prior = prior
        self.reset()

    def reset(self) -> None:
        """Forget the speaker."""
        size, n_directions = self.prior.discriminants.shape
        zeros = np.zeros(size)
        self._sums = _Sums(0.0, 0.0, zeros, np.zeros(n_directions), 0.0, zeros)

    def update(
        self,
        embedding: ArrayLike,
        speech_s: float,
        label: str | None = None,
        *,
        clips: float | None = None,
    ) -> None:
        """Add an embedding (E,) of `speech_s` seconds of speech, of the emotion `label` if known.

        It counts as `clips`, by default one for 2.7 s. Raises SerdemoError for an emotion without a
        mean.
        """
        if not speech_s > 0:
            return
        sums, row = self._sums, np.asarray(embedding, np.float64)
        count = speech_s / CLIP_S if clips is None else clips
        seconds = sums.speech_s + speech_s
        if label is not None:
            total = sums.labelled + count
            step = (row - self.prior.mean_of(label) - sums.deviation) * count / total
            self._sums = replace(
                sums, speech_s=seconds, labelled=total, deviation=sums.deviation + step
            )
            return
        total = sums.clips + count
        change = row - sums.mean
        along = change @ self.prior.discriminants
        self._sums = replace(
            sums,
            speech_s=seconds,
            clips=total,
            mean=sums.mean + change * count / total,
            scatter=sums.scatter + along**2 * count * sums.clips / total,
        )

    @property
    def speech_s(self) -> float:
        """Seconds of speech behind the estimate."""
        return self._sums.speech_s

    @property
    def trust(self) -> float:
        """Share in [0, 1] of the voice's difference from others that is subtracted."""
        return max(self._trusts(self._sums))

    @property
    def offset(self) -> Rows | None:
        """Vector (E,) to subtract from the speaker's embeddings; None before any speech."""
        sums = self._sums
        if not sums.speech_s:
            return None
        labelled, unlabelled = self._trusts(sums)
        offset = labelled**2 * sums.deviation + unlabelled**2 * (sums.mean - self.prior.mean)
        return np.asarray(offset / max(1e-12, labelled + unlabelled), np.float32)

    def _trusts(self, sums: _Sums) -> tuple[float, float]:
        """Trust in the speech of known emotion and in that of unknown emotion."""
        unlabelled = 0.0
        if sums.clips and self.prior.unlabelled:
            unlabelled = self.prior.trust(sums.clips, sums.mean, sums.scatter)
        return LABELLED_TRUST * min(1.0, sums.labelled), unlabelled

    def to_json(self) -> dict[str, Any]:
        """The estimate as a small table for a browser to hold."""
        sums = self._sums
        return {
            "model": self.prior.fingerprint,
            "counts": [round(x, 4) for x in (sums.speech_s, sums.clips, sums.labelled)],
            "mean": round_values(sums.mean),
            "scatter": round_values(sums.scatter),
            "deviation": round_values(sums.deviation) if sums.labelled else [],
        }

    @classmethod
    def from_json(cls, prior: SpeakerPrior, values: Any) -> Self:
        """Inverse of `to_json`; raises SerdemoError for anything else, or of another model."""
        if not isinstance(values, dict) or values.get("model") != prior.fingerprint:
            raise SerdemoError("This voice was not learnt by this model: let it get used to you.")
        adapter = cls(prior)
        size, n_directions = prior.discriminants.shape
        speech_s, clips, labelled = read_values(values.get("counts"), 3).clip(0)
        adapter._sums = _Sums(
            float(speech_s),
            float(clips),
            read_values(values.get("mean"), size),
            read_values(values.get("scatter"), n_directions).clip(0),
            float(labelled),
            read_values(values.get("deviation"), size) if labelled else np.zeros(size),
        )
        return adapter


def read_values(values: Any, size: int) -> Vector:
    """Vector (size,) from untrusted JSON; raises SerdemoError for anything else."""
    if (
        isinstance(values, list)
        and len(values) == size
        and all(type(x) in (int, float) and abs(x) <= MAX_VALUE for x in values)
    ):
        return np.array(values, np.float64)
    raise SerdemoError("The saved voice is damaged: let the model get used to you again.")


def estimate_offset(prior: SpeakerPrior, embeddings: Rows, speech_s: Sequence[float]) -> Rows:
    """Offset (E,) of the speaker of whole clips with `embeddings` (n, E) and seconds of speech (n,)."""
    adapter = SpeakerAdapter(prior)
    for row, seconds in zip(embeddings, speech_s, strict=True):
        adapter.update(row, seconds, clips=max(1.0, seconds / CLIP_S))
    return np.zeros(len(prior.mean), np.float32) if adapter.offset is None else adapter.offset


def speech_seconds(windows: Sequence[Window]) -> float:
    """Seconds of speech in a clip's windows, in order, where those that overlap count once."""
    seconds, stop = 0.0, 0
    for window in windows:
        seconds += new_speech_s(window, stop)
        stop = max(stop, window.stop)
    return seconds


def new_speech_s(window: Window, stop: int) -> float:
    """Seconds of speech in the part of a window after sample `stop`."""
    return window.speech_ratio * max(0, window.stop - max(window.start, stop)) / SAMPLE_RATE


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A speaker's estimate from speech of a known emotion; `warnings` say what may make it useless."""

    adapter: SpeakerAdapter
    warnings: tuple[str, ...] = ()


def estimate_speaker_offset(model: Embedder, clip: waveform.Clip) -> Calibration:
    """Estimate a speaker's offset from a few seconds of neutral speech.

    Raises SerdemoError when the model has no mean of neutral speech, or the clip holds less than 2 s
    of speech.
    """
    adapter = SpeakerAdapter(require_prior(model))
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
    adapter.update(weights @ rows / weights.sum(), speech_s, NEUTRAL[0])
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
    return Calibration(adapter, tuple(warnings))
