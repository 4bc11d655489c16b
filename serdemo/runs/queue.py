"""The queue of training runs: each a child process of its own, one at a time.

All that is known of a job lies in its folder, for any process that starts later. A run outlives the
process that started it.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from filelock import FileLock

from serdemo.runs import process
from serdemo.runs.job import LOG, OVER, Job, JobStore
from serdemo.runs.request import TrainingRequest
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import make_folder, write_json, write_text
from serdemo.training.events import STOP_FILE, clear_stop

CACHE, REQUEST = "cache", "request.json"  # in a job's folder
STOP_TIMEOUT_S = 60.0  # from the request to stop until the process is killed; a step may be long
TICK_S = 0.3

log = logging.getLogger(__name__)


class JobQueue(JobStore):
    """Queue of the jobs below a folder. At least one process must watch it for waiting jobs to start;
    whoever submits one does."""

    _watching = False

    def submit(self, name: str, request: TrainingRequest, owner: str = "") -> Job:
        """Queue a training run; raises UsageError when there is one of that name, SerdemoError when the disk is
        full."""
        with self._lock():
            return self._enqueue(Job(name, request, owner))

    def resume(self, name: str) -> Job:
        """Queue a job that is over to go on from its last saved state; raises UsageError as `rerun` does."""
        with self._lock():
            return self._enqueue(self.rerun(name))

    def rerun(self, name: str) -> Job:
        """A job, not queued yet, that resumes one that is over; raises UsageError for any other."""
        job = self.job(name)
        if (state := self.state(job)) not in OVER or state == "finished":
            raise UsageError(f"{name} is {state}: there is nothing to resume.")
        return Job(name, replace(job.request, resume=True), job.owner)

    def start_watcher(self) -> None:
        """Keep the queue moving from a thread of this process until it is empty or the disk full."""
        if not self._watching and self.folder.is_dir():
            with suppress(SerdemoError, OSError), self._lock():
                self._watch()

    @contextmanager
    def in_process(self, job: Job) -> Iterator[TrainingRequest]:
        """Context manager for a job that this process carries out itself, an error going to its log; yields the
        request to run. Raises as `submit` does."""
        pid, born = process.current_process()
        with self._lock():
            job = replace(self._checked(job), queued_at=time.time())
            self.write(replace(job, pid=pid, born=born, in_process=True))
            clear_stop(self.path(job.name))
        try:
            yield self.resolved_request(job)
        except Exception as problem:
            self.log_error(job, problem)
            raise
        finally:
            with self._lock(), suppress(SerdemoError):
                self.write(replace(self.job(job.name), ended_at=time.time()))

    def stop(self, name: str) -> None:
        """Take a job out of the queue, or have its process save and stop."""
        with self._lock():
            job = self.job(name)
            if (state := self.state(job)) == "waiting":
                self.write(replace(job, withdrawn=True))
            elif state == "running":
                write_text(self.path(name) / STOP_FILE, "")
                self.write(replace(job, stop_requested_at=time.time()))
            self._watch()

    def delete(self, name: str) -> None:
        """Delete a run's folder, and the uploads that no other run trains on; raises UsageError while it
        runs."""
        with self._lock():
            if self.state(self.job(name)) not in OVER:
                raise UsageError(f"{name} still runs: stop it first.")
            self._delete(name)

    def discard(self, name: str) -> bool:
        """End a run at once and delete it as `delete` does; returns whether it is gone. One that another
        process carries out itself is stopped, and can be deleted later."""
        with self._lock():
            job = self.job(name)
            if job.in_process and self.state(job) not in OVER:
                write_text(self.path(name) / STOP_FILE, "")
                return False
            process.kill_tree(job.pid, job.born)
            self._delete(name)
            return True

    def delete_unfinished(self) -> None:
        """Delete the folders of runs that a process was killed while making."""
        with self._lock():
            for folder in self.folder.glob(".*.part"):
                shutil.rmtree(folder, ignore_errors=True)

    def _delete(self, name: str) -> None:
        orphaned = set(self.orphaned_uploads())
        shutil.rmtree(self.path(name), ignore_errors=True)
        for folder in set(self.orphaned_uploads()) - orphaned:
            shutil.rmtree(folder, ignore_errors=True)

    def tick(self) -> bool:
        """Start the next job if none runs, and kill what does not stop; returns whether any is left."""
        with self._lock():
            states = self.states()
            active = [(job, state) for job, state in states if state in ("running", "stopping")]
            for job, state in active:
                late = time.time() - job.stop_requested_at > STOP_TIMEOUT_S
                if state == "stopping" and late and not job.in_process:
                    process.kill_tree(job.pid, job.born)
            waiting = [job for job, state in states if state == "waiting"]
            if waiting and not active:
                self._start_process(min(waiting, key=lambda job: job.queued_at))
            # Inside the lock: whoever submits a job after this starts a new thread.
            self._watching = self._watching and bool(active or waiting)
            return bool(active or waiting)

    def resolved_request(self, job: Job) -> TrainingRequest:
        """A job's request with its folder; a visitor's run caches features in it, to be deleted with it."""
        path, request = self.path(job.name), job.request
        if job.owner:
            from serdemo.data.array_cache import CacheOptions
            from serdemo.training import recipes

            if CacheOptions in recipes.get(request.recipe).groups:
                options = {**request.options, "cache": str(path / CACHE)}
                return replace(request, options=options, run_dir=path)
        return replace(request, run_dir=path)

    def _enqueue(self, job: Job) -> Job:
        job = replace(self._checked(job), queued_at=time.time())
        self.write(job)
        self._watch()
        return job

    def _checked(self, job: Job) -> Job:
        if self.path(job.name).exists() and not job.request.resume:
            raise UsageError(f"There is a run {job.name} already: choose another name.")
        return job

    def _start_process(self, job: Job) -> None:
        """Start a job's process, and kill it where its number cannot be written: another would follow it."""
        path, child = self.path(job.name), (0, 0.0)
        try:
            self.write(job)  # where that fails already, nothing is started
            clear_stop(path)
            write_json(path / REQUEST, self.resolved_request(job).to_json())
            child = process.start(["train", "from-request", str(path / REQUEST)], path / LOG)
            self.write(replace(job, pid=child[0], born=child[1]))
        except (SerdemoError, OSError) as problem:
            process.kill_tree(*child)
            self.log_error(job, problem)
            self.write(replace(job, ended_at=time.time()))

    def _lock(self) -> FileLock:
        """A lock on the queue that all processes respect."""
        make_folder(self.folder)
        return FileLock(self.folder / ".queue.lock", thread_local=False)

    def _watch(self) -> None:
        if not self._watching:
            self._watching = True
            threading.Thread(target=self._tick_until_empty, name="runs", daemon=True).start()

    def _tick_until_empty(self) -> None:
        try:
            while self.tick():
                time.sleep(TICK_S)
        except (SerdemoError, OSError) as problem:
            # Such as a full disk: the next `start_watcher` tries again.
            log.warning("The queue of runs stands still: %s", problem)
            self._watching = False
