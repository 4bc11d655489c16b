"""Recordings decoded ahead of the model, and taken together in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from serdemo.audio.waveform import Clip
from serdemo.schema.errors import SerdemoError

T = TypeVar("T")
Result = TypeVar("Result")

CLIP_BATCH_SIZE = 16
MAX_BATCH_S = 600.0  # of decoded sound held in memory at once, unless a single clip is longer


@dataclass(frozen=True, slots=True)
class Scored(Generic[Result]):
    """The result of a recording that was scored while it was decoded, as a long one is."""

    result: Result


Decoded = Clip | Scored[Result] | SerdemoError


def decoded(
    load: Callable[[T], Clip | Scored[Result]], sources: Iterable[T], n_threads: int = 0
) -> Iterator[Decoded[Result]]:
    """What `load` makes of each source, or its error, in order.

    With threads, up to twice as many sources as threads are decoded before they are asked for.
    """

    def attempt(source: T) -> Decoded[Result]:
        try:
            return load(source)
        except SerdemoError as problem:
            return problem

    if not n_threads:
        yield from map(attempt, sources)
        return
    pool = ThreadPoolExecutor(n_threads, "decoding")
    pending: deque[Future[Decoded[Result]]] = deque()
    try:
        for source in sources:
            pending.append(pool.submit(attempt, source))
            if len(pending) > 2 * n_threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def in_batches(
    recordings: Iterable[Decoded[Result]],
    score: Callable[[Sequence[Clip]], list[Result]],
    size: int = CLIP_BATCH_SIZE,
) -> Iterator[Result | SerdemoError]:
    """The results of `score`, applied to up to `size` clips at a time; errors keep their place."""
    batch: list[Decoded[Result]] = []
    seconds = 0.0

    def results() -> Iterator[Result | SerdemoError]:
        scored = iter(score([clip for clip in batch if isinstance(clip, Clip)]))
        for one in batch:
            if isinstance(one, Clip):
                yield next(scored)
            else:
                yield one.result if isinstance(one, Scored) else one

    for recording in recordings:
        batch.append(recording)
        seconds += recording.duration_s if isinstance(recording, Clip) else 0.0
        if len(batch) == size or seconds > MAX_BATCH_S:
            yield from results()
            batch, seconds = [], 0.0
    yield from results()
