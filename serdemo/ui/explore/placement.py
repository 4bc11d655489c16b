"""Newcomers on a map: where a clip or a live voice lies, by the model that made the map."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serdemo.audio.waveform import Clip
from serdemo.embeddings.embedding_map import SHIPPED
from serdemo.embeddings.extract import checkpoint_digest
from serdemo.inference.aggregation import Window, WindowAggregator
from serdemo.nn.checkpoint_files import DESCRIPTION, bundled_checkpoint, weight_files
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import recovered_path

if TYPE_CHECKING:
    from serdemo.inference.live_service import LiveService
    from serdemo.inference.predictor import Embedder
    from serdemo.ui.explore.open_maps import MapSession
    from serdemo.ui.shell.session import Visitors

MAX_MODELS = 4
SCORING_S = 1.0  # to wait for the answer to a piece of sound

Placed = dict[str, Any]


@dataclass(eq=False)
class LiveVoice:
    """A live voice on a map: the consumer of a live stream's windows.

    `owned` says that the stream was opened for it, and not by the tab Live.
    """

    session: MapSession
    embedder: Embedder
    service: LiveService
    stream: str
    owned: bool
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _newest: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        self._aggregator = WindowAggregator(self.embedder.model.options.embedding)

    def __call__(
        self, window: Window, embedding: NDArray[np.float32], probabilities: NDArray[np.float64], /
    ) -> None:
        """Add a scored window."""
        with self._lock:
            smoothed = self._aggregator.update(window, embedding)
            self._newest = None if smoothed is None else smoothed.astype(np.float32)

    def take(self) -> NDArray[np.float32] | None:
        """The smoothed embedding (E,) if there is one since the last call; None without speech."""
        with self._lock:
            newest, self._newest = self._newest, None
            return newest

    @property
    def mean(self) -> NDArray[np.float32] | None:
        """The embedding (E,) of the voice over all; None where it never spoke."""
        with self._lock:
            mean = self._aggregator.mean if self._aggregator.has_speech else None
            return None if mean is None else mean.astype(np.float32)


class ClipPlacer:
    """The models by which newcomers are placed, and the live voices that are followed."""

    def __init__(self, visitors: Visitors) -> None:
        self._visitors = visitors
        self._lock = threading.Lock()
        self._models: OrderedDict[str, Embedder] = OrderedDict()
        self._voices: dict[str, LiveVoice] = {}

    def model_of(self, session: MapSession, visitor: str) -> Embedder:
        """The model that made a map. Raises SerdemoError when it is not at hand."""
        digest = str(session.mapped.table.about.get("digest", ""))
        with self._lock:
            if digest not in self._models:
                self._models[digest] = self._find_model(session, digest, visitor)
                while len(self._models) > MAX_MODELS:
                    self._models.popitem(last=False)
            self._models.move_to_end(digest)
            return self._models[digest]

    def _find_model(self, session: MapSession, digest: str, visitor: str) -> Embedder:
        from serdemo.inference.predictor import Embedder

        for known in dict.fromkeys([self._visitors.of(visitor), self._visitors.own]):
            with suppress(SerdemoError):
                model = known.get()
                if _identity(model.folder) == digest:
                    return model
        for name in SHIPPED:
            with suppress(SerdemoError):
                folder = bundled_checkpoint(name)
                if _identity(folder) == digest:
                    return Embedder(folder, by_graph=True)
        name = str(session.mapped.table.about.get("checkpoint", "")) or "a model it does not name"
        raise SerdemoError(
            f"This map was made by {name}, in a version that is not here: a new clip can be placed"
            " only by the model that made the map."
        )

    def place(self, session: MapSession, clip: Clip, visitor: str) -> Placed:
        """Place a clip on a map, see `_place`. Raises SerdemoError where it cannot be embedded."""
        embedder = self.model_of(session, visitor)
        output = next(embedder.embed_many([clip]))
        if isinstance(output, SerdemoError):
            raise output
        return _place(session, output.embedding) | best_label(embedder, output.probabilities)

    def follow(self, session: MapSession, rate: int, visitor: str, stream: str = "") -> Placed:
        """Follow a live voice over a map; gives its handle as `voice`.

        Where the map's model scores the `stream` of the tab Live, its windows are used and the result
        is `shared`; else a stream is opened for samples at `rate` Hz. Raises SerdemoError for an
        impossible rate, and when there are too many streams.
        """
        embedder = self.model_of(session, visitor)
        service = self._visitors.live_services.of(embedder)
        owned = stream not in service
        if owned:
            stream = service.open(rate)
        voice = LiveVoice(session, embedder, service, stream, owned)
        service.add_consumer(stream, voice)
        handle = secrets.token_urlsafe()
        with self._lock:  # those whose stream is closed are forgotten
            self._voices = {k: v for k, v in self._voices.items() if v.stream in v.service}
            self._voices[handle] = voice
        return {"voice": handle, "shared": not owned}

    def update(self, handle: str, samples: NDArray[np.int16]) -> Placed:
        """Add samples (N,) of a voice; gives its place now, or nothing new while it does not speak.
        Raises SerdemoError when it is not followed any more."""
        voice = self._find(handle)
        if voice.owned:
            voice.service.push(voice.stream, samples)
            voice.service.flush(voice.stream, SCORING_S)
        embedding = voice.take()
        if embedding is None:
            return {"speaking": voice.service.state(voice.stream).is_speaking}
        return _place(voice.session, embedding) | {"speaking": True}

    def close(self, handle: str) -> Placed:
        """End a voice; gives its place over all, nothing where it never spoke."""
        voice = self._find(handle)
        with self._lock:
            self._voices.pop(handle, None)
        with suppress(SerdemoError):  # closed already, or a model without labels
            if voice.owned:
                voice.service.finish(voice.stream)
            else:
                voice.service.remove_consumer(voice.stream, voice)
        embedding = voice.mean
        if embedding is None:
            return {}
        probabilities = voice.embedder.classify(embedding[None])[0]
        return _place(voice.session, embedding) | best_label(voice.embedder, probabilities)

    def _find(self, handle: str) -> LiveVoice:
        voice = self._voices.get(handle)
        if voice is None or (voice.owned and voice.stream not in voice.service):
            raise SerdemoError("This voice is no longer followed: start again.")
        return voice


def _place(session: MapSession, embedding: NDArray[np.float32]) -> Placed:
    """`at` by projection, the `rows` of the nearest clips and their cosine `similarities`."""
    placement, at = session.place(embedding)
    similarities = [round(value, 4) for value in placement.similarities]
    return {"at": at, "rows": list(placement.rows), "similarities": similarities}


def _identity(folder: Path) -> str:
    """`checkpoint_digest`, computed once for a checkpoint as it lies there now."""
    path = recovered_path(folder)
    files = [*weight_files(folder), path / DESCRIPTION]
    # Where a file is missing, the digest raises the error that says so.
    return _identity_at(path, *(file.stat().st_mtime_ns for file in files if file.exists()))


@lru_cache(maxsize=64)
def _identity_at(folder: Path, *_modified_ns: int) -> str:
    return checkpoint_digest(folder)


def best_label(embedder: Embedder, probabilities: NDArray[np.float64]) -> Placed:
    """The most probable `label` and its `share`; nothing for a model without labels."""
    if not embedder.labels:
        return {}
    best = int(probabilities.argmax())
    return {"label": embedder.labels[best], "share": float(probabilities[best])}
