"""Kill a training run and its page at random moments, and check that nothing saved is lost.

The page starts a run on a small corpus, which is killed with SIGKILL. Its saved state must then be
readable, the page must report the failure, and Resume must continue from that state. When the page
is killed, the run must continue, and the next page must show it as running.
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
from serdemo.cli.options import JSON, number_option, print_figures
from serdemo.experiments.kill_visits import kill_visits
from serdemo.experiments.page_client import Page, served
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
TIMEOUT_S = 120.0  # for events that take some seconds
MAX_DELAY_S = 8.0  # from the start of a process, or a step, to its kill
RUN, NAME = "finetune-run", "killed"


@dataclass
class KillReport:
    """Counts of kills, steps repeated after each, seconds until the page showed it, and faults."""

    run_kills: int = 0
    page_kills: int = 0
    resumed: int = 0
    repeated_steps: list[int] = field(default_factory=list)
    shown_after_s: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Figures, ready for JSON."""
        return {
            "run_kills": self.run_kills,
            "page_kills": self.page_kills,
            "resumed": self.resumed,
            "steps_repeated": {
                "mean": _mean(self.repeated_steps),
                "most": max(self.repeated_steps, default=0),
            },
            "told_s": {
                "mean": _mean(self.shown_after_s),
                "most": round(max(self.shown_after_s, default=0), 2),
            },
            "faults": self.faults,
        }


def kill(runs: int, pages: int, seed: int = 0) -> dict[str, Any]:
    """Kill a run `runs` times and its page `pages` times at random moments.

    `faults` lists violations in sentences. Raises SerdemoError when the page cannot be started or does
    not respond.
    """
    rng, report = random.Random(seed), KillReport()
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        jobs = JobQueue(Path(folder) / "runs")
        _queue_run(jobs, _make_corpus(Path(folder) / "clips"))
        try:
            with _page(jobs) as (page, _):
                page.happen("click", RUN, at="finetune-resume", finetune_runs=NAME)
                for index in range(runs):
                    if index % 4 != 1:  # one in four is killed before it trains
                        _wait_for_step(jobs)
                    time.sleep(rng.uniform(0, MAX_DELAY_S))
                    _kill_run(page, jobs, report)
            for _ in range(pages):
                _kill_page(jobs, rng.uniform(0, MAX_DELAY_S), report)
            with _page(jobs) as (page, _):
                _stop(page, jobs, report)
        finally:
            for job in jobs.all():
                runs_process.kill_tree(job.pid, job.born)
    return report.to_json()


def _queue_run(jobs: JobQueue, corpus: Path) -> None:
    """Add a withdrawn run to the queue that is long enough for all kills and saves at every epoch."""
    options = {"epochs": 10_000, "batch_size": 6, "workers": 0, "threads": 1}
    request = TrainingRequest(
        "supervised",
        (str(corpus),),
        SplitChoice(valid="speaker3", test="none"),
        {"init_from": str(bundled_checkpoint()), **options},
        stop_after=1800.0,
    )
    jobs.write(Job(NAME, request, queued_at=time.time(), withdrawn=True))


def _kill_run(page: Page, jobs: JobQueue, report: KillReport) -> None:
    """Kill the run, check its saved state, and resume it."""
    job = _running_job(jobs)
    psutil.Process(job.pid).kill()
    killed = time.monotonic()
    report.run_kills += 1
    _until(lambda: not runs_process.alive(job.pid, job.born), "the process ended")
    _until(lambda: _state(page) == "failed", "the page said that the run broke off", report)
    report.shown_after_s.append(time.monotonic() - killed)
    last_saved = saved_step(jobs, report)
    if "Broke off" not in page.happen("load", RUN):
        report.faults.append("The page did not say that the run broke off.")
    page.happen("click", RUN, at="finetune-resume", finetune_runs=NAME)
    _until(lambda: jobs.job(NAME).pid not in (0, job.pid), "the run was begun again", report)
    started = _started(jobs)
    if started.resumed_step < last_saved:
        report.faults.append(f"Saved at step {last_saved}, it went on from {started.resumed_step}.")
    steps = [e.step for e in _events(jobs) if isinstance(e, Step) and e.time < started.time]
    report.repeated_steps.append(max(0, max(steps, default=0) - started.resumed_step))
    report.resumed += 1


def saved_step(jobs: JobQueue, report: KillReport) -> int:
    """The last step that the log reports as saved; checks that state and checkpoint are readable."""
    events = _events(jobs)
    saved = [event for event in events if isinstance(event, Saved)]
    run_dir = jobs.path(NAME)
    try:
        state = checkpoint.load_state(run_dir / "resume")
        step = state[1]["at"]["step"] if state else 0
        if saved and step < saved[-1].step:
            report.faults.append(
                f"Step {saved[-1].step} was reported as saved, and {step} is there."
            )
        if any(event.best for event in saved) or recovered_path(run_dir / "checkpoint").exists():
            checkpoint.load(run_dir / "checkpoint")
    except (SerdemoError, KeyError, TypeError) as problem:
        report.faults.append(f"What was saved cannot be read: {problem}")
    return saved[-1].step if saved else 0


