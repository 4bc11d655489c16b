"""What a machine does with a part of a list: a table of answers or embeddings, and one of errors."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from serdemo.audio.waveform import RemoteFile, SoundFile
from serdemo.embeddings import table as embedding_table
from serdemo.embeddings.extract import about_table, checkpoint_digest
from serdemo.embeddings.parquet_limits import TEXT_COLUMNS
from serdemo.inference.answers import Answer, Table, files_table
from serdemo.inference.parquet_file import write_parquet
from serdemo.inference.predictor import Embedder, Predictor
from serdemo.inference.recording_embeddings import embed_recordings
from serdemo.runs.batch.attempts import attempt
from serdemo.runs.batch.parts import Entry, part_name
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import atomic
from serdemo.schema.remote_files import is_address
from serdemo.schema.types import UNKNOWN_SPEAKER

ROWS, ERRORS = "rows", "errors"  # folders of an output, with a file for each part
DECODING_THREADS = 2
BLOCK = 256  # recordings whose windows are sorted by length, so that a batch has little padding
Found = Sequence[tuple[Entry, Any]]


@dataclass(frozen=True)
class Task:
    """What is asked of each recording, of which model."""

    kind: Literal["predict", "embed"]
    checkpoint: str
    device: str = "auto"
    label_map: Mapping[str, str] | None = None

    @cached_property
    def checkpoint_digest(self) -> str:
        """A digest of the model."""
        return checkpoint_digest(Path(self.checkpoint), self.label_map)

    @property
    def digest(self) -> str:
        """A digest of all that rows depend on, apart from the recordings."""
        return f"{self.kind} {self.checkpoint_digest}"


@dataclass(frozen=True, slots=True)
class PartReport:
    """What became of a part: its recordings with a row and with an error, the seconds of sound in the
    rows, and those that they took on `host`. All are 0 where an earlier start did it."""

    part: int
    rows: int
    errors: int
    sound_s: float
    seconds: float
    host: str

    def to_json(self) -> dict[str, Any]:
        """A row of a table."""
        return asdict(self)


class Worker:
    """The model of a task, which answers one part after another and writes them below `out`.

    `n_threads` decode, and fetch, ahead of the model. Raises the errors of `Embedder`.
    """

    def __init__(self, task: Task, out: Path, n_threads: int = DECODING_THREADS) -> None:
        model = Predictor if task.kind == "predict" else Embedder
        self.task, self.out, self.n_threads = task, out, n_threads
        self.model: Embedder = model(task.checkpoint, device=task.device, label_map=task.label_map)

    def work(self, number: int, entries: Sequence[Entry]) -> PartReport:
        """Answer the recordings of a part. Its rows are written last: a part that has them is done."""
        if is_done(self.out, number):  # by another start meanwhile
            return PartReport(number, 0, 0, 0.0, 0.0, platform.node())
        began, name = time.monotonic(), part_name(number)
        with attempt(self.out / ERRORS / f"{name}.attempts") as attempts:
            results = list(zip(entries, attempts.answers(entries, self._answers), strict=True))
        found = [(e, result) for e, result in results if not isinstance(result, SerdemoError)]
        errors = [(e, str(result)) for e, result in results if isinstance(result, SerdemoError)]
        with atomic(self.out / ERRORS / name) as temporary:
            write_parquet(_errors_table(errors), temporary)
        if isinstance(self.model, Predictor):
            with atomic(self.out / ROWS / name) as temporary:
                write_parquet(self._answers_table(found), temporary)
        else:
            embedding_table.write(
                self.out / ROWS / name,
                self._embeddings_table(found),
                {"row": np.array([entry.row for entry, _ in found], np.int64)},
            )
        seconds = time.monotonic() - began
        sound_s = sum(result.duration_s for _, result in found)
        return PartReport(number, len(found), len(errors), sound_s, seconds, platform.node())

    def _answers(self, entries: Sequence[Entry]) -> Iterator[Any]:
        """The answer or embedding of each recording, or its error, in order."""
        sources = map(_source, entries)
        if isinstance(self.model, Predictor):
            return self.model.predict_many(sources, batch_size=BLOCK, n_threads=self.n_threads)
        return embed_recordings(self.model, sources, batch_size=BLOCK, n_threads=self.n_threads)

    def _answers_table(self, found: Found) -> Table:
        """The columns of `files_table`, and `row`, whatever labels the answers have."""
        names = (*self.model.labels, *self.model.description.dimensions)
        table = files_table([Answer(entry.file, answer) for entry, answer in found], names)
        columns = {"row": int, **table.columns}
        del columns["error"]  # errors have a table of their own
        rows = [
            {"row": entry.row, **row} for (entry, _), row in zip(found, table.rows, strict=True)
        ]
        return Table(columns, rows)

    def _embeddings_table(self, found: Found) -> embedding_table.Table:
        labels, size = self.model.labels, self.model.model.options.embedding
        # A regression gives values of dimensions, which are no probabilities.
        shares = np.array([e.probabilities[: len(labels)] for _, e in found], np.float32)
        shares = shares.reshape(len(found), len(labels))
        best: Sequence[int] = shares.argmax(axis=1).tolist() if labels else ()
        texts: dict[str, tuple[str, ...]] = {
            name: tuple(entry.text.get(name, "") for entry, _ in found) for name in TEXT_COLUMNS
        }
        texts["clip"] = tuple(entry.file for entry, _ in found)
        texts["speaker"] = tuple(speaker or UNKNOWN_SPEAKER for speaker in texts["speaker"])
        texts["prediction"] = tuple(labels[at] for at in best) or ("",) * len(found)
        speakers = zip(texts["corpus"], texts["speaker"], strict=True)
        about = about_table(self.model.description, self.task.checkpoint_digest, speakers)
        rows = np.array([e.embedding for _, e in found], np.float32).reshape(-1, size)
        return embedding_table.Table(texts, rows, labels, shares, about)


def is_done(out: Path, number: int) -> bool:
    """Whether a part has its rows."""
    return (out / ROWS / part_name(number)).exists()


def _source(entry: Entry) -> SoundFile | RemoteFile:
    if is_address(entry.location):
        return RemoteFile(entry.location)
    return SoundFile(entry.location, name=entry.file)


def _errors_table(errors: Sequence[tuple[Entry, str]]) -> Table:
    columns = {"row": int, "file": str, "error": str}
    rows = [{"row": entry.row, "file": entry.file, "error": error} for entry, error in errors]
    return Table(columns, rows)
