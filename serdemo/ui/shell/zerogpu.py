"""ZeroGPU Spaces, which lend a GPU to a single function for some seconds."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import gradio as gr

from serdemo.runs.job import Job
from serdemo.runs.queue import JobQueue
from serdemo.runs.request import TrainingRequest
from serdemo.schema import settings
from serdemo.schema.errors import SerdemoError
from serdemo.training.events import Step

if TYPE_CHECKING:
    from serdemo.training.events import Event

# A Space lends a visitor without an account two minutes a day, and nothing where less is left than
# is asked for.
DEFAULT_S, MIN_S, MAX_S = 60.0, 40.0, 100.0  # seconds to ask for
SCORING_S = 25.0  # of them, after training
MIN_BETWEEN_S = 0.5  # between the steps that reach the page

GpuTrain = Callable[[TrainingRequest, float], "Iterator[Event]"]


def is_zerogpu() -> bool:
    """Whether this process runs in a ZeroGPU Space."""
    return settings.on_zerogpu_space()


def page_device() -> str:
    """The device of the page's own models: the CPU in a ZeroGPU Space, whose GPU is for training."""
    return "cpu" if is_zerogpu() else "auto"


def training_s(seconds: float) -> float:
    """The part of a GPU loan of so many seconds that is for decoding and training."""
    return max(1.0, seconds - SCORING_S)


def gpu_train_function() -> GpuTrain | None:
    """The function that trains on a lent GPU: it carries out a request in at most so many seconds and yields
    its events. None outside a ZeroGPU Space.

    It must be created when the page starts, before torch is used.
    """
    if not is_zerogpu():
        return None
    import spaces

    def train(request: TrainingRequest, seconds: float) -> Iterator[Event]:
        from serdemo.runs import training_run

        last_s = 0.0
        for event in training_run.run(replace(request, stop_after=training_s(seconds))):
            if not isinstance(event, Step) or time.monotonic() - last_s > MIN_BETWEEN_S:
                last_s = time.monotonic()
                yield event

    on_gpu: GpuTrain = spaces.GPU(duration=lambda request, seconds: round(seconds))(train)
    return on_gpu


def run_on_gpu(train: GpuTrain, jobs: JobQueue, job: Job, seconds: float) -> Iterator[Event]:
    """Carry out a job on a GPU lent for so many seconds; its folder is as that of any run.

    Raises SerdemoError for what cannot be trained, and where the Space lends no GPU.
    """
    with jobs.in_process(job) as request:
        try:
            yield from train(request, min(seconds, MAX_S))
        except gr.Error as problem:
            raise allocation_error(problem) from problem


def allocation_error(problem: gr.Error) -> SerdemoError:
    """An error of the package `spaces` (quota, duration, queue, worker) as one sentence with a remedy."""
    message = " ".join(re.sub(r"<[^>]*>", "", str(problem.message)).split())
    title = str(getattr(problem, "title", ""))
    text = f"{title} {message}".lower()
    if "quota" in text or "gpu limit" in text or "runs limit" in text:
        seconds = re.search(r"(\d+)s requested vs\. (-?\d+)s left", message)
        left = max(0, int(seconds[2])) if seconds else 0
        spent = f": {seconds[1]} s were asked for and {left} s are left" if seconds else ""
        retry = re.search(r"try again in ([\w:, ]+\w)", message, re.IGNORECASE)
        then = f"come back in {retry[1]}" if retry else "come back tomorrow"
        less = "ask for fewer seconds, " if left >= MIN_S else ""
        return SerdemoError(
            f"The GPU time that Hugging Face lends you today is used up{spent}."
            f" You can {less}log in there for more, or {then}."
        )
    if "duration" in text:
        return SerdemoError("The Space lends nobody a GPU for so long: ask for fewer seconds.")
    if "no gpu" in text or "queue" in text or "pending" in text:
        return SerdemoError("No GPU is free just now: press Resume in a few minutes.")
    if "worker" in text or "aborted" in text:
        return SerdemoError(
            "The Space took its GPU back before the run was over: press Resume, and it goes on from"
            " what it saved last."
        )
    return SerdemoError(
        f"The Space lends no GPU ({message or title}): reload the page and try again."
    )
