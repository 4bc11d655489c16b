"""Runs as child processes: the queue, the truth about their state, and what outlives what."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from serdemo.nn import checkpoint
from serdemo.runs import process
from serdemo.runs.job import JOB, OVER, Job
from serdemo.runs.queue import Jobs
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.training.events import EVENTS, TAIL_BYTES, Started, Step, Stopped, read, to_line

ROOT = Path(process.__file__).parents[2]


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    found = Jobs(tmp_path / "runs")
    yield found
    for job in found.all():
        process.kill_tree(job.pid, job.born)


@pytest.fixture
def arguments(tiny_values: dict[str, Any], corpus_root: Path) -> list[str]:
    """A run that takes some seconds."""
    given = [f"--{name.replace('_', '-')}={value}" for name, value in tiny_values.items()]
    split = ["--valid", "cleo", "--test", "none", "--epochs", "3"]
    return ["train", "supervised", "--corpus", str(corpus_root), *given, *split]


def until(jobs: Jobs, name: str, *states: str, seconds: float = 60) -> str:
    """The state of a run once it is one of those."""
    end = time.monotonic() + seconds
    while (state := jobs.state(jobs.job(name))) not in states:
        assert time.monotonic() < end, f"{name} is {state}: {jobs.log(jobs.job(name))}"
        time.sleep(0.05)
    return state


def stepping(jobs: Jobs, name: str, steps: int = 1) -> None:
    """Wait until a run has made steps in its present process."""
    end = time.monotonic() + 60
    while True:
        events = list(read(jobs.path(name) / EVENTS))
        begun = [n for n, event in enumerate(events) if isinstance(event, Started)]
        born = jobs.job(name).born
        own = events[begun[-1] :] if begun and events[begun[-1]].time > born - 1 else []
        if sum(isinstance(event, Step) for event in own) >= steps:
            return
        assert time.monotonic() < end, jobs.log(jobs.job(name))
        time.sleep(0.02)


@pytest.mark.slow
def test_one_after_another(jobs: Jobs, arguments: list[str]) -> None:
    jobs.ask("first", arguments, "me")
    jobs.ask("second", arguments, "you")
    jobs.ask("third", arguments)
    until(jobs, "first", "running")
    assert [jobs.place(jobs.job(name)) for name in ("second", "third")] == [1, 2]
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
    jobs: Jobs, arguments: list[str], sources: dict[str, Path]
) -> None:
    frozen = ["--encoder", "hubert", "--source", str(sources["hubert"]), "--freeze", "all"]
    once = [*arguments, *frozen, "--mix", "last", "--hear-once"]
    mine, theirs = jobs.ask("mine", arguments), jobs.ask("theirs", once, owner="anna")
    assert "--cache" not in jobs.command(mine)
    assert until(jobs, "theirs", "finished", "failed") == "finished", jobs.log(theirs)
    assert list((jobs.path("theirs") / "cache").glob("frames-*/*.f16"))
    jobs.delete("theirs")
    assert not jobs.path("theirs").exists()
    assert "--cache" not in jobs.command(Job("voices", ("train", "speaker"), "anna"))


@pytest.mark.slow
def test_stop_saves_and_resume_goes_on(jobs: Jobs, arguments: list[str]) -> None:
    jobs.ask("run", [*arguments, "--epochs", "10000"])
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
def test_a_killed_run_is_told_and_can_go_on(jobs: Jobs, arguments: list[str]) -> None:
    jobs.ask("run", [*arguments, "--epochs", "10000"])
    stepping(jobs, "run", 10)
    psutil.Process(jobs.job("run").pid).kill()
    assert until(jobs, "run", *OVER) == "failed"
    assert "ended from outside" in jobs.why(jobs.job("run"))
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
    jobs: Jobs, deaf: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.ask("run", ["train"])
    until(jobs, "run", "running")
    jobs.stop("run")
    time.sleep(1)
    assert jobs.state(jobs.job("run")) == "stopping"  # a step may be long
    monkeypatch.setattr("serdemo.runs.queue.PATIENCE_S", 0.0)
    assert until(jobs, "run", *OVER, seconds=20) == "failed"
    assert deaf[0].wait(5) != 0
    assert jobs.why(jobs.job("run")) == "It did not stop by itself, and was ended."


@pytest.mark.slow
def test_what_cannot_be_begun_is_told_and_the_next_begins(
    jobs: Jobs, deaf: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = process.start

    def refused(arguments: list[str], log: Path) -> tuple[int, float]:
        if log.parent.name == "first":
            raise SerdemoError("The run could not be started: too many of them.")
        return start(arguments, log)

    monkeypatch.setattr(process, "start", refused)
    for name in ("first", "second"):
        jobs.ask(name, ["train"])
    assert until(jobs, "second", "running") == "running"
    assert jobs.state(jobs.job("first")) == "failed"
    assert jobs.why(jobs.job("first")) == "The run could not be started: too many of them."
    assert jobs.again("first").arguments == ("train", "--resume")


@pytest.mark.slow
def test_no_process_goes_on_that_is_not_known(
    jobs: Jobs, deaf: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    write, full = jobs._write, True

    def written(job: Job) -> None:
        if full and (job.pid or job.ended):
            raise SerdemoError("job.json could not be written: No space left on device.")
        write(job)

    monkeypatch.setattr(jobs, "_write", written)
    jobs.ask("run", ["train"])
    end = time.monotonic() + 20
    while not deaf or jobs._watching:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert deaf[0].wait(5) != 0  # ended at once
    assert len(deaf) == 1 and jobs.state(jobs.job("run")) == "waiting"
    full = False
    jobs.watch()
    until(jobs, "run", "running")
    assert [one.poll() for one in deaf[1:]] == [None]


@pytest.mark.slow
def test_who_asks_as_the_queue_runs_empty_is_heard(
    tmp_path: Path, deaf: list[subprocess.Popen[bytes]]
) -> None:
    class Late(Jobs):
        """Another asks after the queue was found empty, and before its thread ends."""

        def pump(self) -> bool:
            left = super().pump()
            if not left and not self.path("late").exists():
                self.ask("late", ["train"])
                time.sleep(0.5)
            return left

    late = Late(tmp_path / "runs")
    late.ask("run", ["train"])
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
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = jobs.path("run") / EVENTS
    path.parent.mkdir(parents=True)
    steps = "".join(to_line(Step("supervised", 0, n, 1.0, {}, 0.1, 1, 1)) for n in range(900))
    path.write_text(steps + to_line(Stopped(900, "as asked", 1.0)) + '{"event": "St', "utf-8")
    assert path.stat().st_size > TAIL_BYTES
    monkeypatch.setattr("serdemo.training.events.read", None)
    told = jobs.last(Job("run", ()))
    assert isinstance(told, Stopped) and told.step == 900
    path.write_text("{no\n", encoding="utf-8")
    assert jobs.last(Job("run", ())) is None


ASKER = """
import sys
from pathlib import Path
from serdemo.runs.queue import Jobs
jobs = Jobs(Path(sys.argv[1]))
jobs.ask("run", sys.argv[2:])
jobs.ask("next", sys.argv[2:])
while jobs.state(jobs.job("run")) != "running":
    pass
