"""What unlabelled adaptation to the speaker is worth, on labelled clips.

Before each clip, others of the same speaker are drawn at random, and the offset estimated from them
without their labels is subtracted. Every clip is embedded once; the rest is arithmetic.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serdemo.evaluation.predictions import PredictionSet
from serdemo.inference.aggregation import Window, aggregate
from serdemo.inference.clip_outputs import ClipOutput
from serdemo.inference.predictor import Predictor
from serdemo.inference.speaker_adaptation import estimate_offset, speech_seconds
from serdemo.inference.speaker_prior import require_prior
from serdemo.metrics.bootstrap import Bounds
from serdemo.metrics.significance import paired_bootstrap


@dataclass(frozen=True, slots=True)
class AdaptationGain:
    """UAR (fractions) with adaptation by `clips` others of each speaker, or as many as there are.

    `ci95` is the interval of the difference to the UAR without, over speakers.
    """

    clips: int
    uar: float
    difference: float
    ci95: Bounds

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, ready for JSON."""
        return asdict(self)


class AdaptationScores:
    """Embeddings of scored clips, in the order of their predictions."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._prior = require_prior(predictor, unlabelled=True)
        self._embeddings: list[NDArray[np.float32]] = []
        self._seconds: list[float] = []
        self._windows: list[tuple[tuple[Window, ...], NDArray[np.float32]]] = []

    def add(self, output: ClipOutput) -> None:
        """Add the next clip."""
        self._embeddings.append(output.embedding)
        self._seconds.append(speech_seconds(output.windows))
        windows = tuple(replace(window, wave=window.wave[:0].copy()) for window in output.windows)
        self._windows.append((windows, output.window_embeddings))

    def adapted(self, predictions: PredictionSet, clips: int, seed: int = 0) -> PredictionSet:
        """The predictions (N) after adaptation to `clips` other clips of each one's speaker."""
        embeddings, seconds = np.array(self._embeddings), np.array(self._seconds)
        speakers = np.array(predictions.speakers)
        probabilities = []
        for row, (windows, rows) in enumerate(self._windows):
            others = np.flatnonzero(speakers == speakers[row])
            others = others[others != row]
            rng = np.random.default_rng([seed, row])
            drawn = rng.choice(others, min(clips, len(others)), replace=False)
            offset = estimate_offset(self._prior, embeddings[drawn], list(seconds[drawn]))
            scores = aggregate(windows, self._predictor.classify(rows - offset))
            probabilities.append(tuple(scores.tolist()))
        return replace(predictions, probabilities=tuple(probabilities))


def compare_adapted(plain: PredictionSet, adapted: PredictionSet, clips: int) -> AdaptationGain:
    """Gain of adapted predictions over plain ones of the same clips."""
    right = [np.array(part.predicted) == np.array(part.truth) for part in (plain, adapted)]
    paired = paired_bootstrap(plain.truth, right[0], right[1], plain.speakers)
    return AdaptationGain(clips, paired.uar_b, paired.difference, paired.ci95)
