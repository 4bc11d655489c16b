"""JobQueue: the training runs below a folder, each described by the files in its own folder.

`job.json` holds what was requested, `events.jsonl` what happened, `log.txt` the output of its process.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self

from serdemo.runs import process
from serdemo.runs.request import TrainingRequest
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import read_json, replace_folder, write_json
from serdemo.training import events
from serdemo.training.events import EVENTS, Event, Failed, Finished, Stopped

JOB, LOG = "job.json", "log.txt"
VISITORS, UPLOADS = ".visitors", "uploads"  # below the runs, and in the folder of a visitor there
ERROR_PREFIX = "serdemo: "  # how the command line begins the sentence of an error

State = Literal["waiting", "running", "stopping", "stopped", "finished", "failed", "withdrawn"]
OVER: frozenset[State] = frozenset({"stopped", "finished", "failed", "withdrawn"})
FORMER_KEYS = {  # of version 0.1
    "asked": "queued_at",
    "stopping": "stop_requested_at",
    "inside": "in_process",
    "ended": "ended_at",
}


@dataclass(frozen=True)
class Job:
    """A training run in the queue or out of it. Times are in seconds since 1970, 0 for none.

    `owner` is the visitor's token, "" for whoever sits at this machine. `pid` and `born` (its start) name
    the process that carries the run out. With `in_process` that process does other things too, so that the
    run ends at `ended_at` and not with it; `ended_at` is also set where no process could be started.
    """

    name: str
    request: TrainingRequest
    owner: str = ""
    queued_at: float = 0.0
    pid: int = 0
    born: float = 0.0
    withdrawn: bool = False
    stop_requested_at: float = 0.0
    in_process: bool = False
    ended_at: float = 0.0

    @property
    def started_at(self) -> float:
        """Events later than this are of the job's present process."""
        return max(self.born - 1, self.queued_at)

    def belongs_to(self, owner: str | None) -> bool:
        """Whether a visitor may see the job: None all of them, a token its own, "" none."""
        return owner is None or bool(owner and self.owner == owner)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, ready for JSON."""
        return {**asdict(self), "request": self.request.to_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Read what `to_json` or version 0.1 wrote; raises SerdemoError for a bad request, TypeError or KeyError
        for anything else."""
        values = {FORMER_KEYS.get(key, key): value for key, value in values.items()}
        if "arguments" in values:
            request = TrainingRequest.from_arguments(values.pop("arguments"))
        else:
            request = TrainingRequest.from_json(values["request"])
        return cls(**{**values, "request": request})


class JobStore:
    """The jobs below a folder. Several of these, in several processes, may share the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.uploads = (
            self.folder / ".uploads"
        )  # clips that a local user sent, each lot in a folder

    def path(self, name: str) -> Path:
        """The folder of a job; raises UsageError for a bad name."""
        if not re.fullmatch(r"[\w][\w.-]{0,99}", name):
            raise UsageError(f"{name!r} cannot name a run: use letters, digits, dots and dashes.")
        return self.folder / name

    def all(self, owner: str | None = None) -> list[Job]:
        """The jobs that belong to `owner`, the latest first."""
        jobs = []
        for path in self.folder.glob(f"*/{JOB}"):
            with suppress(SerdemoError, UsageError):  # half deleted, or not ours
                jobs.append(self.job(path.parent.name))
        own = [job for job in jobs if job.belongs_to(owner)]
        return sorted(own, key=lambda job: -job.queued_at)

    def job(self, name: str) -> Job:
        """A job by name; raises SerdemoError when there is none."""
        path = self.path(name) / JOB
        if not path.exists():
            raise SerdemoError(f"There is no run {name}.")
        values = read_json(path)
        try:
            return Job.from_json({**values, "name": name})
        except (TypeError, KeyError, SerdemoError) as problem:
            raise SerdemoError(f"{JOB} of the run {name} is damaged.") from problem

    def write(self, job: Job) -> None:
        """Write `job.json`; raises SerdemoError when the disk is full."""

        def write(folder: Path) -> None:
            write_json(folder / JOB, job.to_json())

        if (path := self.path(job.name)).exists():
            write(path)
        else:
            replace_folder(path, write)  # no folder of a run is without

    def state(self, job: Job) -> State:
        """The state of a job, which only its process and its last event decide."""
        if job.withdrawn:
            return "withdrawn"
        if not job.pid and not job.ended_at:
            return "waiting"
        if not job.ended_at and process.alive(job.pid, job.born):
            return "stopping" if job.stop_requested_at else "running"
        last = self.last_event(job)
        if isinstance(last, Finished):
            return "finished"
        return "stopped" if isinstance(last, Stopped) else "failed"

    def states(self) -> list[tuple[Job, State]]:
        """All jobs with their states, the latest first."""
        return [(job, self.state(job)) for job in self.all()]

    def last_event(self, job: Job) -> Event | None:
        """The last event of the job's present process."""
        path = self.path(job.name) / EVENTS
        with suppress(OSError):
            status = path.stat()
            last = _last_event(path, status.st_size, status.st_mtime_ns)
            return last if last is not None and last.time >= job.started_at else None
        return None

    def failure_reason(self, job: Job) -> str:
        """Why a job failed, in a sentence: its last event, else the end of its log."""
        last = self.last_event(job)
        if isinstance(last, Failed):
            return last.message
        lines = [line.strip() for line in self.log_tail(job).splitlines() if line.strip()]
        traceback = any(line.startswith("Traceback") for line in lines)
        if lines and (traceback or lines[-1].startswith(ERROR_PREFIX)):
            return lines[-1].removeprefix(ERROR_PREFIX)
        if job.ended_at:
            return "The page that carried it out was closed."
        if job.stop_requested_at:
            return "It did not stop by itself, and was ended."
        return "It was ended from outside, or the machine went off."

    def log_tail(self, job: Job) -> str:
        """The end of what the job's process printed."""
        return process.log_tail(self.path(job.name) / LOG)

    def log_error(self, job: Job, problem: Exception) -> None:
        """Append an error to the job's log, as one line, if that can be written."""
        with suppress(OSError), (self.path(job.name) / LOG).open("a", encoding="utf-8") as file:
            file.write(f"{ERROR_PREFIX}{' '.join(str(problem).split())}\n")

    def orphaned_uploads(self) -> list[Path]:
        """The folders of uploads that no job trains on."""
        used = " ".join(corpus for job in self.all() for corpus in job.request.corpora)
        lots = (*self.uploads.glob("*"), *self.folder.glob(f"{VISITORS}/*/*/{UPLOADS}/*"))
        return [folder for folder in lots if folder.name not in used]


def queue_position(job: Job, states: list[tuple[Job, State]]) -> int:
    """How many of the jobs in `states` are before a waiting one."""
    return sum(
        state not in OVER and (state != "waiting" or other.queued_at < job.queued_at)
        for other, state in states
    )


@lru_cache(maxsize=256)
def _last_event(path: Path, size: int, modified_ns: int) -> Event | None:
    """The last event of a file of this size and time, which a page asks for every second."""
    return events.last(path)
