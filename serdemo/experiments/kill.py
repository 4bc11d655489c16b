"""What a kill costs: the training run killed at random moments, and the page that watches it.

A run is begun by the page, on a small corpus, and killed as by `kill -9`. Then what was saved
must still be there, the page must say that it broke off, and Resume must go on from it. When the
page is killed, the run must go on, and the page that is started next must say so.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

import click
import psutil
import soundfile

from serdemo.audio.waveform import SAMPLE_RATE
from serdemo.cli.benchmarks.page_client import Page, served
from serdemo.cli.options import JSON, number_option, print_figures
from serdemo.inference.speed import speech_samples
from serdemo.nn import checkpoint
from serdemo.nn.checkpoint_files import bundled_checkpoint
from serdemo.runs import process as runs_process
from serdemo.runs.job import Job
from serdemo.runs.queue import JobQueue
from serdemo.runs.request import SplitChoice, TrainingRequest
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import recovered_path
from serdemo.training.events import EVENTS, Event, Saved, Started, Step, read

SPEAKERS, EMOTIONS, TAKES, CLIP_S = 4, ("angry", "happy", "sad"), 3, 0.8
PATIENCE_S = 120.0  # for what takes some seconds
LATEST_S = 8.0  # after a process has begun or made a step, at which it is killed
RUN, NAME = "finetune-run", "killed"


@dataclass
class Tally:
    """What happened: kills, steps that were done again, seconds until the page told the truth, and
    the faults, each in a sentence."""

    run_kills: int = 0
    page_kills: int = 0
    resumed: int = 0
    repeated: list[int] = field(default_factory=list)
    told_s: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Figures, ready for JSON."""
        return {
            "run_kills": self.run_kills,
            "page_kills": self.page_kills,
            "resumed": self.resumed,
            "steps_repeated": {"mean": _mean(self.repeated), "most": max(self.repeated, default=0)},
            "told_s": {"mean": _mean(self.told_s), "most": round(max(self.told_s, default=0), 2)},
            "faults": self.faults,
        }


def kill(runs: int, pages: int, seed: int = 0) -> dict[str, Any]:
    """Kill a run `runs` times and its page `pages` times at random moments; `faults` is empty where
    all was as it must be. Raises SerdemoError when the page cannot be started or does not answer."""
    rng, tally = random.Random(seed), Tally()
    with TemporaryDirectory(ignore_cleanup_errors=True) as place:
        jobs = JobQueue(Path(place) / "runs")
        _asked(jobs, _corpus(Path(place) / "voices"))
        try:
            with _page(jobs) as (page, _):
                page.happen("click", RUN, at="finetune-resume", finetune_runs=NAME)
                for number in range(runs):
                    if number % 4 != 1:  # one in four is killed before it trains
                        _step(jobs)
                    time.sleep(rng.uniform(0, LATEST_S))
                    _kill_run(page, jobs, tally)
            for _ in range(pages):
                _kill_page(jobs, rng.uniform(0, LATEST_S), tally)
            with _page(jobs) as (page, _):
                _ended(page, jobs, tally)
        finally:
            for job in jobs.all():
                runs_process.kill_tree(job.pid, job.born)
    return tally.to_json()


def _asked(jobs: JobQueue, corpus: Path) -> None:
    """A run for the page to begin, long enough for all kills, that saves at every epoch."""
    small = {"epochs": 10_000, "batch_size": 6, "workers": 0, "threads": 1}
    request = TrainingRequest(
        "supervised",
        (str(corpus),),
        SplitChoice(valid="speaker3", test="none"),
        {"init_from": str(bundled_checkpoint()), **small},
        stop_after=1800.0,
    )
    jobs.write(Job(NAME, request, queued_at=time.time(), withdrawn=True))


def _kill_run(page: Page, jobs: JobQueue, tally: Tally) -> None:
    """Kill the run, look at what is left, and let it go on."""
    job = _running(jobs)
    psutil.Process(job.pid).kill()
    killed = time.monotonic()
    tally.run_kills += 1
    _until(lambda: not runs_process.alive(job.pid, job.born), "the process ended")
    _until(lambda: _state(page) == "failed", "the page said that the run broke off", tally)
    tally.told_s.append(time.monotonic() - killed)
    before = _left(jobs, tally)
    if "Broke off" not in page.happen("load", RUN):
        tally.faults.append("The page did not say that the run broke off.")
    page.happen("click", RUN, at="finetune-resume", finetune_runs=NAME)
    _until(lambda: jobs.job(NAME).pid not in (0, job.pid), "the run was begun again", tally)
    begun = _begun(jobs)
    if begun.resumed_step < before:
        tally.faults.append(f"Saved at step {before}, it went on from {begun.resumed_step}.")
    steps = [e.step for e in _events(jobs) if isinstance(e, Step) and e.time < begun.time]
    tally.repeated.append(max(0, max(steps, default=0) - begun.resumed_step))
    tally.resumed += 1


