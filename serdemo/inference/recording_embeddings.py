"""Embeddings of recordings of any length, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from serdemo.audio.waveform import Clip, Recording
from serdemo.inference.aggregation import WindowAggregator
from serdemo.inference.predictor import Embedder, Source
from serdemo.schema.errors import SerdemoError


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedRecording:
    """The `embedding` (E,) of a recording, and its `probabilities` (C,) or values of a regression."""

    embedding: NDArray[np.float32]
    probabilities: NDArray[np.float64]
    duration_s: float


def embed_recordings(
    embedder: Embedder, sources: Iterable[Source], **batches: int
) -> Iterator[EmbeddedRecording | SerdemoError]:
    """Embedding per source, in order; the error for one that cannot be read. `batches` are the sizes that
    `Embedder.in_batches` takes."""
    return embedder.in_batches(
        sources, partial(_embed_clips, embedder), partial(_embed_long, embedder), **batches
    )


def _embed_clips(embedder: Embedder, clips: Sequence[Clip]) -> list[EmbeddedRecording]:
    outputs = embedder.score_clips(clips)
    return [
        EmbeddedRecording(output.embedding, output.probabilities, clip.duration_s)
        for clip, output in zip(clips, outputs, strict=True)
    ]


def _embed_long(embedder: Embedder, recording: Recording) -> EmbeddedRecording:
    """The embedding of a recording as its pieces come: that of a clip."""
    stream = embedder.file_stream(segments=False)
    size = embedder.model.options.embedding
    embeddings, shares = WindowAggregator(size), WindowAggregator(embedder.n_outputs)
    for window, row, own in embedder.score_pieces(recording.pieces, stream):
        embeddings.update(window, row)
        shares.update(window, own)
    assert embeddings.mean is not None and shares.mean is not None  # a sound has a window
    return EmbeddedRecording(embeddings.mean.astype(np.float32), shares.mean, stream.received_s)
