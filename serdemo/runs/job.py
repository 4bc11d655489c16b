"""Runs that were asked for, as their folders tell of them: by whom, and what has become of each."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serdemo.runs import process
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import read_json
from serdemo.training import events
from serdemo.training.events import EVENTS, Event, Failed, Finished, Stopped

JOB, LOG = "job.json", "log.txt"
TOLD = "serdemo: "  # how the command line begins its last sentence

State = Literal["waiting", "running", "stopping", "stopped", "finished", "failed", "withdrawn"]
OVER: frozenset[State] = frozenset({"stopped", "finished", "failed", "withdrawn"})


@dataclass(frozen=True)
class Job:
    """A run that was asked for: `arguments` of the command line, for whom, and when.

    `pid` and `born` tell its process from a later one of the same number; 0 until it has one. A run
    that is `inside` is carried out by a process that does other things too, and was until `ended`;
    `ended` is also one whose process could not be begun.
    """

    name: str
    arguments: tuple[str, ...]
    owner: str = ""
    asked: float = 0.0
    pid: int = 0
    born: float = 0.0
    withdrawn: bool = False
    stopping: float = 0.0  # when it was asked to stop
    inside: bool = False
    ended: float = 0.0

    @property
    def began(self) -> float:
        """What its folder tells of later than this is of its present process."""
        return max(self.born - 1, self.asked)


class JobStore:
    """The runs below a folder. Several of these, in several processes, may share the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.uploads = self.folder / ".uploads"  # what was sent to train on, each in a folder

    def path(self, name: str) -> Path:
        """The folder of a run; raises UsageError for a name that is none."""
        if not re.fullmatch(r"[\w][\w.-]{0,99}", name):
            raise UsageError(f"{name!r} cannot name a run: use letters, digits, dots and dashes.")
        return self.folder / name

    def all(self, owner: str | None = None) -> list[Job]:
        """The runs, the latest first; with `owner` only that one's, and none of nobody's ("")."""
        found = []
        for path in self.folder.glob(f"*/{JOB}"):
            with suppress(SerdemoError, UsageError):  # half deleted, or not ours
                found.append(self.job(path.parent.name))
        kept = [job for job in found if owner is None or (owner and job.owner == owner)]
        return sorted(kept, key=lambda job: -job.asked)

    def job(self, name: str) -> Job:
        """A run by name; raises SerdemoError when there is none."""
        path = self.path(name) / JOB
        if not path.exists():
            raise SerdemoError(f"There is no run {name}.")
        try:
            values = read_json(path)
            return Job(**{**values, "name": name, "arguments": tuple(values["arguments"])})
        except (TypeError, KeyError) as problem:
            raise SerdemoError(f"{JOB} of the run {name} is damaged.") from problem

    def state(self, job: Job) -> State:
        """What has become of a run. Only its process and its last event decide."""
        if job.withdrawn:
            return "withdrawn"
        if not job.pid and not job.ended:
            return "waiting"
        if not job.ended and process.alive(job.pid, job.born):
            return "stopping" if job.stopping else "running"
        last = self.last(job)
        if isinstance(last, Finished):
            return "finished"
        return "stopped" if isinstance(last, Stopped) else "failed"

    def last(self, job: Job) -> Event | None:
        """The last event of its present process."""
        last = events.last(self.path(job.name) / EVENTS)
        return last if last is not None and last.time >= job.began else None

    def why(self, job: Job) -> str:
        """Why a run failed, in a sentence: its own, else the end of its log."""
        last = self.last(job)
        if isinstance(last, Failed):
            return last.message
        lines = [line.strip() for line in self.log(job).splitlines() if line.strip()]
        if lines and (lines[-1].startswith(TOLD) or any(x.startswith("Traceback") for x in lines)):
            return lines[-1].removeprefix(TOLD)
        if job.ended:
            return "The page that carried it out was closed."
        if job.stopping:
            return "It did not stop by itself, and was ended."
        return "It was ended from outside, or the machine went off."

    def log(self, job: Job) -> str:
        """The end of what its process said."""
        return process.log_tail(self.path(job.name) / LOG)

    def place(self, job: Job) -> int:
        """How many runs are before it in the queue."""
        states = [(self.state(one), one.asked) for one in self.all()]
        before = [s for s, asked in states if s != "waiting" or asked < job.asked]
        return sum(state not in OVER for state in before)

    def unnamed(self) -> list[Path]:
        """The folders of uploads that no run names."""
        named = " ".join(word for job in self.all() for word in job.arguments)
        return [folder for folder in self.uploads.glob("*") if folder.name not in named]
