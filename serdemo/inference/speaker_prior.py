"""What is known of a speaker's embeddings before anything was heard: the ground of adaptation.

The offset of a voice is its mean embedding less that of all speakers, both with every emotion. Of a
few clips that difference is partly the emotions they happened to carry, so only the share `trust` of
it is used: the more, the more clips, the more they vary in the directions that tell emotions apart,
and the more unlike the voices of training they are in all other directions.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serdemo.audio.waveform import SAMPLE_RATE
from serdemo.data.shards import decode_clip
from serdemo.inference.novelty import round_values
from serdemo.inference.predictor import Embedder
from serdemo.metrics.classification import class_of
from serdemo.nn.description import Description
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Utterance

# trust = MAX_TRUST * sigmoid(...), fitted on unlabelled clips of speakers of corpora that the model
# was not trained on (seven models, each without one corpus).
MAX_TRUST = 0.62
TRUST_BIAS = -2.61
TRUST_SPREAD = 5.38  # by the log of the spread within the emotions' directions
TRUST_NOVELTY = 8.71  # by the log of the distance outside these directions
TRUST_CLIPS = 1.14  # by the log of the number of clips
# Trust in speech of a known emotion, from one clip on: the largest share that helped in four
# corpora, on speakers of corpora left out of training and on selection speakers.
LABELLED_TRUST = 0.3

CLIP_S = 2.7  # seconds of speech that count as one clip
MAX_PRIOR_CLIPS = 1500
MAX_DISCRIMINANTS = 6
CLIP_LIMIT_S = 6.0  # of a clip that is read for the prior

Rows = NDArray[np.float32]
Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SpeakerPrior:
    """Means of the emotions over many speakers, and how speakers and emotions vary.

    `class_means` (C, E) are of the emotions `names`. `discriminants` (E, D) are the directions that
    tell them apart, in which clips of one emotion and speaker have variance 1. `offset_scale` is the
    root mean square length of the speakers' offsets outside the span of the class means. A checkpoint
    of 0.2 has the mean of neutral speech alone, and its prior is not `unlabelled`: only speech of
    that emotion can be used.
    """

    names: tuple[str, ...]
    class_means: Rows
    discriminants: Rows
    offset_scale: float

    @classmethod
    def of(cls, description: Description) -> Self | None:
        """The prior of a checkpoint, None where it has none."""
        if prior := description.speaker_prior:
            means = np.array(list(prior["class_means"].values()), np.float32)
            directions = np.array(prior["discriminants"], np.float32).T
            return cls(tuple(prior["class_means"]), means, directions, prior["offset_scale"])
        if not description.neutral:
            return None
        mean = np.array([description.neutral], np.float32)
        return cls(("neutral",), mean, np.zeros((mean.shape[1], 0), np.float32), 1.0)

    @property
    def unlabelled(self) -> bool:
        """Whether speech of unknown emotion can be used."""
        return self.discriminants.shape[1] > 0

    @cached_property
    def mean(self) -> Vector:
        """Mean embedding (E,) of all speakers, every emotion with equal weight."""
        return np.asarray(self.class_means.mean(axis=0), np.float64)

    @cached_property
    def span(self) -> Vector:
        """Orthonormal basis (E, C - 1) of the differences between the class means."""
        return _basis(self.class_means)

    @cached_property
    def fingerprint(self) -> str:
        """Hexadecimal digest that tells the model from others."""
        return hashlib.sha256(self.class_means.tobytes()).hexdigest()[:16]

    def mean_of(self, label: str) -> Rows:
        """Mean embedding (E,) of an emotion; raises SerdemoError where it is not known."""
        if label not in self.names:
            raise SerdemoError(f"This model has no mean of {label} speech: choose another model.")
        return self.class_means[self.names.index(label)]

    def trust(self, clips: float, mean: Vector, scatter: Vector) -> float:
        """Share in [0, 1] of the difference of a voice's `mean` (E,) to that of all speakers that is
        its offset.

        `clips` is the number of clips that the mean is of, `scatter` (D,) the sum of their squared
        deviations along the discriminants.
        """
        difference = mean - self.mean
        outside = difference - self.span @ (self.span.T @ difference)
        spread = float(scatter.mean()) / (clips - 1) if clips > 1 else 0.0
        novelty = max(1e-6, float(np.linalg.norm(outside)) / self.offset_scale)
        logit = (
            TRUST_BIAS
            + TRUST_SPREAD * math.log((spread + 0.3) / 1.7)
            + TRUST_NOVELTY * math.log(novelty)
            + TRUST_CLIPS * math.log(max(clips, 1e-6) / 10)
        )
        return MAX_TRUST / (1 + math.exp(min(-logit, 700.0)))


def require_prior(model: Embedder, *, unlabelled: bool = False) -> SpeakerPrior:
    """The prior of a model; raises SerdemoError where it has none, or none of `unlabelled` speech."""
    prior = SpeakerPrior.of(model.description)
    if prior is None:
        raise SerdemoError(
            f"{model.name} cannot get used to a voice, since it does not know where the emotions of"
            " others lie: choose another model."
        )
    if unlabelled and not prior.unlabelled:
        raise SerdemoError(
            f"{model.name} gets used to a voice by neutral speech only: choose another model."
        )
    return prior


def estimate_prior(
    embeddings: Rows, classes: Sequence[str], speakers: Sequence[str], corpora: Sequence[str]
) -> dict[str, Any]:
    """The entry `speaker_prior` of a description, from labelled embeddings (n, E) of many speakers.

    Within an emotion, corpora count by the square root of their clips. Empty with fewer than two
    emotions or speakers, which tell nothing of how either varies.
    """
    from scipy.linalg import eigh

    names, emotion = np.unique(np.asarray(classes), return_inverse=True)
    voices, voice = np.unique(np.asarray(speakers), return_inverse=True)
    if len(names) < 2 or len(voices) < 2:
        return {}
    rows = np.asarray(embeddings, np.float64)
    weights = _weights(emotion, np.asarray(corpora))
    means = np.array(
        [np.average(rows[emotion == c], 0, weights[emotion == c]) for c in range(len(names))]
    )
    residuals = rows - means[emotion]
    offsets = np.array([residuals[voice == s].mean(axis=0) for s in range(len(voices))])
    residuals -= offsets[voice]
    within = (residuals * weights[:, None]).T @ residuals
    size = rows.shape[1]
    within += 1e-3 * np.trace(within) / size * np.eye(size) + 1e-9 * np.eye(size)
    deviations = means - means.mean(axis=0)
    _, directions = eigh(deviations.T @ deviations / len(names), within)
    n_directions = min(len(names) - 1, MAX_DISCRIMINANTS, size)
    span = _basis(means)
    outside = offsets - offsets @ span @ span.T
    own = [str(corpora[int(np.flatnonzero(voice == s)[0])]) for s in range(len(voices))]
    scale = np.average(
        (outside**2).sum(axis=1), weights=_weights(np.zeros(len(own), int), np.array(own))
    )
    return {
        "class_means": {str(k): round_values(v) for k, v in zip(names, means, strict=True)},
        "discriminants": [round_values(row) for row in directions[:, ::-1][:, :n_directions].T],
        "offset_scale": max(1e-6, float(f"{np.sqrt(scale):.5g}")),
    }


def _weights(group: NDArray[np.int64], corpus: NDArray[Any]) -> Vector:
    """Weights (n,), of sum 1, with which groups count alike, and within one the corpora by the square
    root of their number."""
    weights = np.zeros(len(group))
    for one in np.unique(group):
        for name in np.unique(corpus[group == one]):
            cell = (group == one) & (corpus == name)
            weights[cell] = cell.sum() ** -0.5
        weights[group == one] /= weights[group == one].sum()
    return weights / weights.sum()


def _basis(rows: NDArray[np.floating[Any]]) -> Vector:
    """Orthonormal basis (E, k) of the differences of `rows` (C, E) to their mean."""
    _, lengths, basis = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    return np.asarray(basis[lengths > 1e-6 * max(1e-12, float(lengths.max()))].T, np.float64)


def measure_speaker_prior(model: Embedder, utterances: Sequence[Utterance]) -> dict[str, Any]:
    """Estimate the prior on training speech, of at most 1,500 clips; empty where they are too alike."""
    chosen = prior_clips(model.labels, utterances)
    size = round(CLIP_LIMIT_S * SAMPLE_RATE)
    rows = [model.embeddings([decode_clip(u).samples[:size]])[0] for u, _ in chosen]
    return estimate_prior(
        np.array(rows),
        [name for _, name in chosen],
        [u.speaker_key for u, _ in chosen],
        [u.corpus for u, _ in chosen],
    )


def prior_clips(
    labels: Sequence[str], utterances: Sequence[Utterance]
) -> list[tuple[Utterance, str]]:
    """The clips that `measure_speaker_prior` reads, each with its class: as many of each emotion of
    each corpus, evenly spaced."""
    groups: dict[tuple[str, str], list[Utterance]] = {}
    for clip in utterances:
        if name := class_of(clip.emotion, labels):
            groups.setdefault((clip.corpus, name), []).append(clip)
    share = max(1, MAX_PRIOR_CLIPS // max(1, len(groups)))
    return [
        (clips[index * len(clips) // min(share, len(clips))], name)
        for (_, name), clips in sorted(groups.items())
        for index in range(min(share, len(clips)))
    ]
