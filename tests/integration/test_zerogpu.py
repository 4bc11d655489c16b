"""A ZeroGPU Space, played by a small stand-in for its `spaces` module: what is lent, and for how long."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import gradio as gr
import pytest
from support import space_package as space
from support.command import ROOT

from serdemo.nn import checkpoint
from serdemo.runs.job import Job
from serdemo.runs.queue import JobQueue
from serdemo.runs.request import SplitChoice, TrainingRequest
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.training.events import EVENTS, EpochEnd, Finished, Started, Step, Stopped, read
from serdemo.ui.finetune import new_run
from serdemo.ui.shell import zerogpu


@pytest.fixture
def spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """This machine as a ZeroGPU Space."""
    monkeypatch.syspath_prepend(space.put(tmp_path))
    for name, value in space.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delitem(sys.modules, "spaces", raising=False)
    import spaces  # type: ignore[import-not-found, unused-ignore]

    yield spaces
    sys.modules.pop("spaces", None)


@pytest.fixture
def jobs(tmp_path: Path) -> JobQueue:
    return JobQueue(tmp_path / "runs")


@pytest.fixture
def job(tiny_values: dict[str, Any], corpus_root: Path) -> Job:
    split = SplitChoice(valid="cleo", test="none")
    request = TrainingRequest("supervised", (str(corpus_root),), split, tiny_values)
    return Job("run", request, "me")


def with_options(job: Job, **options: Any) -> Job:
    return replace(job, request=replace(job.request, options={**job.request.options, **options}))


def longer(job: Job) -> Job:
    return with_options(job, epochs=10_000)


def test_elsewhere_nothing_is_lent_and_nothing_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for told in (
        {},
        {"SPACE_ID": "me/x"},
        {"SPACES_ZERO_GPU": "true"},
        {"SPACE_ID": "me/x", "SPACES_ZERO_GPU": "false"},
    ):
        for name in ("SPACE_ID", "SPACES_ZERO_GPU"):
            monkeypatch.delenv(name, raising=False)
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        assert zerogpu.gpu_train_function() is None
        assert zerogpu.page_device() == "auto"
    assert "spaces" not in sys.modules


def test_a_run_on_a_lent_gpu_is_a_run_like_any(spaces: Any, jobs: JobQueue, job: Job) -> None:
    assert zerogpu.page_device() == "cpu"
    train = zerogpu.gpu_train_function()
    assert train is not None
    states = set()
    for event in new_run.start(job, jobs, train):
        states.add(jobs.state(jobs.job("run")))
        last = event
    assert spaces.lent == [60]  # half of what a visitor without an account has in a day
    assert isinstance(last, Finished)
    assert states == {"running"}
    own = jobs.job("run")
    assert (jobs.state(own), own.owner, own.in_process) == ("finished", "me", True)
    assert list(read(jobs.path("run") / EVENTS))[-1] == last
    assert checkpoint.load(jobs.path("run") / "checkpoint")[1].name == "run"
    assert not jobs.tick()  # nothing is left to do
    with pytest.raises(UsageError, match="There is a run run already"):
        list(new_run.start(job, jobs, train))


@pytest.mark.slow
def test_it_ends_in_time_and_goes_on_later(
    spaces: Any, jobs: JobQueue, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = zerogpu.gpu_train_function()
    assert train is not None
    (*_, last) = new_run.start(longer(job), jobs, train, 26.0)
    assert isinstance(last, Stopped) and "after 1 s" in last.reason
    assert jobs.state(jobs.job("run")) == "stopped"
    steps = sum(isinstance(event, Step) for event in read(jobs.path("run") / EVENTS))
    happened = list(new_run.start(jobs.rerun("run"), jobs, train, 26.0))
    begun = next(event for event in happened if isinstance(event, Started))
    assert begun.resumed_step == steps
    assert jobs.state(jobs.job("run")) == "stopped"
    monkeypatch.setattr(zerogpu, "SCORING_S", 99.0)
    list(new_run.start(jobs.rerun("run"), jobs, zerogpu.gpu_train_function(), 290.0))
    assert spaces.lent == [26, 26, 100]


def test_stop_stops_it_and_not_the_page(spaces: Any, jobs: JobQueue, job: Job) -> None:
    told = []
    for event in new_run.start(longer(job), jobs, zerogpu.gpu_train_function()):
        if isinstance(event, EpochEnd) and not told:
            jobs.stop("run")
            told.append(jobs.state(jobs.job("run")))
        last = event
    assert told == ["stopping"]
    assert isinstance(last, Stopped) and last.reason == "asked to stop"
    assert jobs.state(jobs.job("run")) == "stopped"


def test_a_loan_that_ends_early_is_told_and_the_run_goes_on(
    spaces: Any, jobs: JobQueue, job: Job
) -> None:
    train = zerogpu.gpu_train_function()
    spaces.most.append(3)
    with pytest.raises(SerdemoError, match=r"took its GPU back .* press Resume"):
        list(new_run.start(job, jobs, train))
    broken = jobs.job("run")
    assert jobs.state(broken) == "failed"
    assert "took its GPU back" in str(jobs.failure_reason(broken))
    spaces.most.clear()
    (*_, last) = new_run.start(jobs.rerun("run"), jobs, train)
    assert isinstance(last, Finished)
    assert jobs.state(jobs.job("run")) == "finished"


# As the package `spaces` 0.51 says it: title, message.
REFUSED = {
    "You can log in there for more, or come back in 3:12:05.": (
        "ZeroGPU quota exceeded",
        "You have exceeded your ZeroGPU quota (60s requested vs. 12s left). Try again in 3:12:05. ",
    ),
    "You can ask for fewer seconds, log in there for more, or come back in 1 day, 0:10:00.": (
        "ZeroGPU quota exceeded",
        "You have exceeded your free ZeroGPU quota (100s requested vs. 64s left). "
        "Try again in 1 day, 0:10:00. Subscribe to Hugging Face PRO to get 40 min of quota a day",
    ),
    "is used up. You can log in there for more, or come back tomorrow.": (
        "ZeroGPU quota exceeded",
        "Space app has reached its GPU limit. Try re-running outside of examples if it happened",
    ),
    "The Space lends nobody a GPU for so long: ask for fewer seconds.": (
        "ZeroGPU illegal duration",
        "The requested GPU duration (290s) is larger than the maximum allowed",
    ),
    "No GPU is free just now": (
        "ZeroGPU queue timeout",
        'No GPU was available after 60s. <a href="https://huggingface.co/join">Create</a> one.',
    ),
    "The Space lends no GPU (Expired ZeroGPU proxy token): reload the page": (
        "ZeroGPU client error",
        "Expired ZeroGPU proxy token",
    ),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_a_refused_loan_is_told_in_a_sentence_and_can_be_tried_again(
    spaces: Any, jobs: JobQueue, job: Job, sentence: str
) -> None:
    train = zerogpu.gpu_train_function()
    title, message = REFUSED[sentence]
    spaces.refused.append(gr.Error(message, title=title, print_exception=False))
    with pytest.raises(SerdemoError) as raised:
        list(new_run.start(job, jobs, train))
    assert sentence in str(raised.value)
    assert "<" not in str(raised.value) and "\n" not in str(raised.value)
    assert jobs.failure_reason(jobs.job("run")) == str(raised.value)
    (*_, last) = new_run.start(jobs.rerun("run"), jobs, train)
    assert isinstance(last, Finished)


def test_a_visitor_who_leaves_ends_it(spaces: Any, jobs: JobQueue, job: Job) -> None:
    happening = new_run.start(longer(job), jobs, zerogpu.gpu_train_function())
    next(happening)
    assert jobs.state(jobs.job("run")) == "running"
    happening.close()  # type: ignore[attr-defined]
    assert jobs.state(jobs.job("run")) == "failed"
    assert jobs.failure_reason(jobs.job("run")) == "The page that carried it out was closed."


def test_what_cannot_be_trained_is_a_sentence(spaces: Any, jobs: JobQueue, job: Job) -> None:
    for number, wrong in enumerate(({"learning_rate": 7.0}, {"no_such": 1})):
        bad = replace(with_options(job, **wrong), name=f"run{number}")
        with pytest.raises(SerdemoError) as raised:
            list(new_run.start(bad, jobs, zerogpu.gpu_train_function()))
        assert "\n" not in str(raised.value)
        assert jobs.failure_reason(jobs.job(bad.name)) == str(raised.value)


@pytest.mark.slow
def test_the_page_finds_what_it_is_lent_when_it_starts(spaces: Any, tmp_path: Path) -> None:
    code = (
        "import sys, app, spaces\n"
        "sliders = [b for b in app.demo.blocks.values() if getattr(b, 'label', '') =="
        " 'Seconds of a GPU to borrow']\n"
        "assert [(s.value, s.maximum) for s in sliders] == [(60.0, 100.0)], sliders\n"
        "public = [f.api_name for f in app.demo.fns.values() if f.api_visibility != 'private']\n"
        "assert public[:4] == ['predict', 'embed', 'compare', 'models'], public\n"
        "assert 'torch' not in sys.modules\n"
    )
    path = os.pathsep.join([str(tmp_path / "lib"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
