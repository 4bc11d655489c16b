"""Speaker verification: trials between the clips of a corpus, and their equal error rate."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serdemo.metrics.bootstrap import Bounds, draw_speakers, percentile_interval
from serdemo.metrics.classification import check_same_length
from serdemo.metrics.clusters import unit_rows
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Record

MAX_TRIALS = 100_000  # of a corpus


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """T pairs of clips: their `cosines` (T,) and the indices `speakers` (T, 2) of their two speakers."""

    cosines: NDArray[np.float64]
    speakers: NDArray[np.intp]

    @property
    def same(self) -> NDArray[np.bool_]:
        """Mask (T,) of the pairs of one speaker."""
        mask: NDArray[np.bool_] = self.speakers[:, 0] == self.speakers[:, 1]
        return mask

    @property
    def eer(self) -> float:
        """Equal error rate of the trials."""
        return eer(self.cosines, self.same)


@dataclass(frozen=True, slots=True)
class Verification(Record):
    """Speaker verification result of a checkpoint on `n` clips of a corpus; rates are fractions.

    `eer_ci95` is a bootstrap interval over speakers, None for too few. `unseen_speakers` is True only
    when the checkpoint was neither trained nor selected on any of them; `refused` are the errors of
    clips that could not be read.
    """

    checkpoint: str
    corpus: str
    n: int
    speakers: int
    same_trials: int
    different_trials: int
    eer: float
    eer_ci95: tuple[float, float] | None
    unseen_speakers: bool
    refused: tuple[str, ...] = ()


def sample_pairs(clips: int, limit: int = MAX_TRIALS, seed: int = 0) -> NDArray[np.int64]:
    """Pairs (T, 2) of different clips, the smaller index first: all, or `limit` drawn by `seed`."""
    count = clips * (clips - 1) // 2
    if count <= limit:
        return np.stack(np.triu_indices(clips, 1), axis=1).astype(np.int64)
    drawn = np.array(random.Random(seed).sample(range(count), limit), dtype=np.int64)
    # Numbered by the later clip: the pairs of clip j begin at j (j - 1) / 2.
    later = np.floor((1 + np.sqrt(1 + 8 * drawn.astype(np.float64))) / 2).astype(np.int64)
    return np.stack([drawn - later * (later - 1) // 2, later], axis=1)


def make_trials(
    embeddings: NDArray[Any], speakers: Sequence[str], limit: int = MAX_TRIALS, seed: int = 0
) -> Trials | None:
    """Trials between clips with `embeddings` (N, E) of N `speakers`; at most `limit`, drawn by `seed`.

    None unless there are pairs of one speaker and pairs of two.
    """
    rows = unit_rows(embeddings)
    pairs = sample_pairs(len(rows), limit, seed)
    codes = np.unique(np.asarray(speakers), return_inverse=True)[1]
    cosines = np.einsum("ij,ij->i", rows[pairs[:, 0]], rows[pairs[:, 1]])
    trials = Trials(cosines, codes[pairs])
    return trials if trials.same.any() and not trials.same.all() else None


def eer_interval(trials: Trials, draws: int = 1000, seed: int = 0) -> Bounds | None:
    """95 % bootstrap interval of the equal error rate over speakers.

    A pair counts as often as the product of the counts of its two speakers, a pair of one speaker
    as often as that speaker. Draws without pairs of both kinds are skipped. None where no draw is
    left, and below three speakers, where only one draw would be.
    """
    order = np.argsort(trials.cosines, kind="stable")  # once: sorting again costs little
    cosines, speakers, same = trials.cosines[order], trials.speakers[order], trials.same[order]
    n_speakers = int(speakers.max()) + 1
    if n_speakers < 3:
        return None
    rates = []
    for times in draw_speakers(n_speakers, draws, np.random.default_rng(seed)):
        weights = times[speakers[:, 0]] * np.where(same, 1, times[speakers[:, 1]])
        if weights[same].any() and weights[~same].any():
            rates.append(eer(cosines, same, weights))
    return percentile_interval(rates) if rates else None


def eer(scores: ArrayLike, same: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Equal error rate: the rate at which false rejections and false acceptances are equally many.

    `scores` (N,) are higher for more similar pairs, `same` (N,) marks pairs of one speaker,
    `weights` (N,) are their counts. The rates are interpolated linearly between thresholds. Raises
    SerdemoError unless pairs of both kinds have weight.
    """
    values, same_pair = np.asarray(scores, dtype=np.float64), np.asarray(same, dtype=bool)
    weight = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    check_same_length(scores=values, same=same_pair, weights=weight)
    order = np.argsort(values, kind="stable")
    steps = np.append(np.diff(values[order]) > 0, True)  # thresholds above each different score
    rejected, passed = (np.cumsum((weight * k)[order])[steps] for k in (same_pair, ~same_pair))
    if not rejected[-1] > 0 or not passed[-1] > 0 or not np.isfinite(values).all():
        raise SerdemoError(
            "An equal error rate needs pairs of one speaker and pairs of two, with finite scores."
        )
    rejected = np.append(0.0, rejected / rejected[-1])
    gap = 1 - np.append(0.0, passed / passed[-1]) - rejected  # falls from 1 to -1
    after = int(np.argmax(gap <= 0))
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    return float(rejected[after - 1] + share * (rejected[after] - rejected[after - 1]))
