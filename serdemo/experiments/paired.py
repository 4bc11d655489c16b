"""Difference in UAR of two sets of models on the same clips, with a bootstrap interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from serdemo.evaluation.predictions import PredictionSet
from serdemo.metrics.bootstrap import Bounds, draw_speakers, percentile_interval

DRAWS = 2000


@dataclass(frozen=True, slots=True, eq=False)
class UarDifference:
    """UAR (fraction) of every seed of two models on one corpus, and their difference.

    `draws` (D,) are bootstrap values of the difference, `uar_other` less `uar_base`.
    """

    clips: int
    speakers: int
    uar_base: tuple[float, ...]
    uar_other: tuple[float, ...]
    draws: NDArray[np.float64] = field(repr=False)

    @property
    def difference(self) -> float:
        """Mean UAR of the other less that of the base."""
        return float(np.mean(self.uar_other) - np.mean(self.uar_base))

    @property
    def ci95(self) -> Bounds:
        """95 % interval of the difference."""
        return percentile_interval(self.draws)


def uar_difference(
    corpus: str, base: Sequence[PredictionSet], other: Sequence[PredictionSet]
) -> UarDifference | None:
    """Compare two models, a prediction set for each seed, on the clips of a corpus.

    Only clips that every seed of both has predicted count; None without any. The bootstrap draws the
    seeds of either, and the speakers for both at once (the clips where there is one speaker).
    """
    models = [[seed.of(corpus) for seed in seeds] for seeds in (base, other)]
    first = models[0][0]
    files = sorted(set.intersection(*(set(seed.files) for seeds in models for seed in seeds)))
    if not files:
        return None
    row = {file: index for index, file in enumerate(first.files)}
    truth = np.array([first.truth[row[file]] for file in files])
    _, speaker = np.unique([first.speakers[row[file]] for file in files], return_inverse=True)
    n_speakers = int(speaker.max()) + 1
    unit = speaker if n_speakers > 1 else np.arange(len(files))
    correct = [np.stack([_correct(seed, files) for seed in seeds]) for seeds in models]
    uar = [_uar(truth, rows, np.ones((1, len(files)))).tolist() for rows in correct]
    rng = np.random.default_rng(0)
    weight = draw_speakers(int(unit.max()) + 1, DRAWS, rng)[:, unit].astype(float)
    drawn_base, drawn_other = (
        _uar(truth, draw_speakers(len(rows), DRAWS, rng) @ rows / len(rows), weight)
        for rows in correct
    )
    return UarDifference(
        len(files), n_speakers, tuple(uar[0]), tuple(uar[1]), drawn_other - drawn_base
    )


def _correct(predictions: PredictionSet, files: Sequence[str]) -> NDArray[np.float64]:
    """1.0 for each of the files that was classified correctly, else 0.0."""
    predicted = np.array(predictions.labels)[np.array(predictions.probabilities).argmax(axis=1)]
    correct = predicted == np.array(predictions.truth)
    by_file = dict(zip(predictions.files, correct.astype(float), strict=True))
    return np.array([by_file[file] for file in files])


def _uar(
    truth: NDArray[np.str_], correct: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """UAR (D,) of rows of `correct` (D, N), with clips weighted by `weight` (D or 1, N)."""
    of_class = (truth[:, None] == np.unique(truth)[None, :]).astype(float)
    clips = weight @ of_class
    recall = ((correct * weight) @ of_class) / np.maximum(clips, 1e-12)
    mean: NDArray[np.float64] = (recall * (clips > 0)).sum(1) / (clips > 0).sum(1)
    return mean
