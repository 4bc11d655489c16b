"""Runs as child processes: the queue, the truth about their state, and what outlives what."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from serdemo.nn import checkpoint
from serdemo.runs import process
from serdemo.runs.job import JOB, OVER, Job, queue_position
from serdemo.runs.queue import JobQueue
from serdemo.runs.request import SplitChoice, TrainingRequest
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.training.events import EVENTS, TAIL_BYTES, Started, Step, Stopped, read, to_line

ROOT = Path(process.__file__).parents[2]


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobQueue]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    found = JobQueue(tmp_path / "runs")
    yield found
    for job in found.all():
        process.kill_tree(job.pid, job.born)


@pytest.fixture
def request_(tiny_values: dict[str, Any], corpus_root: Path) -> TrainingRequest:
    """A run that takes some seconds."""
    split = SplitChoice(valid="cleo", test="none")
    options = {**tiny_values, "epochs": 3}
    return TrainingRequest("supervised", (str(corpus_root),), split, options)


def with_options(request: TrainingRequest, **options: Any) -> TrainingRequest:
    return replace(request, options={**request.options, **options})


ANY = TrainingRequest("supervised", ("clips",))


def until(jobs: JobQueue, name: str, *states: str, seconds: float = 60) -> str:
    """The state of a run once it is one of those."""
    end = time.monotonic() + seconds
    while (state := jobs.state(jobs.job(name))) not in states:
        assert time.monotonic() < end, f"{name} is {state}: {jobs.log_tail(jobs.job(name))}"
        time.sleep(0.05)
    return state


def stepping(jobs: JobQueue, name: str, steps: int = 1) -> None:
    """Wait until a run has made steps in its present process."""
    end = time.monotonic() + 60
    while True:
        events = list(read(jobs.path(name) / EVENTS))
        begun = [n for n, event in enumerate(events) if isinstance(event, Started)]
        born = jobs.job(name).born
        own = events[begun[-1] :] if begun and events[begun[-1]].time > born - 1 else []
        if sum(isinstance(event, Step) for event in own) >= steps:
            return
        assert time.monotonic() < end, jobs.log_tail(jobs.job(name))
        time.sleep(0.02)


@pytest.mark.slow
def test_one_after_another(jobs: JobQueue, request_: TrainingRequest) -> None:
    jobs.submit("first", request_, "me")
    jobs.submit("second", request_, "you")
    jobs.submit("third", request_)
    until(jobs, "first", "running")
    assert [queue_position(jobs.job(name), jobs.states()) for name in ("second", "third")] == [1, 2]
    assert [job.name for job in jobs.all()] == ["third", "second", "first"]
    assert [job.name for job in jobs.all("you")] == ["second"]
    assert jobs.all("") == []  # nobody's are those of whoever sits here
    jobs.stop("third")
    assert jobs.state(jobs.job("third")) == "withdrawn"
    assert until(jobs, "first", *OVER) == "finished"
    assert jobs.state(jobs.job("second")) in ("waiting", "running")
    assert until(jobs, "second", *OVER) == "finished"
    for name in ("first", "second"):
        checkpoint.load(jobs.path(name) / "checkpoint")
    assert jobs.state(jobs.job("third")) == "withdrawn"
    jobs.delete("third")
    assert len(jobs.all()) == 2


@pytest.mark.slow
def test_what_a_visitors_run_keeps_of_clips_goes_with_it(
    jobs: JobQueue, request_: TrainingRequest, sources: dict[str, Path]
) -> None:
    frozen = {"encoder": "hubert", "source": str(sources["hubert"]), "freeze": "all"}
    once = with_options(request_, **frozen, layer_pooling="last", cache_features=True)
    own, theirs = jobs.submit("own", request_), jobs.submit("theirs", once, owner="anna")
    assert "cache" not in jobs.resolved_request(own).options
    assert until(jobs, "theirs", "finished", "failed") == "finished", jobs.log_tail(theirs)
    assert list((jobs.path("theirs") / "cache").glob("frames-*/*.f16.npy"))
    jobs.delete("theirs")
    assert not jobs.path("theirs").exists()
    voices = Job("voices", TrainingRequest("speaker", ("clips",)), "anna")
    assert "cache" not in jobs.resolved_request(voices).options


@pytest.mark.slow
def test_stop_saves_and_resume_goes_on(jobs: JobQueue, request_: TrainingRequest) -> None:
    jobs.submit("run", with_options(request_, epochs=10_000))
    stepping(jobs, "run", 3)
    began = time.monotonic()
    jobs.stop("run")
    assert jobs.state(jobs.job("run")) in ("stopping", "stopped")
    assert until(jobs, "run", *OVER) == "stopped"
    assert time.monotonic() - began < 20
    steps = sum(isinstance(event, Step) for event in read(jobs.path("run") / EVENTS))
    jobs.resume("run")
    until(jobs, "run", "running")
    stepping(jobs, "run", 2)
    (*_, last) = (e for e in read(jobs.path("run") / EVENTS) if isinstance(e, Started))
    assert last.resumed_step == steps
    with pytest.raises(UsageError, match="nothing to resume"):
        jobs.resume("run")
    with pytest.raises(UsageError, match="still runs"):
        jobs.delete("run")
    jobs.stop("run")
    assert until(jobs, "run", *OVER) == "stopped"
    jobs.delete("run")
    assert not jobs.path("run").exists()


@pytest.mark.slow
def test_a_killed_run_is_told_and_can_go_on(jobs: JobQueue, request_: TrainingRequest) -> None:
    jobs.submit("run", with_options(request_, epochs=10_000))
    stepping(jobs, "run", 10)
    psutil.Process(jobs.job("run").pid).kill()
    assert until(jobs, "run", *OVER) == "failed"
    assert "ended from outside" in jobs.failure_reason(jobs.job("run"))
    jobs.resume("run")
    until(jobs, "run", "running")
    stepping(jobs, "run", 2)
    jobs.stop("run")
    assert until(jobs, "run", *OVER) == "stopped"


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that runs are, in this test such as heed nothing and make nothing."""
    begun: list[subprocess.Popen[bytes]] = []

    def start(arguments: list[str], log: Path) -> tuple[int, float]:
        begun.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))
        return begun[-1].pid, psutil.Process(begun[-1].pid).create_time()

    monkeypatch.setattr(process, "start", start)
    return begun


