"""Several processes train as one does, and what ends a run early."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from serdemo import checkpoint, corpora, processes
from serdemo.events import EpochEnd, Event, Finished, Step
from serdemo.recipes.supervised import Supervised
from serdemo.schema import UsageError, Utterance
from serdemo.splits import Split, by_speakers
from serdemo.train import fit
from serdemo.trainer import TrainOptions

CALM = dict(speed=0.0, noise=0.0, reverberation=0.0, band=0.0, gain=0.0, dropout=0.0, masks=0)


def launched(count: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`accelerate launch` with so many CPU processes of serdemo."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--num_processes", str(count)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_PORT": "0"}
    return subprocess.run(
        [*launch, "--main_process_port", "0", "-m", "serdemo", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("recipe", ["supervised", "cross_corpus"])
def test_two_processes_agree_with_one(
    tmp_path: Path, corpus_root: Path, tiny_values: dict[str, Any], recipe: str
) -> None:
    own = {"epochs": 2, **({"contrast_epochs": 2} if recipe == "cross_corpus" else {})}
    values = {**tiny_values, **CALM, **own, "batch_size": 5, "average": 0.5}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]
    command = ["train", recipe, "--corpus", str(corpus_root), "--valid", "cleo", "--test", "none"]
    found = {}
    for count in (1, 2):
        run = tmp_path / str(count)
        done = launched(count, *command, "--run", str(run), *flags)
        assert done.returncode == 0, done.stderr[-2000:]
        lines = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
        found[count] = [line for line in lines if line["event"] == "Step"]
        assert [line["event"] for line in lines].count("Finished") == 1
    steps = zip(found[1], found[2], strict=True)
    for one, two in steps:
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
        for name, value in one["parts"].items():
            assert two["parts"][name] == pytest.approx(value, rel=1e-4, abs=1e-6)
    first = checkpoint.load_state(tmp_path / "1" / "resume")
    second = checkpoint.load_state(tmp_path / "2" / "resume")
    assert first is not None
    assert second is not None
    for name, tensor in first[0].items():
        if name.startswith(("model.", "average.")) and tensor.is_floating_point():
            torch.testing.assert_close(second[0][name], tensor, atol=2e-5, rtol=1e-3)


def test_alone_nothing_is_shared_out() -> None:
    rows, labels = torch.randn(3, 2), object()
    assert processes.gathered(rows, labels) == (rows, labels)
    assert (processes.rank(), processes.world(), processes.first()) == (0, 1, True)
    assert list(range(5))[processes.share(5)] == [0, 1, 2, 3, 4]
    assert processes.agreed("word") == "word"


@pytest.fixture(scope="module")
def split(corpus_root: Path) -> Split:
    utterances: list[Utterance] = corpora.load(str(corpus_root))
    return by_speakers(utterances, valid=["cleo"], test=["dora"])


def trained(
    run: Path, split: Split, tiny_values: dict[str, Any], resume: bool = False, **more: Any
) -> list[Event]:
    values = {**tiny_values, **more}
    own = {name: values.pop(name) for name in list(values) if name in TrainOptions().to_json()}
    recipe = Supervised.from_values(values)
    return list(fit(recipe, TrainOptions(**own), split, run, resume=resume))


@pytest.mark.usefixtures("one_thread")
def test_a_stage_ends_when_nothing_gets_better(
    tmp_path: Path, split: Split, tiny_values: dict[str, Any]
) -> None:
    frozen = dict(learning_rate=1e-7, epochs=50, early_stop=3)
    events = trained(tmp_path / "run", split, tiny_values, **frozen)
    ends = [event for event in events if isinstance(event, EpochEnd)]
    assert [end.best for end in ends] == [True, False, False, False]
    assert isinstance(events[-1], Finished)
    assert events[-1].note == (
        "Stage supervised ended after epoch 4 of 50: 3 epochs brought nothing better. "
    )
    again = trained(tmp_path / "run", split, tiny_values, resume=True, **frozen)
    assert not [event for event in again if isinstance(event, Step)]


@pytest.mark.usefixtures("one_thread")
def test_a_run_keeps_to_its_time_and_ends_at_the_lowest_rate(
    tmp_path: Path, split: Split, tiny_values: dict[str, Any]
) -> None:
    events = trained(tmp_path / "run", split, tiny_values, epochs=10_000, budget_minutes=0.03)
    steps = [event for event in events if isinstance(event, Step)]
    assert 3 < len(steps) < 30_000
    assert steps[-1].learning_rate < 0.2 * max(step.learning_rate for step in steps)
    assert steps[0].left_s <= 1.8
    assert isinstance(events[-1], Finished)
    assert "its time was up" in events[-1].note
    assert isinstance(events[-3], EpochEnd)  # what there is, is scored and saved
    checkpoint.load(tmp_path / "run" / "checkpoint")


def test_too_small_a_batch_for_the_processes_is_refused(
    tmp_path: Path, split: Split, tiny_values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "world", lambda: 3)
    with pytest.raises(UsageError, match="at least two clips to each of the 3 processes"):
        trained(tmp_path / "run", split, tiny_values)
