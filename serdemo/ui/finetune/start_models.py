"""What a run of Fine-tune begins with: a shipped model, none, one at hand, one of the hub."""

from __future__ import annotations

from pathlib import Path

from serdemo.nn import checkpoint_files
from serdemo.nn.checkpoint_files import DESCRIPTION
from serdemo.runs.job import Job
from serdemo.runs.queue import JobQueue
from serdemo.schema.errors import SerdemoError
from serdemo.ui.shell import visitor_store

SCRATCH, SHIPPED = "from scratch", "the shipped model"
TITLES = {"shipped": "{}, shipped too", "run": "{}", "imported": "{}, imported"}


def listed(jobs: JobQueue, owner: str | None) -> list[tuple[str, str]]:
    """What a visitor's run can begin with, each as a title and the key that `folder` takes.

    A run of the page is among them once it is over and has left a model.
    """
    written = {job.name for job in jobs.all() if not leaves_model(jobs, job)}
    own = [
        (TITLES[entry.origin].format(entry.name), entry.key)
        for entry in visitor_store.registry_for(owner).entries()
        if entry.key != checkpoint_files.SHIPPED
        and not (entry.origin == "run" and entry.name in written)
    ]
    return [(SHIPPED, SHIPPED), (SCRATCH, SCRATCH), *own]


def folder(key: str, jobs: JobQueue, owner: str | None) -> Path | None:
    """The checkpoint that a key means, None for no checkpoint; raises SerdemoError where it is gone."""
    if key == SCRATCH:
        return None
    if key == SHIPPED:
        return checkpoint_files.bundled_checkpoint()
    if key not in [one for _, one in listed(jobs, owner)]:
        raise SerdemoError(f"There is no model {key} to begin with any more.")
    return visitor_store.registry_for(owner).get(key).folder


def fetch(repo: str, owner: str | None) -> str:
    """Put a model of the hub on a visitor's shelf; returns its key.

    Raises SerdemoError as `shelf.pull_in` does.
    """
    return visitor_store.import_from_hub(repo, owner).key


def leaves_model(jobs: JobQueue, job: Job) -> bool:
    """Whether a run is over and has left a model behind."""
    there = (jobs.path(job.name) / "checkpoint" / DESCRIPTION).exists()
    return there and jobs.state(job) in ("finished", "stopped")
