"""The maps that are open on a page: the shipped one, and those of visitors for a while."""

from __future__ import annotations

import secrets
import subprocess
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serdemo.embeddings import background, embedding_map, parquet_limits
from serdemo.embeddings.embedding_map import PROJECTIONS, EmbeddingMap
from serdemo.schema.errors import SerdemoError
from serdemo.ui.shell.gradio_settings import scratch_folder

if TYPE_CHECKING:
    from serdemo.embeddings.projection import Placement, Points, ReferenceMap

MAX_OPEN = 12  # the latest used; the shipped one beside
MAX_LARGE_OPEN = 2  # of those, with more clips than a visitor's table may have
MAX_WORKING = 2
MAX_WORK_S = 3600.0  # for the parts of one
SHIPPED = "shipped"
SLOW_FAILED = "UMAP and clusters could not be computed, PCA is shown: see the log."


@dataclass(slots=True, eq=False)
class MapSession:
    """A map that is open on the page.

    `base` is the folder that its clips' paths are relative to; `codes` caches `payload.coded`. `visitor` is
    the session that it was opened for.
    """

    key: str
    title: str
    mapped: EmbeddingMap
    base: Path | None = None
    notes: tuple[str, ...] = ()
    visitor: str = ""
    _folder: tempfile.TemporaryDirectory[str] | None = None
    _process: subprocess.Popen[bytes] | None = None
    _began_at: float = 0.0
    _reference: tuple[tuple[str, ...], ReferenceMap] | None = None
    codes: dict[str, tuple[list[str], NDArray[np.int64]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def missing(self) -> list[str]:
        """The parts that are not computed yet."""
        ready = {*self.mapped.positions, *(["study"] if self.mapped.clusters is not None else [])}
        return [name for name in background.PARTS if name not in ready]

    @property
    def on_request(self) -> bool:
        """Whether the map is so large that what is missing is computed on request alone."""
        return len(self.mapped.table) > parquet_limits.MAX_ROWS

    @property
    def working(self) -> bool:
        """Whether parts are being computed."""
        if self._process is None or self._process.poll() is not None:
            return False
        if time.monotonic() - self._began_at > MAX_WORK_S:
            self._process.kill()
        return True

    def start_if_needed(self, requested: bool = False) -> None:
        """Start to compute what is missing, unless that was done before, or has to be `requested`."""
        if self._process is None and self.missing and (requested or not self.on_request):
            self._folder = tempfile.TemporaryDirectory(
                prefix="map-", dir=scratch_folder(), ignore_cleanup_errors=True
            )
            self._began_at = time.monotonic()
            self._process = background.start(Path(self._folder.name), self.mapped.table)

    def waits_for(self, name: str) -> bool:
        """Whether a part is not ready yet and may still come."""
        starts = self._process is None and not self.on_request
        return name in self.missing and (self.working or starts)

    def gather(self) -> list[str]:
        """Add the parts that have become ready; returns their names. Raises SerdemoError when the
        process ended without them."""
        if self._folder is None:
            return []
        ended, folder = not self.working, Path(self._folder.name)
        with self._lock:
            missing = self.missing
            if "study" in missing and (result := background.load_study(folder)):
                self.mapped = replace(self.mapped, clusters=result[0], figures=result[1])
                self.codes.pop("cluster", None)
            for name in PROJECTIONS:
                if (
                    name in missing
                    and (places := background.load_positions(folder, name)) is not None
                ):
                    positions = {**self.mapped.positions, name: places}
                    self.mapped = replace(self.mapped, positions=positions)
            fresh = [name for name in missing if name not in self.missing]
        if not self.missing:
            self.stop()
        elif ended:
            raise SerdemoError(SLOW_FAILED)
        return fresh

    def place(self, embedding: Points) -> tuple[Placement, dict[str, list[float]]]:
        """Where a newcomer's embedding (E,) of the model lies, and its place by projection."""
        with self._lock:
            # Beside which clips of others it would lie is not known where each speaker lies alone.
            names = tuple(n for n in PROJECTIONS if n in self.mapped.positions and n != "own")
            if self._reference is None or self._reference[0] != names:
                self._reference = names, self.mapped.reference_map(names)
        placement = self._reference[1].place(self.mapped.compress_embedding(embedding))
        numbers = iter(placement.position.tolist())
        at = {name: [next(numbers) for _ in PROJECTIONS[name]] for name in self._reference[0]}
        return placement, at

    def stop(self) -> None:
        """End the computation and delete its files; `start_if_needed` begins what is missing anew."""
        process, folder = self._process, self._folder
        self._process = self._folder = None
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()
        if folder is not None:
            folder.cleanup()


class MapSessions:
    """The open maps of one page, by unguessable keys. Use it from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[str, MapSession] = OrderedDict()

    def get(self, key: str) -> MapSession:
        """The map of a key, that of SHIPPED read once; raises SerdemoError when it is closed or absent."""
        with self._lock:
            if key == SHIPPED and key not in self._open:
                path = embedding_map.default_path()
                self._open[key] = MapSession(key, path.stem, embedding_map.read(path))
            if key not in self._open:
                raise SerdemoError("This map was closed: open it once more.")
            self._open.move_to_end(key)
            return self._open[key]

    def add(
        self,
        title: str,
        mapped: EmbeddingMap,
        base: Path | None,
        notes: Sequence[str] = (),
        visitor: str = "",
    ) -> MapSession:
        """Open a map for a session. Beyond MAX_OPEN, and MAX_LARGE_OPEN, those not used for longest are
        closed."""
        session = MapSession(secrets.token_urlsafe(), title, mapped, base, tuple(notes), visitor)
        with self._lock:
            self._open[session.key] = session
            own = [key for key in self._open if key != SHIPPED]
            large = [key for key in own if self._open[key].on_request]
            closing = {*own[:-MAX_OPEN], *large[:-MAX_LARGE_OPEN]}
            old = [self._open.pop(key) for key in closing]
        for closed in old:
            closed.stop()
        return session

    def close(self, visitor: str) -> None:
        """Close the maps of a visitor's session."""
        with self._lock:
            own = [key for key, session in self._open.items() if session.visitor == visitor]
            closed = [self._open.pop(key) for key in own if key != SHIPPED]
        for session in closed:
            session.stop()

    def stop_departed(self, is_here: Callable[[str], bool]) -> None:
        """End the computations, and delete their files, for visitors whose session is not here any more."""
        with self._lock:
            sessions = list(self._open.values())
        for session in sessions:
            if session.visitor and not is_here(session.visitor):
                session.stop()

    def progress(self, session: MapSession, requested: bool = False) -> list[str]:
        """The parts of a map that have become ready since the last call; their computation starts once
        fewer than MAX_WORKING others run, for a large map where it is `requested`. Raises SerdemoError
        when it failed."""
        with self._lock:
            working = sum(other.working for other in self._open.values())
            if working < MAX_WORKING:
                session.start_if_needed(requested)
        return session.gather()
