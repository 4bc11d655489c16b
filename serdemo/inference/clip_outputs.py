"""What a model gives for a clip: the embeddings of its windows, and their scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serdemo.inference.aggregation import Window, aggregate
from serdemo.inference.stream import Stream


@dataclass(frozen=True, slots=True, eq=False)
class ClipOutput:
    """Model output for one clip.

    `embedding` (E,) float32 and `probabilities` (C,) are the speech-weighted means over its
    `windows`, or those of the window that holds all of a short clip. `window_embeddings` (W, E) are
    the rows of `windows`; `stream` is finished and has the segments.
    """

    embedding: NDArray[np.float32]
    probabilities: NDArray[np.float64]
    windows: tuple[Window, ...]
    window_embeddings: NDArray[np.float32]
    stream: Stream


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedClip:
    """A clip's finished stream, with the windows to score and their embeddings (W, E)."""

    stream: Stream
    windows: tuple[Window, ...]
    embeddings: NDArray[np.float32]

    @property
    def embedding(self) -> NDArray[np.float32]:
        """Embedding (E,) of the clip."""
        return aggregate(self.windows, self.embeddings).astype(np.float32)
