"""Runs and pages killed at random moments: what the command `bench kill` finds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from support.command import here

from serdemo.experiments import kill as kill_bench
from serdemo.experiments.kill import NAME, KillReport
from serdemo.nn import checkpoint
from serdemo.runs.queue import JobQueue
from serdemo.training.events import EVENTS, Saved, to_line


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("CI"), reason="takes a minute or more: CI alone runs it")
def test_a_kill_loses_nothing_that_was_saved() -> None:
    figures = here("bench", "kill", "--runs", "1", "--pages", "1", "--json").json()
    assert figures["faults"] == []
    assert (figures["run_kills"], figures["resumed"], figures["page_kills"]) == (1, 1, 1)


@pytest.fixture
def jobs(tmp_path: Path) -> JobQueue:
    """A run whose log says that step 5 was saved, with the model."""
    jobs = JobQueue(tmp_path / "runs")
    jobs.path(NAME).mkdir(parents=True)
    (jobs.path(NAME) / EVENTS).write_text(to_line(Saved(5, True)), encoding="utf-8")
    return jobs


def keep(jobs: JobQueue, step: int, tiny_checkpoint: Path) -> None:
    checkpoint.save_state(jobs.path(NAME) / "resume", {"a": torch.ones(9)}, {"at": {"step": step}})
    model, described = checkpoint.load(tiny_checkpoint)
    checkpoint.save(jobs.path(NAME) / "checkpoint", model, described)


def test_a_lost_step_is_a_fault(jobs: JobQueue, tiny_checkpoint: Path) -> None:
    keep(jobs, 5, tiny_checkpoint)
    report = KillReport()
    assert kill_bench.saved_step(jobs, report) == 5
    assert report.faults == []
    keep(jobs, 3, tiny_checkpoint)
    kill_bench.saved_step(jobs, report)
    assert report.faults == ["Step 5 was reported as saved, and 3 is there."]


@pytest.mark.parametrize("part", ["resume/state.safetensors", "checkpoint/model.safetensors"])
def test_a_truncated_file_is_a_fault(jobs: JobQueue, tiny_checkpoint: Path, part: str) -> None:
    keep(jobs, 5, tiny_checkpoint)
    whole = (jobs.path(NAME) / part).read_bytes()
    (jobs.path(NAME) / part).write_bytes(whole[: len(whole) // 2])
    report = KillReport()
    kill_bench.saved_step(jobs, report)
    assert len(report.faults) == 1 and "cannot be read" in report.faults[0]


def test_a_fault_is_reported_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = KillReport(1, 0, 1, [2], [0.5], ["The run ended with its page."]).to_json()
    monkeypatch.setattr(kill_bench, "kill", lambda runs, pages, seed: figures)
    done = here("bench", "kill")
    assert done.code == 1
    assert done.err == "serdemo: The run ended with its page.\n"
    assert "faults                   1" in done.out