def _left(jobs: JobQueue, tally: Tally) -> int:
    """The last step that the log calls saved, once what was saved is proved to be whole."""
    events = _events(jobs)
    saved = [event for event in events if isinstance(event, Saved)]
    place = jobs.path(NAME)
    try:
        state = checkpoint.load_state(place / "resume")
        step = state[1]["at"]["step"] if state else 0
        if saved and step < saved[-1].step:
            tally.faults.append(f"Step {saved[-1].step} was called saved, and {step} is there.")
        if any(event.best for event in saved) or recovered_path(place / "checkpoint").exists():
            checkpoint.load(place / "checkpoint")
    except (SerdemoError, KeyError, TypeError) as problem:
        tally.faults.append(f"What was saved cannot be read: {problem}")
    return saved[-1].step if saved else 0


def _kill_page(jobs: JobQueue, wait_s: float, tally: Tally) -> None:
    """Kill a page while the run goes on; the next page must find it running."""
    with _page(jobs) as (page, process):
        if _state(page) != "running":
            tally.faults.append("A page that was started did not find the run running.")
        time.sleep(wait_s)
        psutil.Process(process).kill()
    tally.page_kills += 1
    job = _running(jobs)
    seen = len(_events(jobs))
    if not runs_process.alive(job.pid, job.born):
        tally.faults.append("The run ended with its page.")
    _until(lambda: len(_events(jobs)) > seen, "the run went on without its page", tally)


def _ended(page: Page, jobs: JobQueue, tally: Tally) -> None:
    """Stop the run through the page, which must then say so."""
    _step(jobs)
    page.happen("load", RUN)
    page.happen("click", RUN, at="finetune-stop", finetune_runs=NAME)
    _until(lambda: _state(page) == "stopped", "the page said that the run stopped", tally)
    _left(jobs, tally)


@contextmanager
def _page(jobs: JobQueue) -> Iterator[tuple[Page, int]]:
    """A page over the runs, and the number of its process."""
    with served(SERDEMO_RUNS=str(jobs.folder)) as (address, process):
        assert process is not None
        page = Page(address)
        page.happen("load", RUN)  # as a browser does, which tells it what can be chosen
        yield page, process


def _state(page: Page) -> str:
    """What the page says of the run; "" where it is too busy to answer."""
    with suppress(SerdemoError):
        if found := re.search(r'data-state="(\w+)"', page.happen("load", RUN)):
            return found[1]
    return ""


def _running(jobs: JobQueue) -> Job:
    """The run, once it has a process."""
    _until(lambda: any(job.pid for job in jobs.all()), "the run was begun")
    return jobs.all()[0]


def _step(jobs: JobQueue) -> None:
    """Wait until its present process has made a step."""
    began = _begun(jobs).time
    _until(lambda: any(isinstance(e, Step) and e.time > began for e in _events(jobs)), "it trained")


def _begun(jobs: JobQueue) -> Started:
    """How its present process began to train, once it has."""
    found: list[Started] = []

    def look() -> bool:
        job = _running(jobs)
        of_now = [e for e in _events(jobs) if isinstance(e, Started) and e.time > job.started_at]
        found.extend(of_now)
        return bool(of_now)

    _until(look, "the run was at work")
    return found[-1]


def _events(jobs: JobQueue) -> list[Event]:
    return list(read(jobs.path(NAME) / EVENTS))


def _until(happened: Callable[[], bool], what: str, tally: Tally | None = None) -> None:
    """Wait for what must happen; where it does not, that is a fault, or with no tally the end."""
    end = time.monotonic() + PATIENCE_S
    while not happened():
        if time.monotonic() > end:
            sentence = f"It was waited {PATIENCE_S:.0f} s in vain until {what}."
            if tally is None:
                raise SerdemoError(sentence)
            tally.faults.append(sentence)
            return
        time.sleep(0.1)


def _corpus(folder: Path) -> Path:
    """A few short clips of several speakers and emotions, cut from the example voices."""
    clips = iter(speech_samples(SPEAKERS * len(EMOTIONS) * TAKES))
    for speaker in range(SPEAKERS):
        for emotion in EMOTIONS:
            place = folder / f"speaker{speaker}" / emotion
            place.mkdir(parents=True)
            for take in range(TAKES):
                samples = next(clips).samples[: round(CLIP_S * SAMPLE_RATE)]
                soundfile.write(place / f"{speaker}-{emotion}-{take}.wav", samples, SAMPLE_RATE)
    return folder


def _mean(values: list[Any]) -> float:
    return round(mean(values), 2) if values else 0.0


@click.command("kill")
@number_option("--runs", 10, 0, 1000, "Kills of the run.")
@number_option("--pages", 10, 0, 1000, "Kills of the page.")
@click.option("--seed", default=0, show_default=True, help="Seed of the moments.")
@JSON
def command(runs: int, pages: int, seed: int, as_json: bool) -> None:
    """Kill a training run and its page at random moments; fail if saved work is lost or misreported."""
    figures = kill(runs, pages, seed)
    faults = figures["faults"]
    print_figures({**figures, "faults": faults if as_json else len(faults)}, as_json)
    if faults:
        raise SerdemoError(" ".join(faults))
