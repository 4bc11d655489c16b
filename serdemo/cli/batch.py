"""`--out DIR` of `predict` and `embed`: lists of any length, in parts, by this machine or by several."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from serdemo.cli.exits import tell
from serdemo.cli.options import print_json
from serdemo.schema.errors import UsageError
from serdemo.schema.text import counted

if TYPE_CHECKING:  # help need not wait for torch
    from serdemo.data.recording_list import RecordingList
    from serdemo.runs.batch.job import BatchJob
    from serdemo.runs.batch.parts import Shard
    from serdemo.runs.batch.work import PartReport


@dataclass(frozen=True, slots=True)
class Batch:
    """How the parts of a list are done."""

    part_size: int
    shard: str | None
    engine: Literal["local", "ray"]
    address: str | None
    workers: int | None

    def refuse(self) -> None:
        """Raise UsageError where a flag was given that is for parts alone."""
        for name in ("shard", "address", "workers"):
            if getattr(self, name) is not None:
                raise UsageError(f"--{name} is for an --out that is a folder of parts.")
        if self.engine != "local":
            raise UsageError("--engine is for an --out that is a folder of parts.")

    def run(
        self,
        kind: Literal["predict", "embed"],
        recordings: RecordingList,
        out: Path,
        *,
        checkpoint: Path | None,
        device: str,
        label_map: Mapping[str, str] | None,
        as_json: bool,
    ) -> None:
        """Do what is not done yet of a list, and say what became of it."""
        from serdemo.cli.views.console import progress
        from serdemo.nn.checkpoint_files import bundled_checkpoint
        from serdemo.runs.batch.job import BatchJob
        from serdemo.runs.batch.parts import Parts, Shard
        from serdemo.runs.batch.work import Task

        if self.engine == "local" and (self.address or self.workers):
            raise UsageError("--address and --workers are for --engine ray.")
        shard = Shard.parse(self.shard) if self.shard else Shard()
        folder = (checkpoint or bundled_checkpoint()).resolve()
        task = Task(kind, str(folder), device, label_map)
        job = BatchJob(task, Parts(recordings, self.part_size), out)
        job.open()
        remaining = job.remaining(shard)
        n_own = job.parts.n_recordings(job.parts.numbers(shard))
        n_done = n_own - job.parts.n_recordings(remaining)
        began = time.monotonic()
        reports: list[PartReport] = []
        if remaining:
            with progress("Answering", n_own, hidden=as_json) as advance:
                for report in self._reports(job, shard, remaining):
                    reports.append(report)
                    n_done += report.rows + report.errors
                    advance(n_done)
        found = Totals.of(job, shard, reports, time.monotonic() - began)
        print_json(found.to_json()) if as_json else tell(found.sentence(out))

    def _reports(
        self, job: BatchJob, shard: Shard, remaining: Sequence[int]
    ) -> Iterator[PartReport]:
        if self.engine == "local":
            return job.work(remaining)
        from serdemo.runs.batch import ray_engine

        return ray_engine.work(job, shard, address=self.address, n_workers=self.workers)


@dataclass(frozen=True, slots=True)
class Totals:
    """What became of a shard: its recordings, those that were done before, those with a row and with an error
    now, the seconds of sound in the rows, and those that they took."""

    recordings: int
    done_before: int
    rows: int
    errors: int
    sound_s: float
    seconds: float

    @classmethod
    def of(
        cls, job: BatchJob, shard: Shard, reports: Sequence[PartReport], seconds: float
    ) -> Totals:
        """The sums of reports that took so many seconds together."""
        own = job.parts.n_recordings(job.parts.numbers(shard))
        rows, errors = sum(r.rows for r in reports), sum(r.errors for r in reports)
        sound_s = sum(report.sound_s for report in reports)
        return cls(own, own - rows - errors, rows, errors, round(sound_s, 1), round(seconds, 2))

    def to_json(self) -> dict[str, Any]:
        """A document of the command line."""
        return asdict(self)

    def sentence(self, out: Path) -> str:
        """What the terminal says at the end."""
        before = f", {self.done_before} of them before" if self.done_before else ""
        errors = f" {self.errors} have an error, see {out / 'errors'}." if self.errors else ""
        now = self.rows + self.errors
        rate = f"{now / self.seconds:.1f} a second, " if self.seconds else ""
        times = f"{self.sound_s / self.seconds:.0f} times real time" if self.seconds else ""
        pace = (
            f" {counted(now, 'recording')} in {self.seconds:.0f} s: {rate}{times}." if now else ""
        )
        return f"{out}: {counted(self.recordings, 'recording')} done{before}.{errors}{pace}"


def BATCH(command: Callable[..., None]) -> Callable[..., None]:  # noqa: N802 (used like the other flags)
    """The flags of a list's answers in parts, which the command gets as `parts`."""

    @wraps(command)
    def with_parts(
        *arguments: Any,
        part_size: int,
        shard: str | None,
        engine: Literal["local", "ray"],
        address: str | None,
        workers: int | None,
        **values: Any,
    ) -> None:
        command(*arguments, parts=Batch(part_size, shard, engine, address, workers), **values)

    options = (
        click.option(
            "--part-size",
            type=click.IntRange(1, 100_000),
            default=1000,
            show_default=True,
            help="Recordings of a part, of an --out that is a folder.",
        ),
        click.option(
            "--shard",
            metavar="K/N",
            help="Do the K-th of N shares of the parts alone, as a task of a Slurm array does.",
        ),
        click.option(
            "--engine",
            type=click.Choice(["local", "ray"]),
            default="local",
            show_default=True,
            help="Do the parts in this process, or by Ray Data.",
        ),
        click.option("--address", help="The cluster of --engine ray [default: this machine]."),
        click.option(
            "--workers",
            type=click.IntRange(1, 10_000),
            help="Processes of --engine ray that hold the model [default: one a GPU, or a core].",
        ),
    )
    for option in reversed(options):
        with_parts = option(with_parts)
    return with_parts
