"""Gain of an adaptation on the speaker's other clips, estimated from the clips adapted to.

Cross-validation holds out one clip of every class at a time, in several partitions. Its models have
learnt from fewer clips than the final one, so its recall is extrapolated: the odds of a correct
prediction are taken to grow with a power of the number of clips of a class. Exponent and interval were
chosen on speakers of corpora that the model was not trained on; `serdemo bench personal --left-out`
measures how well they hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

# Clips that count as changed besides those observed, so that clips without a change leave some doubt.
PSEUDO_CHANGES = 2
LEARNING_EXPONENT = 0.75  # of the odds
SMALL_GAIN = 0.03  # an upper bound below it is no help worth having


@dataclass(frozen=True, slots=True)
class GainEstimate:
    """Expected change of a speaker's UAR, a fraction, with its 95 % interval from `low` to `high`."""

    gain: float
    low: float
    high: float

    @property
    def is_no_help(self) -> bool:
        """Whether no gain worth having is within the interval."""
        return self.high < SMALL_GAIN

    @property
    def verdict(self) -> str:
        """The estimate in a sentence."""
        gain, low, high = (round(100 * value) for value in (self.gain, self.low, self.high))
        if self.low > 0:
            points = f"{gain} point{'' if gain == 1 else 's'}"
            return (
                f"On other clips of this voice it should answer about {points} better"
                f" ({low} to {high})."
            )
        change = (
            f"n other clips of this voice the change lies between {low:+} and {high:+} points, most"
            f" likely {gain:+}"
        )
        if self.is_no_help:
            return f"The adaptation does not help: o{change}."
        return f"O{change}; a few more clips would tell."


def estimate_gain(
    before: NDArray[np.bool_],
    after: NDArray[np.float64],
    truth: NDArray[np.intp],
    train_counts: NDArray[np.float64],
) -> GainEstimate:
    """Estimate the gain from N clips of K classes `truth` (N,), each with two clips or more.

    `before` (N,) says which clips the original model predicts correctly, `after` (N,) in what share of
    the partitions a model adapted without the clip does, and `train_counts` (N,) the mean number
    of clips of its class that these models were adapted to.
    """
    _, class_of_clip, counts = np.unique(truth, return_inverse=True, return_counts=True)
    change = after - before
    mean_changes = np.bincount(class_of_clip, change) / counts
    recall = float(np.mean(np.bincount(class_of_clip, after) / counts))
    growth = (counts[class_of_clip].sum() / train_counts.sum()) ** LEARNING_EXPONENT
    extrapolated = growth * recall / (1 - recall + growth * recall)
    gain = float(mean_changes.mean() + extrapolated - recall)
    freedom = len(truth) - len(counts)
    squares = float(((change - mean_changes[class_of_clip]) ** 2).sum())
    variance = (squares + PSEUDO_CHANGES) / (freedom + PSEUDO_CHANGES)
    error = np.sqrt(variance * (1 / counts).sum()) / len(counts)
    margin = float(stdtrit(freedom, 0.975) * error)
    return GainEstimate(gain, max(gain - margin, -1.0), min(gain + margin, 1.0))
