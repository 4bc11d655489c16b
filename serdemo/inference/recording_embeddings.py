"""Embeddings of recordings of any length, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from serdemo.audio.waveform import SAMPLE_RATE, Clip, Recording
from serdemo.inference.aggregation import WindowAggregator
from serdemo.inference.predictor import Embedder, Source
from serdemo.inference.stream import Stream
from serdemo.schema.errors import SerdemoError

Row = NDArray[np.float32]


def embed_recordings(embedder: Embedder, sources: Iterable[Source]) -> Iterator[Row | SerdemoError]:
    """Embedding (E,) per source, in order; the error for one that cannot be read."""
    return embedder.in_batches(
        sources, partial(_embed_clips, embedder), partial(_embed_long, embedder)
    )


def _embed_clips(embedder: Embedder, clips: Sequence[Clip]) -> list[Row]:
    return [output.embedding for output in embedder.score_clips(clips)]


def _embed_long(embedder: Embedder, recording: Recording) -> Row:
    """The embedding of a recording as its pieces come: that of a clip."""
    stream = embedder.stream(
        SAMPLE_RATE, hop_s=embedder.hop_s, first_s=embedder.window_s, segments=False
    )
    aggregator = WindowAggregator(embedder.model.options.embedding)
    for piece in recording.pieces:
        stream.push_decoded(piece)
        _add_windows(embedder, stream, aggregator)
    stream.finish()
    _add_windows(embedder, stream, aggregator)
    assert aggregator.mean is not None  # a finished sound has at least one window
    return aggregator.mean.astype(np.float32)


def _add_windows(embedder: Embedder, stream: Stream, aggregator: WindowAggregator) -> None:
    if windows := stream.ready_windows():
        rows = embedder.embeddings([window.wave for window in windows])
        for window, row, shares in zip(windows, rows, embedder.classify(rows), strict=True):
            stream.add_scores(window, shares)
            aggregator.update(window, row)
