"""Training runs as child processes of the command line: one at a time, the others in a queue.

All that is known of a run lies in its folder, for whoever starts later: what was asked for in
`job.json`, what its process said in `log.txt`. A run outlives the process that began it.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

from filelock import FileLock

from serdemo.runs import process
from serdemo.runs.job import JOB as JOB
from serdemo.runs.job import LOG as LOG
from serdemo.runs.job import OVER as OVER
from serdemo.runs.job import TOLD, JobStore
from serdemo.runs.job import Job as Job
from serdemo.runs.job import State as State
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import make_folder, write_json
from serdemo.training.events import STOP_FILE

CACHE = "cache"  # in the folder of a visitor's run
PATIENCE_S = 60.0  # from asking to stop until the process is ended; a step may be long

log = logging.getLogger(__name__)


class Jobs(JobStore):
    """The queue of the runs below a folder, which moves while any process with one of these watches."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._watching = False

    def ask(self, name: str, arguments: Sequence[str], owner: str = "") -> Job:
        """Put a run in the queue; it starts at once when nothing else runs.

        Raises UsageError when there is a run of that name, SerdemoError when the disk is full.
        """
        with self._alone():
            return self._queue(self._new(Job(name, tuple(arguments), owner)))

    def watch(self) -> None:
        """Keep the queue moving from a thread of this process while there is anything in it, and the
        disk lets it."""
        if not self._watching and self.folder.is_dir():
            with suppress(SerdemoError, OSError), self._alone():
                self._watch()

    def resume(self, name: str) -> Job:
        """Put a run that is over in the queue once more; it goes on from its last saved state.

        Raises UsageError as `again` does.
        """
        with self._alone():
            return self._queue(self.again(name))

    def again(self, name: str) -> Job:
        """A run that is over, as it is asked for to go on.

        Raises UsageError when it still runs or has nothing to go on from.
        """
        job = self.job(name)
        if (state := self.state(job)) not in OVER or state == "finished":
            raise UsageError(f"{name} is {state}: there is nothing to resume.")
        kept = tuple(a for a in job.arguments if a != "--resume")
        return Job(name, (*kept, "--resume"), job.owner)

    @contextmanager
    def inside(self, job: Job) -> Iterator[Job]:
        """Carry a run out in this process: it runs as long as the block does, and an error that ends
        that is told in its log. Raises UsageError where there is such a run, but to resume it."""
        job, path = Job(job.name, job.arguments, job.owner, time.time()), self.path(job.name)
        pid, born = process.current_process()
        with self._alone():
            self._write(replace(self._new(job), pid=pid, born=born, inside=True))
            (path / STOP_FILE).unlink(missing_ok=True)
        try:
            yield job
        except Exception as problem:
            self._say(job, problem)
            raise
        finally:
            with self._alone(), suppress(SerdemoError):
                self._write(replace(self.job(job.name), ended=time.time()))

    def stop(self, name: str) -> None:
        """Take a run out of the queue, or ask its process to save and stop."""
        with self._alone():
            job = self.job(name)
            if (state := self.state(job)) == "waiting":
                self._write(replace(job, withdrawn=True))
            elif state == "running":
                try:
                    (self.path(name) / STOP_FILE).touch()
                except OSError as problem:
                    raise SerdemoError(f"{name} was not told: {problem.strerror}.") from problem
                self._write(replace(job, stopping=time.time()))
            self._watch()

    def delete(self, name: str) -> None:
        """Remove a run with all that it made, and what was sent for it alone; raises UsageError while
        it runs."""
        with self._alone():
            if self.state(self.job(name)) not in OVER:
                raise UsageError(f"{name} still runs: stop it first.")
            free = set(self.unnamed())
            shutil.rmtree(self.path(name), ignore_errors=True)
            for folder in set(self.unnamed()) - free:
                shutil.rmtree(folder, ignore_errors=True)

    def pump(self) -> bool:
        """Start what is next, and end what does not stop; whether anything is left to do."""
        with self._alone():
            jobs = [(job, self.state(job)) for job in self.all()]
            active = [(job, state) for job, state in jobs if state in ("running", "stopping")]
            for job, state in active:
                late = time.time() - job.stopping
                if state == "stopping" and late > PATIENCE_S and not job.inside:
                    process.kill_tree(job.pid, job.born)
            waiting = [job for job, state in jobs if state == "waiting"]
            if waiting and not active:
                self._start(min(waiting, key=lambda job: job.asked))
            # Told while nobody can ask for a run: whoever does then begins to watch anew.
            self._watching = self._watching and bool(active or waiting)
            return bool(active or waiting)

    def command(self, job: Job) -> list[str]:
        """The command line's arguments, with the run's folder.

        What a visitor's run keeps of the clips lies in that folder, and goes with it.
        """
        path = self.path(job.name)
        told = [*job.arguments, "--run", str(path)]
        if job.owner:
            from serdemo.data.array_cache import CacheOptions
            from serdemo.training import recipes

            if CacheOptions in recipes.get(job.arguments[1]).groups:
                told += ["--cache", str(path / CACHE)]
        return told

    def _new(self, job: Job) -> Job:
        if self.path(job.name).exists() and "--resume" not in job.arguments:
            raise UsageError(f"There is a run {job.name} already: choose another name.")
        return job

    def _queue(self, job: Job) -> Job:
        job = Job(job.name, job.arguments, job.owner, time.time())
        self._write(job)
        self._watch()
        return job

    def _write(self, job: Job) -> None:
        make_folder(self.path(job.name))
        write_json(self.path(job.name) / JOB, asdict(job))

    def _say(self, job: Job, problem: Exception) -> None:
        with suppress(OSError), (self.path(job.name) / LOG).open("a", encoding="utf-8") as said:
            said.write(f"{TOLD}{' '.join(str(problem).split())}\n")

    def _start(self, job: Job) -> None:
        """Begin its process, but none whose number cannot be kept: a second one would follow it."""
        path, begun = self.path(job.name), (0, 0.0)
        try:
            self._write(job)  # where that fails already, nothing is begun
            (path / STOP_FILE).unlink(missing_ok=True)
            begun = process.start(self.command(job), path / LOG)
            self._write(replace(job, pid=begun[0], born=begun[1]))
        except (SerdemoError, OSError) as problem:
            process.kill_tree(*begun)
            self._say(job, problem)
            self._write(replace(job, ended=time.time()))

    def _alone(self) -> FileLock:
        """Nobody else may change the queue meanwhile."""
        make_folder(self.folder)
        return FileLock(self.folder / ".queue.lock", thread_local=False)

    def _watch(self) -> None:
        if not self._watching:
            self._watching = True
            threading.Thread(target=self._keep_moving, name="runs", daemon=True).start()

    def _keep_moving(self) -> None:
        try:
            while self.pump():
                time.sleep(0.3)
        except (SerdemoError, OSError) as problem:
            # Such as a full disk: whoever looks next has it tried again.
            log.warning("The queue of runs stands still: %s", problem)
            self._watching = False