print("running", flush=True)
input()
"""


@pytest.mark.slow
def test_a_run_outlives_who_began_it(jobs: Jobs, arguments: list[str], tmp_path: Path) -> None:
    script = tmp_path / "asker.py"
    script.write_text(ASKER, encoding="utf-8")
    asker = subprocess.Popen(
        [sys.executable, str(script), str(jobs.folder), *arguments],
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
    jobs.watch()  # as the page does when it is looked at
    assert until(jobs, "next", *OVER) == "finished"


@pytest.mark.slow
def test_what_cannot_run_says_why(jobs: Jobs, arguments: list[str]) -> None:
    jobs.ask("run", [*arguments, "--learning-rate", "7"])
    assert until(jobs, "run", *OVER) == "failed"
    assert jobs.why(jobs.job("run")).startswith("--learning-rate must lie between")


@pytest.mark.parametrize("name", ["../out", "a/b", "", ".hidden", "x" * 101, "a\\b"])
def test_names_stay_in_the_folder(jobs: Jobs, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a run"):
        jobs.ask(name, ["train"])


def test_what_is_not_there_and_what_is(jobs: Jobs) -> None:
    with pytest.raises(SerdemoError, match="There is no run gone"):
        jobs.job("gone")
    (jobs.folder / "taken").mkdir(parents=True)
    with pytest.raises(UsageError, match="There is a run taken already"):
        jobs.ask("taken", ["train"])
    (jobs.folder / "taken" / JOB).write_text('{"odd": 1}', encoding="utf-8")
    assert jobs.all() == []
    with pytest.raises(SerdemoError, match="is damaged"):
        jobs.job("taken")


def test_a_later_process_of_the_same_number_is_another() -> None:
    own = psutil.Process(os.getpid())
    assert process.alive(own.pid, own.create_time())
    assert not process.alive(own.pid, own.create_time() - 60)
    process.kill_tree(own.pid, own.create_time() - 60)  # not this one
    with suppress(psutil.Error):
        assert not process.alive(2**22 + 1, 0.0)
