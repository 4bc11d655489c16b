"""A ZeroGPU Space: a GPU is lent to a function for some minutes, and belongs to nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from serdemo.events import Step
from serdemo.jobs import Job, Jobs

if TYPE_CHECKING:
    from serdemo.events import Event

MOST_MINUTES = 4.0  # to train; a Space lends five at most
AROUND_S = 50.0  # to read clips before, and to score after
LEAST_BETWEEN_S = 0.5  # of what is told of a run

Train = Callable[[Sequence[str], float], "Iterator[Event]"]


def here() -> bool:
    """Whether this is such a Space."""
    lends = os.environ.get("SPACES_ZERO_GPU", "").lower() not in ("", "0", "f", "false", "no")
    return lends and bool(os.environ.get("SPACE_ID"))


def page_device() -> str:
    """Where the page's own models answer: without a loan, a GPU that is lent cannot be used."""
    return "cpu" if here() else "auto"


def lent() -> Train | None:
    """On such a Space, training with a GPU lent to it: the events of `train` with some arguments in
    at most so many seconds, after which it has stopped and can go on. None elsewhere.

    The Space looks for such a function when it starts, before torch is used.
    """
    if not here():
        return None
    import spaces

    def train(arguments: Sequence[str], seconds: float) -> Iterator[Event]:
        from serdemo.commands.train import happening

        limit = f"{max(1.0, seconds - AROUND_S / 2):g}"
        told = 0.0
        for event in happening([*arguments, "--stop-after", limit]):
            if not isinstance(event, Step) or time.monotonic() - told > LEAST_BETWEEN_S:
                told = time.monotonic()
                yield event

    found: Train = spaces.GPU(duration=lambda arguments, seconds: round(seconds))(train)
    return found


def carried_out(train: Train, jobs: Jobs, job: Job, minutes: float) -> Iterator[Event]:
    """Carry a run out on a lent GPU; its folder tells all of it, as that of any run.

    Raises SerdemoError for what cannot be trained, and what the Space says where it lends nothing.
    """
    seconds = 60 * min(minutes, MOST_MINUTES) + AROUND_S
    with jobs.inside(job):
        yield from train(jobs.command(job)[1:], seconds)