def _kill_page(jobs: JobQueue, wait_s: float, report: KillReport) -> None:
    """Kill a page during the run, which must continue."""
    with _page(jobs) as (page, process):
        if _state(page) != "running":
            report.faults.append("A page that was started did not find the run running.")
        time.sleep(wait_s)
        psutil.Process(process).kill()
    report.page_kills += 1
    job = _running_job(jobs)
    n_events = len(_events(jobs))
    if not runs_process.alive(job.pid, job.born):
        report.faults.append("The run ended with its page.")
    _until(lambda: len(_events(jobs)) > n_events, "the run went on without its page", report)


def _stop(page: Page, jobs: JobQueue, report: KillReport) -> None:
    """Stop the run through the page, which must show it as stopped."""
    _wait_for_step(jobs)
    page.happen("load", RUN)
    page.happen("click", RUN, at="finetune-stop", finetune_runs=NAME)
    _until(lambda: _state(page) == "stopped", "the page said that the run stopped", report)
    saved_step(jobs, report)


@contextmanager
def _page(jobs: JobQueue) -> Iterator[tuple[Page, int]]:
    """A page that shows the runs, and its process id."""
    with served(SERDEMO_RUNS=str(jobs.folder)) as (address, process):
        assert process is not None
        page = Page(address)
        page.happen("load", RUN)  # as a browser does, so that its lists are filled
        yield page, process


def _state(page: Page) -> str:
    """State of the run as the page shows it; "" where it is too busy to respond."""
    with suppress(SerdemoError):
        if match := re.search(r'data-state="(\w+)"', page.happen("load", RUN)):
            return match[1]
    return ""


def _running_job(jobs: JobQueue) -> Job:
    """Wait until the run has a process."""
    _until(lambda: any(job.pid for job in jobs.all()), "the run was begun")
    return jobs.all()[0]


def _wait_for_step(jobs: JobQueue) -> None:
    """Wait until the run's present process has made a step."""
    began = _started(jobs).time
    _until(lambda: any(isinstance(e, Step) and e.time > began for e in _events(jobs)), "it trained")


def _started(jobs: JobQueue) -> Started:
    """Wait until the run's present process trains; its first event."""
    starts: list[Started] = []

    def has_started() -> bool:
        job = _running_job(jobs)
        events = _events(jobs)
        starts.extend(e for e in events if isinstance(e, Started) and e.time > job.started_at)
        return bool(starts)

    _until(has_started, "the run was at work")
    return starts[-1]


def _events(jobs: JobQueue) -> list[Event]:
    return list(read(jobs.path(NAME) / EVENTS))


def _until(condition: Callable[[], bool], event: str, report: KillReport | None = None) -> None:
    """Wait for a condition; on a timeout add a fault to `report`, or raise SerdemoError without one."""
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > end:
            sentence = f"Timeout after {TIMEOUT_S:.0f} s, before {event}."
            if report is None:
                raise SerdemoError(sentence)
            report.faults.append(sentence)
            return
        time.sleep(0.1)


def _make_corpus(folder: Path) -> Path:
    """Write short clips of several speakers and emotions, cut from the examples."""
    clips = iter(speech_samples(SPEAKERS * len(EMOTIONS) * TAKES))
    for speaker in range(SPEAKERS):
        for emotion in EMOTIONS:
            class_folder = folder / f"speaker{speaker}" / emotion
            class_folder.mkdir(parents=True)
            for take in range(TAKES):
                samples = next(clips).samples[: round(CLIP_S * SAMPLE_RATE)]
                soundfile.write(
                    class_folder / f"{speaker}-{emotion}-{take}.wav", samples, SAMPLE_RATE
                )
    return folder


def _mean(values: list[Any]) -> float:
    return round(mean(values), 2) if values else 0.0


@click.command("kill")
@number_option("--runs", 10, 0, 1000, "Kills of the run.")
@number_option("--pages", 10, 0, 1000, "Kills of the page.")
@number_option("--visits", 0, 0, 1000, "Kills of a page that visitors use, in place of the others.")
@click.option("--seed", default=0, show_default=True, help="Seed of the moments.")
@JSON
def command(runs: int, pages: int, visits: int, seed: int, as_json: bool) -> None:
    """Kill a training run and its page at random moments; fail if saved work is lost or misreported, or with
    --visits if anything of a visitor is left after the next start."""
    figures = kill_visits(visits, seed) if visits else kill(runs, pages, seed)
    faults = figures["faults"]
    print_figures({**figures, "faults": faults if as_json else len(faults)}, as_json)
    if faults:
        raise SerdemoError(" ".join(faults))
