"""Where a new map comes from: a folder of clips under the data root, or a table that was sent."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from serdemo.embeddings import embedding_map, parquet_limits
from serdemo.embeddings.projection import MIN_POINTS
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.settings import data_root

if TYPE_CHECKING:
    from serdemo.embeddings.embedding_map import EmbeddingMap
    from serdemo.embeddings.table import Table
    from serdemo.ui.explore.open_maps import MapSession, MapSessions

MOST_CLIPS = 50_000
NO_ROOT = "No folder of corpora is known: set SERDEMO_DATA to it and start serdemo again."
FAULT = "Something went wrong while the clips were heard, and the log says what: try again."


def root() -> Path:
    """The folder of corpora; raises UsageError when none is known."""
    found = data_root(None)
    if found is None or not found.is_dir():
        raise UsageError(NO_ROOT)
    return found.resolve()


def inside(typed: str) -> str:
    """What was typed, as `corpora.load_many` understands it, once each item is a known corpus or
    lies under the data root. Raises UsageError for anything else."""
    from serdemo.data import corpora

    top, items = root(), []
    for item in (item.strip() for item in typed.split(",")):
        if not item or item.lower() in corpora.CORPORA:
            items.append(item)
            continue
        path = (top / Path(item).expanduser()).resolve()
        if not path.is_relative_to(top):
            raise UsageError(
                f"{item} lies outside the data folder {top}: move it there, or set SERDEMO_DATA."
            )
        if not path.exists():
            raise UsageError(f"There is no corpus, folder or CSV file {item} in {top}.")
        items.append(str(path))
    return ",".join(items)


def found_here() -> list[str]:
    """The known corpora that have a folder or a table in the data root."""
    from serdemo.data import corpora

    try:
        lying = {path.stem.lower() for path in root().iterdir()}
    except OSError:
        return []
    return [name for name, corpus in corpora.CORPORA.items() if lying & {name, *corpus.folders}]


def notes(clips: Table) -> list[str]:
    """What a table is too poor for, a sentence each. Raises SerdemoError for a single clip."""
    if len(clips) < 2:
        raise SerdemoError("There is only one clip, and a map needs two or more: add some.")
    said = []
    if len(clips) < MIN_POINTS:
        said.append(f"UMAP needs {MIN_POINTS} clips or more: these are shown by PCA alone.")
    emotions = set(clips.emotions) - {""}
    if len(set(clips.speakers)) == 1:
        said.append("All clips are one speaker's, so speakers cannot be compared.")
    if not emotions:
        said.append("No clip has an emotion, so clusters cannot be compared with emotions.")
    elif len(emotions) == 1:
        said.append(
            f"All clips are {emotions.pop()}: with one emotion there is nothing to compare."
        )
    return said


def sent(path: Path, name: str) -> tuple[EmbeddingMap, list[str]]:
    """The map of a table that a visitor sent, deleted once it is read.

    Raises SerdemoError for what is no table, or too large a one.
    """
    named = path.with_name(Path(name).name or "table.parquet")
    try:
        path.rename(named)  # sentences then name the file as its owner does
        parquet_limits.refuse_large(named)
        found = embedding_map.read(named)
    except OSError as problem:
        raise SerdemoError(f"{name} could not be read: {problem.strerror}.") from problem
    finally:
        path.unlink(missing_ok=True)
        named.unlink(missing_ok=True)
    return found, notes(found.table)


@dataclass(slots=True)
class EmbeddingJob:
    """Clips that are being embedded: `done` of `total`, then a map, or the sentence why not."""

    title: str
    total: int = 0
    done: int = 0
    began_at: float = field(default_factory=time.monotonic)
    made: MapSession | None = None
    refused: str = ""
    stopped: bool = False


class StoppedError(Exception):
    """Whoever asked for it does not want it any more."""


class EmbeddingJobs:
    """The folders whose clips are heard, one at a time, in threads of their own."""

    def __init__(self, atlas: MapSessions) -> None:
        self._atlas, self._turn = atlas, threading.Lock()
        self._known: dict[str, EmbeddingJob] = {}

    def begin(self, typed: str, checkpoint: Path) -> str:
        """Start on a corpus or folder; returns the key to ask for it by.

        Raises SerdemoError where there are no clips there.
        """
        from serdemo.data import corpora

        clips = corpora.load_many(inside(typed), root())
        if len(clips) > MOST_CLIPS:
            raise SerdemoError(f"{len(clips)} clips are too many for a map: at most {MOST_CLIPS}.")
        hearing = EmbeddingJob(typed, len(clips))
        key = secrets.token_urlsafe()
        self._known = {k: h for k, h in self._known.items() if not (h.made or h.refused)}
        self._known[key] = hearing

        def hear() -> None:
            from serdemo.data.array_cache import CacheOptions
            from serdemo.embeddings.extract import embed

            def progress(done: int) -> None:
                hearing.done = done
                if hearing.stopped:
                    raise StoppedError

            try:
                with self._turn:
                    found = embed(checkpoint, clips, root(), CacheOptions(), progress=progress)
                    said = notes(found.table)
                    if found.errors:
                        left = len(found.errors)
                        said.append(f"Left out, {left} of {len(clips)}: {found.errors[0]}")
                    made = embedding_map.pca_only(found.table)
                    hearing.made = self._atlas.add(title(found.table), made, root(), said)
            except SerdemoError as problem:
                hearing.refused = str(problem)
            except StoppedError:
                hearing.refused = "Stopped: what was heard so far is kept for the next time."
            except Exception:
                hearing.refused = FAULT
                raise

        threading.Thread(target=hear, name="hearing", daemon=True).start()
        return key

    def get(self, key: str) -> EmbeddingJob:
        """What became of it; raises SerdemoError when it is not known."""
        if key not in self._known:
            raise SerdemoError("These clips are heard no more: start again.")
        return self._known[key]


def title(clips: Table) -> str:
    """What a map is called: its corpora."""
    return ", ".join(name for name, _ in Counter(clips.text["corpus"]).most_common(4)) or "a table"
