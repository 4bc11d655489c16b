"""Adaptation to a speaker: an estimate of the voice's offset is subtracted from its embeddings.

An embedding is modelled as e = m_c + s + r: the mean of its emotion c over all speakers, the offset of
this speaker, s ~ N(0, B), and a residual r ~ N(0, W). Given the emotions, or their probabilities
p_tc, the posterior mean of the offset over t = 1..n is that of Bayesian adaptation of a mean
(Gauvain and Lee 1994, eq. 25): the mean of e_t - sum_c p_tc m_c, times n / (n + W / B). Here n is
counted in seconds of speech. Only that mean and the seconds are stored, never sound.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serdemo.audio import vad, waveform
from serdemo.audio.waveform import SAMPLE_RATE
from serdemo.inference.aggregation import Window
from serdemo.inference.predictor import Embedder
from serdemo.metrics.classification import class_of
from serdemo.nn.description import ANY_SPEECH, Description
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Utterance

SHRINKAGE_S = 10.0  # W / B: seconds of speech that weigh as much as the prior
NEUTRAL_SHRINKAGE_S = 5.0  # of a checkpoint that has the mean of neutral speech alone
ITERATIONS = 3  # of the emotions' probabilities and the offset, in turn
MIN_SPEECH_S = 2.0  # of a calibration: less helps nobody
GOOD_SPEECH_S = 4.0
CLIPS_PER_CLASS = 30  # of each corpus, for the means of a new model
NEUTRAL = ("neutral", "calm")
MAX_VALUE = 1e6  # of a number in a saved state

Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class SpeakerPrior:
    """What is known of embeddings before a speaker is heard.

    `class_means` (R, E) are of the emotions `names`; a row named `ANY_SPEECH` stands for speech of
    unknown emotion, in place of the mixture of the others. `shrinkage_s` is W / B in seconds, one
    number or one for each dimension (E,). `labels` (C,) are the model's; without `unlabelled`, only
    speech of a known emotion can be used.
    """

    names: tuple[str, ...]
    class_means: Rows
    shrinkage_s: NDArray[np.float64]
    labels: tuple[str, ...]
    unlabelled: bool = True

    @classmethod
    def of(cls, description: Description) -> Self | None:
        """The prior of a checkpoint, None where it has none.

        A checkpoint of 0.2 has the mean of neutral speech alone.
        """
        prior = description.speaker_prior
        means = prior.get("class_means") or (
            {"neutral": description.neutral} if description.neutral else {}
        )
        if not means:
            return None
        return cls(
            tuple(means),
            np.array(list(means.values()), np.float32),
            np.asarray(prior.get("shrinkage_s", NEUTRAL_SHRINKAGE_S), np.float64),
            description.labels,
            bool(prior),
        )

    @property
    def fingerprint(self) -> str:
        """Hexadecimal digest that tells the model from others."""
        return hashlib.sha256(self.class_means.tobytes()).hexdigest()[:16]

    def expected(self, probabilities: ArrayLike, label: str | None = None) -> NDArray[np.float64]:
        """Mean embeddings (n, E) of speech whose emotion has `probabilities` (n, C), or is `label`.

        Raises SerdemoError for a label without a mean.
        """
        rows = np.atleast_2d(np.asarray(probabilities, np.float64))
        name = ANY_SPEECH if label is None and ANY_SPEECH in self.names else label
        if name is None:
            columns = [self.labels.index(own) for own in self.names]
            shares = rows[:, columns]
            shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
            return np.asarray(shares @ self.class_means)
        if name not in self.names:
            raise SerdemoError(f"This model has no mean of {name} speech: choose another model.")
        return np.repeat(self.class_means[[self.names.index(name)]], len(rows), axis=0)

    def shrink(self, mean: NDArray[np.float64], speech_s: float) -> Rows:
        """Posterior mean (E,) of the offset, from the mean deviation (E,) over `speech_s` seconds."""
        return (mean * speech_s / (speech_s + self.shrinkage_s)).astype(np.float32)

    def estimate(
        self,
        embeddings: Rows,
        speech_s: ArrayLike,
        classify: Callable[[Rows], NDArray[np.float64]],
        iterations: int = ITERATIONS,
    ) -> Rows:
        """Offset (E,) of the speaker of `embeddings` (n, E), with `speech_s` (n,) seconds of speech.

        `classify` gives probabilities (n, C); they are recomputed with the offset `iterations`
        times (expectation-maximisation).
        """
        seconds = np.asarray(speech_s, np.float64)
        offset = np.zeros(embeddings.shape[1], np.float32)
        if not seconds.sum() > 0:
            return offset
        for _ in range(iterations):
            deviations = embeddings - self.expected(classify(embeddings - offset))
            offset = self.shrink(seconds @ deviations / seconds.sum(), float(seconds.sum()))
        return offset


class SpeakerAdapter:
    """Running estimate of one speaker's offset: its mean deviation and the seconds behind it.

    One thread may update it while others read it.
    """

    def __init__(self, prior: SpeakerPrior) -> None:
        self.prior = prior
        self.reset()

    def reset(self) -> None:
        """Forget the speaker."""
        self._state = (0.0, np.zeros(self.prior.class_means.shape[1]))

    def update(
        self,
        embedding: ArrayLike,
        speech_s: float,
        probabilities: ArrayLike = (),
        label: str | None = None,
    ) -> None:
        """Add an embedding (E,) of `speech_s` seconds of speech, whose emotion has `probabilities`
        (C,), or is `label`."""
        if not speech_s > 0:
            return
        before_s, mean = self._state
        deviation = np.asarray(embedding) - self.prior.expected(probabilities, label)[0]
        seconds = before_s + speech_s
        self._state = (seconds, mean + (deviation - mean) * speech_s / seconds)

    @property
    def speech_s(self) -> float:
        """Seconds of speech behind the estimate."""
        return self._state[0]

    @property
    def offset(self) -> Rows | None:
        """Vector (E,) to subtract from the speaker's embeddings; None before any speech."""
        speech_s, mean = self._state
        return self.prior.shrink(mean, speech_s) if speech_s else None

    @property
    def trust(self) -> float:
        """Share in [0, 1] of the mean deviation that is subtracted, on average over the dimensions."""
        return float(np.mean(self.speech_s / (self.speech_s + self.prior.shrinkage_s)))

    def to_json(self) -> dict[str, Any]:
        """The estimate as a small table for a browser to hold."""
        speech_s, mean = self._state
        return {
            "model": self.prior.fingerprint,
            "speech_s": round(speech_s, 3),
            "mean": round_values(mean),
        }

    @classmethod
    def from_json(cls, prior: SpeakerPrior, values: Any) -> Self:
        """Inverse of `to_json`; raises SerdemoError for anything else, or of another model."""
        if not isinstance(values, dict) or values.get("model") != prior.fingerprint:
            raise SerdemoError("This voice was not learnt by this model: let it get used to you.")
        adapter = cls(prior)
        (speech_s,) = read_values([values.get("speech_s")], 1)
        mean = read_values(values.get("mean"), prior.class_means.shape[1])
        adapter._state = (max(0.0, float(speech_s)), mean)
        return adapter


