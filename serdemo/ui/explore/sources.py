"""New maps: of a folder of clips or a table under the data root, or of a table that a visitor sent."""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serdemo.data import corpora
from serdemo.data.array_cache import CacheOptions
from serdemo.data.corpora.record_table import ParquetTable
from serdemo.embeddings import embedding_map, parquet_limits
from serdemo.embeddings.extract import embed
from serdemo.embeddings.projection import MIN_POINTS
from serdemo.embeddings.table import part_files
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.settings import data_root
from serdemo.schema.types import is_known_speaker
from serdemo.ui.shell.uploads import delete

if TYPE_CHECKING:
    from serdemo.embeddings.embedding_map import EmbeddingMap
    from serdemo.embeddings.table import Table
    from serdemo.ui.explore.open_maps import MapSession, MapSessions

MAX_CLIPS = 50_000
NO_ROOT = "No folder of corpora is known: set SERDEMO_DATA to it and start serdemo again."
FAULT = "Something went wrong while the clips were embedded, and the log says what: try again."


def known_root() -> Path | None:
    """The folder of corpora, if one is known."""
    folder = data_root(None)
    return folder.resolve() if folder and folder.is_dir() else None


def root() -> Path:
    """The folder of corpora; raises UsageError when none is known."""
    if folder := known_root():
        return folder
    raise UsageError(NO_ROOT)


def inside(typed: str) -> str:
    """The argument of `corpora.load_many` for what a visitor typed: known corpora, or paths under the
    data root. Raises UsageError for anything else."""
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


def table_at(typed: str) -> Path | None:
    """The table of embeddings at a path under the data root, a Parquet file or a folder of its parts;
    None where something else lies there. Raises UsageError as `inside` does."""
    if "," in typed or not typed.strip() or typed.strip().lower() in corpora.CORPORA:
        return None
    path = Path(inside(typed))
    try:
        first = part_files(path)[0]
        return path if "embedding" in ParquetTable(first).header else None
    except SerdemoError:
        return None


def available_corpora(folder: Path) -> list[str]:
    """The known corpora that have a folder or a table in `folder`."""
    try:
        stems = {path.stem.lower() for path in folder.iterdir()}
    except OSError:
        return []
    return [name for name, corpus in corpora.CORPORA.items() if stems & {name, *corpus.folders}]


def notes(clips: Table) -> list[str]:
    """A sentence for each view that a table is too small for. Raises SerdemoError for a single clip."""
    if len(clips) < 2:
        raise SerdemoError("There is only one clip, and a map needs two or more: add some.")
    sentences = []
    if len(clips) < MIN_POINTS:
        sentences.append(f"UMAP needs {MIN_POINTS} clips or more: these are shown by PCA alone.")
    emotions = set(clips.emotions) - {""}
    if not any(map(is_known_speaker, clips.speakers)):
        sentences.append("The speakers are unknown, so they cannot be compared.")
    elif len(set(clips.speakers)) == 1:
        sentences.append("All clips are one speaker's, so speakers cannot be compared.")
    if not emotions:
        sentences.append("No clip has an emotion, so clusters cannot be compared with emotions.")
    elif len(emotions) == 1:
        sentences.append(
            f"All clips are {emotions.pop()}: with one emotion there is nothing to compare."
        )
    return sentences


def read_upload(path: Path, name: str) -> tuple[EmbeddingMap, list[str]]:
    """Map and notes of an uploaded table, deleted once it is read; raises SerdemoError for any other
    file, and for too large a table."""
    named = path.with_name(Path(name).name or "table.parquet")
    try:
        path.rename(named)  # sentences then name the file as its owner does
        parquet_limits.refuse_large(named)
        uploaded_map = embedding_map.read(named)
    except OSError as problem:
        raise SerdemoError(f"{name} could not be read: {problem.strerror}.") from problem
    finally:
        delete(path)
        delete(named)
    return uploaded_map, notes(uploaded_map.table)


@dataclass(slots=True)
class EmbeddingJob:
    """Embedding of a folder's clips, or reading of a table: `done` of `total`, 0 for a table, then the `key` of the map
    or a `refusal`."""

    total: int
    done: int = 0
    key: str = ""
    refusal: str = ""
    stopped: bool = False


class EmbeddingJobs:
    """The jobs that embed folders of clips or read tables: one at a time, in threads of their own."""

    def __init__(self, maps: MapSessions) -> None:
        self._maps, self._turn = maps, threading.Lock()
        self._jobs: dict[str, EmbeddingJob] = {}

    def begin(self, typed: str, checkpoint: Path) -> str:
        """Start on a corpus or folder; returns the job's key. Raises SerdemoError without clips."""
        clips = corpora.load_many(inside(typed), root())
        if len(clips) > MAX_CLIPS:
            raise SerdemoError(f"{len(clips)} clips are too many for a map: at most {MAX_CLIPS}.")
        job = EmbeddingJob(len(clips))

        def progress(done: int) -> None:
            job.done = done
            if job.stopped:
                raise SerdemoError("Stopped: the embeddings so far are used the next time.")

        def embedded() -> MapSession:
            result = embed(checkpoint, clips, root(), CacheOptions(), progress=progress)
            sentences, errors = notes(result.table), result.errors
            if errors:
                sentences.append(f"Left out, {len(errors)} of {len(clips)}: {errors[0]}")
            pca_map = embedding_map.pca_only(result.table)
            return self._maps.add(title(result.table), pca_map, root(), sentences)

        return self._start(job, embedded)

    def read(self, path: Path, visitor: str) -> str:
        """Start to read the map of a table under the data root for a session; returns the job's key."""

        def opened() -> MapSession:
            table_map = embedding_map.read(path)
            sentences = notes(table_map.table)
            return self._maps.add(path.stem, table_map, root(), sentences, visitor)

        return self._start(EmbeddingJob(0), opened)

    def _start(self, job: EmbeddingJob, make: Callable[[], MapSession]) -> str:
        """Run a job in a thread of its own, once those before it have ended; returns its key."""
        key = secrets.token_urlsafe()
        running = {k: other for k, other in self._jobs.items() if not (other.key or other.refusal)}
        self._jobs = running | {key: job}

        def run() -> None:
            try:
                with self._turn:
                    job.key = make().key
            except SerdemoError as problem:
                job.refusal = str(problem)
            except Exception:
                job.refusal = FAULT
                raise

        threading.Thread(target=run, name="embedding", daemon=True).start()
        return key

    def get(self, key: str) -> EmbeddingJob:
        """The job of a key; raises SerdemoError when it is not known."""
        if key not in self._jobs:
            raise SerdemoError("These clips are no longer being embedded: start again.")
        return self._jobs[key]


def title(clips: Table) -> str:
    """The title of a map: its corpora."""
    return ", ".join(name for name, _ in Counter(clips.text["corpus"]).most_common(4)) or "a table"