@pytest.mark.slow
def test_what_does_not_stop_is_ended_and_told(
    jobs: JobQueue, deaf: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.submit("run", ANY)
    until(jobs, "run", "running")
    jobs.stop("run")
    time.sleep(1)
    assert jobs.state(jobs.job("run")) == "stopping"  # a step may be long
    monkeypatch.setattr("serdemo.runs.queue.STOP_TIMEOUT_S", 0.0)
    assert until(jobs, "run", *OVER, seconds=20) == "failed"
    deaf[0].wait(5)
    assert jobs.failure_reason(jobs.job("run")) == "It did not stop by itself, and was ended."


@pytest.mark.slow
def test_what_cannot_be_begun_is_told_and_the_next_begins(
    jobs: JobQueue, deaf: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = process.start

    def refused(arguments: list[str], log: Path) -> tuple[int, float]:
        if log.parent.name == "first":
            raise SerdemoError("The run could not be started: too many of them.")
        return start(arguments, log)

    monkeypatch.setattr(process, "start", refused)
    for name in ("first", "second"):
        jobs.submit(name, ANY)
    assert until(jobs, "second", "running") == "running"
    assert jobs.state(jobs.job("first")) == "failed"
    assert (
        jobs.failure_reason(jobs.job("first")) == "The run could not be started: too many of them."
    )
    assert jobs.rerun("first").request == replace(ANY, resume=True)


@pytest.mark.slow
def test_no_process_goes_on_that_is_not_known(
    jobs: JobQueue, deaf: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    write, full = jobs.write, True

    def written(job: Job) -> None:
        if full and (job.pid or job.ended_at):
            raise SerdemoError("job.json could not be written: No space left on device.")
        write(job)

    monkeypatch.setattr(jobs, "write", written)
    jobs.submit("run", ANY)
    end = time.monotonic() + 20
    while not deaf or jobs._watching:
        assert time.monotonic() < end
        time.sleep(0.05)
    deaf[0].wait(5)  # ended at once
    assert len(deaf) == 1 and jobs.state(jobs.job("run")) == "waiting"
    full = False
    jobs.start_watcher()
    until(jobs, "run", "running")
    assert [one.poll() for one in deaf[1:]] == [None]


@pytest.mark.slow
def test_who_asks_as_the_queue_runs_empty_is_heard(
    tmp_path: Path, deaf: list[subprocess.Popen[bytes]]
) -> None:
    class Late(JobQueue):
        """Another asks after the queue was found empty, and before its thread ends."""

        def tick(self) -> bool:
            left = super().tick()
            if not left and not self.path("late").exists():
                self.submit("late", ANY)
                time.sleep(0.5)
            return left

    late = Late(tmp_path / "runs")
    late.submit("run", ANY)
    until(late, "run", "running")
    deaf[0].kill()
    deaf[0].wait()
    end = time.monotonic() + 20
    while not late.path("late").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    assert until(late, "late", "running") == "running"
    deaf[1].kill()
    deaf[1].wait()


def test_the_end_of_a_run_is_read_from_the_end_of_its_log(
    jobs: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = jobs.path("run") / EVENTS
    path.parent.mkdir(parents=True)
    steps = "".join(to_line(Step("supervised", 0, n, 1.0, {}, 0.1, 1, 1)) for n in range(900))
    path.write_text(steps + to_line(Stopped(900, "as asked", 1.0)) + '{"event": "St', "utf-8")
    assert path.stat().st_size > TAIL_BYTES
    monkeypatch.setattr("serdemo.training.events.read", None)
    told = jobs.last_event(Job("run", ANY))
    assert isinstance(told, Stopped) and told.step == 900
    path.write_text("{no\n", encoding="utf-8")
    assert jobs.last_event(Job("run", ANY)) is None


ASKER = """
import json
import sys
from pathlib import Path
from serdemo.runs.queue import JobQueue
from serdemo.runs.request import TrainingRequest
jobs = JobQueue(Path(sys.argv[1]))
request = TrainingRequest.from_json(json.loads(sys.argv[2]))
jobs.submit("run", request)
jobs.submit("next", request)
while jobs.state(jobs.job("run")) != "running":
    pass
print("running", flush=True)
input()
"""


@pytest.mark.slow
def test_a_run_outlives_who_began_it(
    jobs: JobQueue, request_: TrainingRequest, tmp_path: Path
) -> None:
    script = tmp_path / "asker.py"
    script.write_text(ASKER, encoding="utf-8")
    asker = subprocess.Popen(
        [sys.executable, str(script), str(jobs.folder), json.dumps(request_.to_json())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert asker.stdout is not None
    assert asker.stdout.readline() == "running\n"
    asker.kill()
    asker.wait()
    assert until(jobs, "run", *OVER) == "finished"
    assert jobs.state(jobs.job("next")) == "waiting"  # nobody is there to begin it
    jobs.start_watcher()  # as the page does when it is looked at
    assert until(jobs, "next", *OVER) == "finished"


@pytest.mark.slow
def test_what_cannot_run_says_why(jobs: JobQueue, request_: TrainingRequest) -> None:
    jobs.submit("run", with_options(request_, learning_rate=7.0))
    assert until(jobs, "run", *OVER) == "failed"
    assert jobs.failure_reason(jobs.job("run")).startswith("--learning-rate must lie between")


@pytest.mark.parametrize("name", ["../out", "a/b", "", ".hidden", "x" * 101, "a\\b"])
def test_names_stay_in_the_folder(jobs: JobQueue, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a run"):
        jobs.submit(name, ANY)


def test_what_is_not_there_and_what_is(jobs: JobQueue) -> None:
    with pytest.raises(SerdemoError, match="There is no run gone"):
        jobs.job("gone")
    (jobs.folder / "taken").mkdir(parents=True)
    with pytest.raises(UsageError, match="There is a run taken already"):
        jobs.submit("taken", ANY)
    (jobs.folder / "taken" / JOB).write_text('{"odd": 1}', encoding="utf-8")
    assert jobs.all() == []
    with pytest.raises(SerdemoError, match="is damaged"):
        jobs.job("taken")


def test_a_job_of_version_0_1_is_listed_and_can_go_on(jobs: JobQueue) -> None:
    (jobs.folder / "old").mkdir(parents=True)
    words = "train supervised --corpus emodb,/my/clips --valid 0.15 --test none --workers 0"
    words += " --budget-minutes 2.5 --no-balanced --hear-once --start runs/a"
    old = {
        "name": "old",
        "arguments": words.split(),
        "owner": "anna",
        "asked": 5.0,
        "pid": 2**22 + 1,
    }
    old |= {"born": 6.0, "withdrawn": False, "stopping": 7.0, "inside": False, "ended": 0.0}
    (jobs.folder / "old" / JOB).write_text(json.dumps(old), encoding="utf-8")
    (job,) = jobs.all("anna")
    assert (job.queued_at, job.stop_requested_at, jobs.state(job)) == (5.0, 7.0, "failed")
    assert job.request == TrainingRequest(
        "supervised",
        ("emodb", "/my/clips"),
        SplitChoice(valid="0.15", test="none"),
        {
            **{"workers": 0, "budget_minutes": 2.5, "balanced": False, "cache_features": True},
            "init_from": "runs/a",
        },
    )
    assert jobs.rerun("old").request == replace(job.request, resume=True)


def test_a_later_process_of_the_same_number_is_another() -> None:
    own = psutil.Process(os.getpid())
    assert process.alive(own.pid, own.create_time())
    assert not process.alive(own.pid, own.create_time() - 60)
    process.kill_tree(own.pid, own.create_time() - 60)  # not this one
    with suppress(psutil.Error):
        assert not process.alive(2**22 + 1, 0.0)