def round_values(vector: NDArray[np.floating[Any]]) -> list[float]:
    """Values with five digits, which keeps their text short."""
    return [float(f"{value:.5g}") for value in vector]


def read_values(values: Any, size: int) -> NDArray[np.float64]:
    """Vector (size,) from untrusted JSON; raises SerdemoError for anything else."""
    if (
        isinstance(values, list)
        and len(values) == size
        and all(type(x) in (int, float) and abs(x) <= MAX_VALUE for x in values)
    ):
        return np.array(values, np.float64)
    raise SerdemoError("The saved voice is damaged: let the model get used to you again.")


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


def require_prior(model: Embedder) -> SpeakerPrior:
    """The prior of a model; raises SerdemoError where it has none."""
    prior = SpeakerPrior.of(model.description)
    if prior is None:
        raise SerdemoError(
            f"{model.name} cannot get used to a voice, since it does not know where the emotions of"
            " others lie: choose another model."
        )
    return prior


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
    adapter.update(weights @ rows / weights.sum(), speech_s, label=NEUTRAL[0])
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


def fit_speaker_prior(
    embeddings: Rows, emotions: Sequence[str], speakers: Sequence[str]
) -> dict[str, Any]:
    """The entry `speaker_prior` of a description, from labelled embeddings (n, E) of many speakers.

    The means are the emotions' effects in an additive model of emotion and speaker, by least
    squares, so that an emotion of few speakers is not confounded with their voices.
    """
    names, emotion = np.unique(np.asarray(emotions), return_inverse=True)
    voices, voice = np.unique(np.asarray(speakers), return_inverse=True)
    effects = np.concatenate([np.eye(len(names))[emotion], np.eye(len(voices))[voice]], axis=1)
    # Normal equations with a little of the identity: the sum of either kind of effect is free.
    solved = np.linalg.solve(
        effects.T @ effects + 1e-6 * np.eye(effects.shape[1]), effects.T @ embeddings
    )
    means = solved[: len(names)] + solved[len(names) :].mean(axis=0)
    return {
        "class_means": {str(k): round_values(v) for k, v in zip(names, means, strict=True)},
        "shrinkage_s": SHRINKAGE_S,
    }


def measure_speaker_prior(model: Embedder, utterances: Sequence[Utterance]) -> dict[str, Any]:
    """Fit the prior on training speech: at most 30 clips of an emotion in a corpus, evenly spaced.

    Empty where no clip is of a class of the model.
    """
    chosen = prior_clips(model.labels, utterances)
    if not chosen:
        return {}
    rows = [
        model.embeddings([waveform.decode(u.path).samples[: round(6 * SAMPLE_RATE)]])[0]
        for u, _ in chosen
    ]
    return fit_speaker_prior(
        np.array(rows), [name for _, name in chosen], [u.speaker_key for u, _ in chosen]
    )


def prior_clips(
    labels: Sequence[str], utterances: Sequence[Utterance]
) -> list[tuple[Utterance, str]]:
    """The clips that `measure_speaker_prior` reads, each with its class."""
    groups: dict[tuple[str, str], list[Utterance]] = {}
    for clip in utterances:
        if name := class_of(clip.emotion, labels):
            groups.setdefault((clip.corpus, name), []).append(clip)
    return [
        (clip, name)
        for (_, name), clips in sorted(groups.items())
        for clip in clips[:: max(1, len(clips) // CLIPS_PER_CLASS)][:CLIPS_PER_CLASS]
    ]
