"""The parts of a list by Ray Data: actors that hold the model, on the machines of a cluster.

Ray reads the table of parts, gives each to an actor that is free, gives those of an actor that died to
another, and writes a report of each; by its job-level checkpoints a driver that is started again asks
for what is not reported yet alone. An actor leaves the same files as a process without Ray.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serdemo.inference.answers import Table
from serdemo.inference.parquet_file import read_parts, write_parquet
from serdemo.runs.batch.job import BatchJob
from serdemo.runs.batch.parts import Entry, Shard
from serdemo.runs.batch.work import DECODING_THREADS, PartReport, Task, Worker
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import atomic, make_folder
from serdemo.schema.text import counted

FOLDER = "ray"  # in a job's folder: for each shard the table of parts, the reports, and Ray's checkpoints
PARTS, REPORTS = "parts.parquet", "reports"
ID, ENTRIES = "part", "entries"  # columns of the table of parts
CONNECTION_S = 10.0
SMALL_CPUS = 0.1  # of tasks that read and write a few numbers
RAYS_CPUS = 2  # which Ray counts for its own listing of files and filtering of what is done, and hardly uses


class PartActor:
    """The model of a task in a process of Ray's, which answers the parts that it is given."""

    def __init__(self, task: Task, out: Path, n_threads: int) -> None:
        self._worker = Worker(task, out, n_threads)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Answer the parts of a batch of Ray's; gives their reports."""
        reports = []
        for number, entries in zip(batch[ID], batch[ENTRIES], strict=True):
            own = [Entry(**entry) for entry in json.loads(entries)]
            reports.append(self._worker.work(int(number), own).to_json())
        return {name: np.array([report[name] for report in reports]) for name in reports[0]}


