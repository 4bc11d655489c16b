"""The models that a run of Fine-tune can begin with: a shipped one, none, or one at hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from serdemo.nn import checkpoint_files
from serdemo.nn.checkpoint_files import DESCRIPTION
from serdemo.runs.job import Job, JobStore, State
from serdemo.schema.errors import SerdemoError
from serdemo.ui.shell import visitor_store

SCRATCH, SHIPPED = "from scratch", "the shipped model"
TITLES = {"shipped": "{}, shipped too", "run": "{}", "imported": "{}, imported"}


def choices(
    jobs: JobStore, owner: str | None, states: Sequence[tuple[Job, State]] | None = None
) -> list[tuple[str, str]]:
    """The title and key of each model that a visitor's run can begin with.

    A job's model is among them once the job is over. `states` are those of all jobs, where they are known.
    """
    unfinished = {
        job.name
        for job, state in (jobs.states() if states is None else states)
        if not leaves_model(jobs, job, state)
    }
    own = [
        (TITLES[entry.origin].format(entry.name), entry.key)
        for entry in visitor_store.registry_for(owner).entries()
        if entry.key != checkpoint_files.SHIPPED
        and not (entry.origin == "run" and entry.name in unfinished)
    ]
    return [(SHIPPED, SHIPPED), (SCRATCH, SCRATCH), *own]


def folder(key: str, jobs: JobStore, owner: str | None) -> Path | None:
    """The checkpoint of a key, None for no checkpoint; raises SerdemoError where it is gone."""
    if key == SCRATCH:
        return None
    if key == SHIPPED:
        return checkpoint_files.bundled_checkpoint()
    if key not in [known for _, known in choices(jobs, owner)]:
        raise SerdemoError(f"There is no model {key} to begin with any more.")
    return visitor_store.registry_for(owner).get(key).folder


def leaves_model(jobs: JobStore, job: Job, state: State) -> bool:
    """Whether a job is over and has left a model."""
    checkpoint = jobs.path(job.name) / "checkpoint" / DESCRIPTION
    return state in ("finished", "stopped") and checkpoint.exists()
