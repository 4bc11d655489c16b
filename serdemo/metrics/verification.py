"""Do two clips come from one speaker? Trials between clips of a corpus, and the equal error rate."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serdemo.metrics.classification import _same_length
from serdemo.schema.errors import SerdemoError

TRIALS = 100_000  # of a corpus, at most


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """Pairs of clips: their `cosines` (T,), and `ends` (T, 2), the numbers of the two speakers."""

    cosines: NDArray[np.float64]
    ends: NDArray[np.intp]

    @property
    def same(self) -> NDArray[np.bool_]:
        """Which of them (T,) are of one speaker."""
        found: NDArray[np.bool_] = self.ends[:, 0] == self.ends[:, 1]
        return found

    @property
    def eer(self) -> float:
        """Their equal error rate."""
        return eer(self.cosines, self.same)


@dataclass(frozen=True, slots=True)
class Verification:
    """How well the speakers of a corpus are told apart; rates are fractions.

    `same_trials` and `different_trials` count pairs of clips. `eer_ci95` is a bootstrap over
    speakers, None where there are too few of them. `unseen_speakers` is True only when the
    checkpoint was neither trained nor selected on any of them; `refused` names clips that could not
    be read.
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

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, ready for JSON."""
        return asdict(self)


def pairs(clips: int, limit: int = TRIALS, seed: int = 0) -> NDArray[np.int64]:
    """Pairs (T, 2) of different clips, the smaller number first: all, or `limit` drawn at random.

    The same for the same arguments; empty below two clips.
    """
    count = clips * (clips - 1) // 2
    if count <= limit:
        return np.stack(np.triu_indices(clips, 1), axis=1).astype(np.int64)
    chosen = np.array(random.Random(seed).sample(range(count), limit), dtype=np.int64)
    # Numbered by the later clip: the pairs of clip j begin at j (j - 1) / 2.
    later = np.floor((1 + np.sqrt(1 + 8 * chosen.astype(np.float64))) / 2).astype(np.int64)
    return np.stack([chosen - later * (later - 1) // 2, later], axis=1)


def trials(
    embeddings: NDArray[Any], speakers: Sequence[str], limit: int = TRIALS, seed: int = 0
) -> Trials | None:
    """The trials between clips with `embeddings` (N, E) of N `speakers` of one corpus.

    At most `limit`, drawn by `seed`. None where they are not of both kinds, of one speaker and of
    two. Raises SerdemoError for embeddings that are not finite.
    """
    rows = np.asarray(embeddings, dtype=np.float64)
    if not np.isfinite(rows).all():
        raise SerdemoError("The embeddings hold values that are not finite: train the model anew.")
    chosen = pairs(len(rows), limit, seed)
    codes = np.unique(np.asarray(speakers), return_inverse=True)[1]
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(min=1e-12)
    cosines = np.einsum("ij,ij->i", rows[chosen[:, 0]], rows[chosen[:, 1]])
    found = Trials(cosines, codes[chosen])
    return found if found.same.any() and not found.same.all() else None


def interval(found: Trials, draws: int = 1000, seed: int = 0) -> tuple[float, float] | None:
    """A 95 % bootstrap interval of the error rate, whole speakers drawn with replacement.

    A speaker drawn twice counts twice, a pair of speakers as often as the product of both. Draws
    without pairs of both kinds are left out. None below three speakers, of whom one draw alone is
    not left out, and where no draw is left.
    """
    order = np.argsort(found.cosines, kind="stable")  # once: sorting again costs little
    cosines, ends, same = found.cosines[order], found.ends[order], found.same[order]
    speakers = int(ends.max()) + 1
    if speakers < 3:
        return None
    rng, rates = np.random.default_rng(seed), []
    for counts in rng.multinomial(speakers, np.full(speakers, 1 / speakers), size=draws):
        weight = counts[ends[:, 0]] * np.where(same, 1, counts[ends[:, 1]])
        if weight[same].any() and weight[~same].any():
            rates.append(eer(cosines, same, weight))
    if not rates:
        return None
    low, high = np.quantile(rates, [0.025, 0.975])
    return float(low), float(high)


def eer(scores: ArrayLike, same: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Equal error rate of a verification: where as many same pairs are refused as others accepted.

    `scores` (N,) are higher for pairs that are more alike, `same` (N,) says which are of one
    speaker, `weights` (N,) how much each counts. Between two thresholds the rates go in a straight
    line. Raises SerdemoError unless pairs of both kinds weigh something.
    """
    values, kind = np.asarray(scores, dtype=np.float64), np.asarray(same, dtype=bool)
    weight = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    _same_length(scores=values, same=kind, weights=weight)
    order = np.argsort(values, kind="stable")
    steps = np.append(np.diff(values[order]) > 0, True)  # thresholds above each different score
    refused, passed = (np.cumsum((weight * chosen)[order])[steps] for chosen in (kind, ~kind))
    if not refused[-1] > 0 or not passed[-1] > 0 or not np.isfinite(values).all():
        raise SerdemoError(
            "An equal error rate needs pairs of one speaker and pairs of two, with finite scores."
        )
    refused = np.append(0.0, refused / refused[-1])
    gap = 1 - np.append(0.0, passed / passed[-1]) - refused  # falls from 1 to -1
    after = int(np.argmax(gap <= 0))
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    return float(refused[after - 1] + share * (refused[after] - refused[after - 1]))
