"""Newcomers on a map: the model that made it hears a clip or a live voice and says where it lies."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serdemo.embeddings.embedding_map import SHIPPED
from serdemo.embeddings.extract import checkpoint_digest
from serdemo.nn.checkpoint_files import DESCRIPTION, WEIGHTS, bundled_checkpoint
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import recovered_path

if TYPE_CHECKING:
    from serdemo.audio.waveform import Clip
    from serdemo.inference.aggregation import WindowAggregator
    from serdemo.inference.predictor import Embedder
    from serdemo.inference.stream import Stream
    from serdemo.ui.explore.open_maps import MapSession
    from serdemo.ui.shell.session import Visitors

MOST_VOICES = 32
IDLE_S = 60.0
MOST_MODELS = 4

Told = dict[str, Any]


@dataclass(slots=True, eq=False)
class LiveVoice:
    """A live voice that is followed over a map."""

    on: MapSession
    embedder: Embedder
    stream: Stream
    tally: WindowAggregator
    heard_at: float
    lock: threading.Lock = field(default_factory=threading.Lock)


class ClipPlacer:
    """The models by which newcomers are heard, and the live voices that are followed."""

    def __init__(self, visitors: Visitors) -> None:
        self._visitors = visitors
        self._lock = threading.Lock()
        self._models: OrderedDict[str, Embedder] = OrderedDict()
        self._voices: dict[str, LiveVoice] = {}
        self._sweeper: threading.Timer | None = None

    def of(self, one: MapSession, visitor: str) -> Embedder:
        """The model that made a map. Raises SerdemoError when it is not at hand."""
        wanted = str(one.mapped.table.about.get("digest", ""))
        with self._lock:
            if wanted not in self._models:
                self._models[wanted] = self._find(one, wanted, visitor)
                while len(self._models) > MOST_MODELS:
                    self._models.popitem(last=False)
            self._models.move_to_end(wanted)
            return self._models[wanted]

    def _find(self, one: MapSession, wanted: str, visitor: str) -> Embedder:
        from serdemo.inference.predictor import Embedder

        for known in dict.fromkeys([self._visitors.of(visitor), self._visitors.own]):
            with suppress(SerdemoError):
                model = known.get()
                if _identity(model.folder) == wanted:
                    return model
        for name in SHIPPED:
            with suppress(SerdemoError):
                folder = bundled_checkpoint(name)
                if _identity(folder) == wanted:
                    return Embedder(folder)
        name = str(one.mapped.table.about.get("checkpoint", "")) or "a model it does not name"
        raise SerdemoError(
            f"This map was made by {name}, in a version that is not here: a new clip can be placed"
            " only by the model that made the map."
        )

    def place(self, one: MapSession, clip: Clip, visitor: str) -> Told:
        """Where a clip lies on a map, see `told`. Raises SerdemoError where it cannot be heard."""
        embedder = self.of(one, visitor)
        heard = next(embedder.embed_many([clip]))
        if isinstance(heard, SerdemoError):
            raise heard
        return self._told(one, heard.embedding) | says(embedder, heard.probabilities)

    def open(self, one: MapSession, rate: int, visitor: str) -> str:
        """Begin to follow a live voice at `rate` Hz over a map; returns its handle.

        Raises SerdemoError for an impossible rate, and when too many are followed.
        """
        from serdemo.inference.aggregation import WindowAggregator

        embedder = self.of(one, visitor)
        tally = WindowAggregator(embedder.model.options.embedding)
        voice = LiveVoice(one, embedder, embedder.stream(rate), tally, time.monotonic())
        with self._lock:
            self._let_go()
            if len(self._voices) >= MOST_VOICES:
                raise SerdemoError("Too many voices are followed now: try again in a minute.")
            handle = secrets.token_urlsafe()
            self._voices[handle] = voice
            if self._sweeper is None:
                self._sweep_later()
        return handle

    def _let_go(self) -> None:
        """Forget the voices whose page went without a word."""
        since = time.monotonic() - IDLE_S
        self._voices = {key: one for key, one in self._voices.items() if one.heard_at > since}

    def _sweep_later(self) -> None:
        self._sweeper = threading.Timer(IDLE_S / 2, self._sweep)
        self._sweeper.daemon = True
        self._sweeper.start()

    def _sweep(self) -> None:
        with self._lock:
            self._let_go()
            self._sweeper = None
            if self._voices:
                self._sweep_later()

    def follow(self, handle: str, samples: NDArray[np.int16]) -> Told:
        """Take samples (N,) of a voice; gives where it is now, or nothing while it does not speak.

        Raises SerdemoError when it is not followed any more.
        """
        voice = self._voice(handle)
        with voice.lock:
            voice.heard_at = time.monotonic()
            voice.stream.push(samples)
            # Only the newest counts: a busy machine leaves the ones before it out.
            due = voice.stream.ready_windows()[-1:]
            if not due:
                return {"speaking": voice.stream.is_speaking}
            embedding = voice.embedder.embeddings([due[0].wave])[0]
            smoothed = voice.tally.update(due[0], embedding)
        if smoothed is None:
            return {"speaking": False}
        return self._told(voice.on, smoothed.astype(np.float32)) | {"speaking": True}

    def close(self, handle: str) -> Told:
        """Where a voice was over all; nothing where it never spoke."""
        voice = self._voice(handle)
        with self._lock:
            self._voices.pop(handle, None)
        with voice.lock:
            voice.stream.finish()
            for window in voice.stream.ready_windows()[-1:]:
                if window.speech_ratio or window.whole:
                    voice.tally.update(window, voice.embedder.embeddings([window.wave])[0])
            if not voice.tally.has_speech:
                return {}
            whole = voice.tally.mean
        assert whole is not None  # something was heard
        embedding = whole.astype(np.float32)
        shares = voice.embedder.classify(embedding[None])[0]
        return self._told(voice.on, embedding) | says(voice.embedder, shares)

    def _voice(self, handle: str) -> LiveVoice:
        voice = self._voices.get(handle)
        if voice is None:
            raise SerdemoError("This voice is followed no more: start again.")
        return voice

    @staticmethod
    def _told(one: MapSession, embedding: NDArray[np.float32]) -> Told:
        """`at` by projection, the `rows` of the nearest clips and their cosine `similarities`."""
        found, at = one.place(embedding)
        alike = [round(value, 4) for value in found.similarities]
        return {"at": at, "rows": list(found.rows), "similarities": alike}


def _identity(folder: Path) -> str:
    """`identity`, reckoned once for a checkpoint as it lies there now."""
    own = recovered_path(folder)
    try:
        stamps = tuple((own / name).stat().st_mtime_ns for name in (WEIGHTS, DESCRIPTION))
    except OSError:
        return checkpoint_digest(folder)  # says what is wrong with it
    return _identity_of(own, stamps)


@lru_cache(maxsize=64)
def _identity_of(folder: Path, stamps: tuple[int, ...]) -> str:
    return checkpoint_digest(folder)


def says(embedder: Embedder, shares: NDArray[np.float64]) -> Told:
    """What the model answers, where it answers at all: `label` and `share`."""
    if not embedder.labels:
        return {}
    best = int(shares.argmax())
    return {"label": embedder.labels[best], "share": float(shares[best])}
