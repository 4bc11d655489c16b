"""Novelty of a recording: its distance from the training corpora, by which confidence is lowered.

A model is more often wrong about recordings unlike those it was trained on than about new speakers of
the same corpora, and its logits do not show it. So the temperature of its probabilities grows with
the distance of the embedding from the nearest corpus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

RANGE = (-0.3, 1.0)  # of the novelty: beyond, nothing was measured
MIN_SCALE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Novelty:
    """Measure of novelty: `centroids` (K, E) of the training corpora, `scales` (E,), the standard
    deviations within them, and the `slope` of the log temperature."""

    centroids: Floats
    scales: Floats
    slope: float

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self | None:
        """The measure in a description's entry `novelty`, None for an empty one."""
        if not values:
            return None
        centroids = np.array(list(values["centroids"].values()), np.float64)
        return cls(centroids, np.array(values["scales"], np.float64), float(values["slope"]))

    def of(self, embeddings: ArrayLike) -> Floats:
        """Novelty (n,) of embeddings (n, E): the logarithm of the root mean square distance, in
        scales, to the nearest centroid; about 0 for the training corpora, limited to `RANGE`."""
        rows = np.asarray(embeddings, np.float64) / self.scales
        centres = self.centroids / self.scales
        squares = np.square(rows[:, None] - centres).mean(axis=2).min(axis=1, initial=np.inf)
        limited: Floats = np.clip(np.log(np.maximum(squares, 1e-12)) / 2, *RANGE)
        return limited

    def temperatures(self, embeddings: ArrayLike) -> Floats:
        """Factors (n,) of the temperature for embeddings (n, E), 1 at novelty 0."""
        factors: Floats = np.exp(self.slope * self.of(embeddings))
        return factors


def measure_novelty(
    embeddings: NDArray[np.float32], corpora: Sequence[str], slope: float = 0.0
) -> dict[str, Any]:
    """The entry `novelty` of a description, from training embeddings (n, E) and their `corpora`."""
    names, corpus = np.unique(np.asarray(corpora), return_inverse=True)
    rows = np.asarray(embeddings, np.float64)
    groups = [rows[corpus == index] for index in range(len(names))]
    variance = np.mean([group.var(axis=0) for group in groups], axis=0)
    scales = np.maximum(np.sqrt(variance), MIN_SCALE)
    return {
        "centroids": {
            str(name): round_values(group.mean(axis=0))
            for name, group in zip(names, groups, strict=True)
        },
        "scales": round_values(scales),
        "slope": slope,
    }


def round_values(vector: NDArray[np.floating[Any]]) -> list[float]:
    """Values with five digits, which keeps their text short."""
    return [float(f"{value:.5g}") for value in vector]
