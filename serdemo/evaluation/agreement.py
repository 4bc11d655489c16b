"""How far the outputs of two forms of one model differ, clip by clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from serdemo.audio.waveform import Clip
from serdemo.inference.predictor import Embedder, Source
from serdemo.inference.speed import speech_samples
from serdemo.schema.errors import SerdemoError

EXAMPLE_CLIPS, EXAMPLE_HOP_S = 8, 3.0


@dataclass(frozen=True, slots=True)
class ClipDifference:
    """The outputs of two models for one clip, with both labels, which are empty where a model has none.

    `difference` is the largest of a probability or, without labels, the cosine distance of the embeddings.
    """

    clip: str
    labels: tuple[str, str]
    difference: float

    @property
    def is_changed(self) -> bool:
        """Whether the labels differ."""
        return self.labels[0] != self.labels[1]

    def to_json(self) -> dict[str, Any]:
        """The fields as a dictionary for JSON."""
        return asdict(self)


def clip_differences(
    first: Embedder, second: Embedder, sources: Sequence[Source]
) -> list[ClipDifference]:
    """Differences of two models with the same labels on the `sources` that can be read.

    Raises SerdemoError, with a clip's reason, where none can.
    """
    rows: list[ClipDifference] = []
    problem = "there are no clips."
    outputs = zip(sources, first.embed_many(sources), second.embed_many(sources), strict=True)
    for source, a, b in outputs:
        if isinstance(a, SerdemoError) or isinstance(b, SerdemoError):
            problem = str(a if isinstance(a, SerdemoError) else b)
            continue
        labels = ("", "")
        if len(a.probabilities):
            difference = float(np.abs(a.probabilities - b.probabilities).max())
            if first.labels:
                best = [int(output.probabilities.argmax()) for output in (a, b)]
                labels = (first.labels[best[0]], first.labels[best[1]])
        else:
            norms = float(np.linalg.norm(a.embedding) * np.linalg.norm(b.embedding))
            difference = 1 - float(a.embedding @ b.embedding) / max(norms, 1e-12)
        name = source.name if isinstance(source, Clip) else str(source)
        rows.append(ClipDifference(name, labels, difference))
    if not rows:
        raise SerdemoError(f"{first.name} was not compared: {problem}")
    return rows


def example_speech() -> list[Clip]:
    """Clips of 10 s and of 3 s from the example voices."""
    return [
        *speech_samples(EXAMPLE_CLIPS, hop_s=EXAMPLE_HOP_S),
        *speech_samples(EXAMPLE_CLIPS, hop_s=EXAMPLE_HOP_S, clip_s=EXAMPLE_HOP_S),
    ]