@dataclass(frozen=True, slots=True)
class Share:
    """What an actor gets of a cluster: of so many actors each, cores as Ray counts them, and whether a GPU."""

    n_actors: int
    n_cpus: float
    has_gpu: bool

    @classmethod
    def of(
        cls, nodes: Sequence[Mapping[str, Any]], n_workers: int | None, *, use_gpus: bool
    ) -> Share:
        """The share of a cluster with these `nodes`, as Ray describes them, such that all find room."""
        found = [node["Resources"] for node in nodes if node["Alive"]]
        cores = [int(own["CPU"]) for own in found if own.get("CPU", 0) >= 1]
        n_gpus = sum(int(own.get("GPU", 0)) for own in found) if use_gpus else 0
        n_free = max(0, sum(cores) - RAYS_CPUS)
        n_actors = n_workers or n_gpus or max(1, n_free)
        if n_free < n_actors:
            return cls(n_actors, n_free / n_actors, n_gpus > 0)
        # Of more than one core Ray counts whole ones alone, and those of an actor are on one machine.
        on_a_node = -(-n_actors // len(cores))
        n_cpus = max(1, min(n_free // n_actors, min(cores) // on_a_node))
        return cls(n_actors, n_cpus, n_gpus > 0)

    @property
    def n_threads(self) -> int:
        """Threads that decode for an actor."""
        return max(DECODING_THREADS, int(self.n_cpus))


def work(
    job: BatchJob, shard: Shard, *, address: str | None, n_workers: int | None
) -> Iterator[PartReport]:
    """Do what remains of a shard by actors, one for each GPU or core of the cluster if not `n_workers`;
    gives the reports of these parts.

    `address` is that of a cluster, None to start Ray on this machine. Raises SerdemoError where Ray is not
    installed, cannot be reached, or ends without all parts.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # that someone uses it concerns nobody
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # of its own processes
    try:
        import ray
        from ray.data import ActorPoolStrategy, DataContext
        from ray.data.checkpoint import CheckpointConfig
    except ImportError as problem:
        raise SerdemoError(
            'The engine ray needs a library more: python -m pip install "serdemo[ray]".'
        ) from problem
    folder = job.out.resolve() / FOLDER / f"shard-{shard.number}-of-{shard.count}"
    remaining = frozenset(job.remaining(shard))
    if any(report.part in remaining for report in _reports(folder)):  # whose rows were deleted
        shutil.rmtree(folder)
    make_folder(folder / REPORTS)
    if not (folder / PARTS).exists():
        _write_parts(job, shard, folder / PARTS)
    with _cluster(address):
        context = DataContext.get_current()
        context.enable_progress_bars = sys.stderr.isatty()
        context.checkpoint_config = CheckpointConfig(
            id_column=ID,
            checkpoint_path=str(folder / "checkpoint"),
            delete_checkpoint_on_success=False,
        )
        share = Share.of(ray.nodes(), n_workers, use_gpus=job.task.device != "cpu")
        actors = ray.data.read_parquet(str(folder / PARTS), num_cpus=SMALL_CPUS)
        actors = actors.repartition(target_num_rows_per_block=1).map_batches(
            PartActor,
            fn_constructor_args=(job.task, job.out.resolve(), share.n_threads),
            batch_size=1,
            compute=ActorPoolStrategy(size=share.n_actors),
            num_cpus=share.n_cpus,
            num_gpus=1 if share.has_gpu else None,
        )
        actors.write_parquet(str(folder / REPORTS), ray_remote_args={"num_cpus": SMALL_CPUS})
    if left := job.remaining(shard):
        raise SerdemoError(f"{counted(len(left), 'part')} came to no end: start again.")
    yield from (report for report in _reports(folder) if report.part in remaining)


@contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """A connection to a cluster, or Ray on this machine. Raises SerdemoError for whatever ends a job."""
    import ray

    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal():
        try:  # Ray itself tries for minutes
            socket.create_connection((host, int(port)), CONNECTION_S).close()
        except (OSError, OverflowError):
            raise SerdemoError(
                f"Nothing answers at {address}: start a cluster by `ray start --head`, and name its address."
            ) from None
    n_cpus = None if address else (os.cpu_count() or 1) + RAYS_CPUS
    with redirect_stdout(sys.stderr):  # what Ray has to say is no answer
        try:
            ray.init(
                address=address,
                num_cpus=n_cpus,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
            )
            logging.getLogger("ray.data").setLevel(logging.CRITICAL)
            yield
        except Exception as problem:  # an actor's comes in one of Ray's
            raise _ended(problem) from problem
        finally:
            ray.shutdown()


def _ended(problem: Exception) -> SerdemoError:
    """Why a job ended early: an actor's own error where it comes of one."""
    for cause in _causes(problem):
        if isinstance(cause, SerdemoError):
            return SerdemoError(str(cause))
    reason = str(problem).strip().splitlines()[-1].rstrip(".") if str(problem).strip() else ""
    named = f"{type(problem).__name__}: {reason}" if reason else type(problem).__name__
    return SerdemoError(f"Ray ended early ({named}). What is done remains: start again.")


def _causes(problem: BaseException) -> Iterator[BaseException]:
    """An exception and those that it came of."""
    found: BaseException | None = problem
    while found is not None:
        own = getattr(found, "cause", None)  # Ray's
        yield found
        found = own if isinstance(own, BaseException) else found.__cause__


def _reports(folder: Path) -> list[PartReport]:
    """The reports of earlier starts and of this one."""
    columns = read_parts(folder / REPORTS)
    rows = zip(*columns.values(), strict=True)
    return [PartReport(**dict(zip(columns, row, strict=True))) for row in rows]


def _write_parts(job: BatchJob, shard: Shard, path: Path) -> None:
    """Write a row for each part of a shard: its number and its recordings, in JSON."""
    rows = [
        {ID: number, ENTRIES: json.dumps([asdict(entry) for entry in job.parts.entries(number)])}
        for number in job.parts.numbers(shard)
    ]
    with atomic(path) as temporary:
        write_parquet(Table({ID: int, ENTRIES: str}, rows), temporary, group_size=1)
