"""Several processes train as one does, and what ends a run early."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from serdemo.data import corpora
from serdemo.data.splits import Split, by_speakers
from serdemo.nn import checkpoint, device
from serdemo.runs import folder, training_run
from serdemo.schema.errors import UsageError
from serdemo.training import distributed, events
from serdemo.training.events import EpochEnd, Event, Finished, Started, Step, Stopped
from serdemo.training.fit import fit
from serdemo.training.options import TrainOptions
from serdemo.training.recipes.supervised import Supervised

CALM = dict(speed=0.0, noise=0.0, reverberation=0.0, bandlimit=0.0, gain=0.0, dropout=0.0, masks=0)
ROOT = Path(distributed.__file__).parents[2]


def two(*arguments: str) -> subprocess.Popen[str]:
    """`accelerate launch` with two CPU processes, in a session of its own."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes"]
    launch += ["2", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*launch, "--main_process_port", "0", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ended(child: subprocess.Popen[str]) -> str:
    """What the processes said until their end; none outlives the test."""
    try:
        return child.communicate(timeout=100)[0]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL) if os.name != "nt" else child.kill()


def flags(values: dict[str, Any]) -> list[str]:
    return [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]


def state(run: Path) -> dict[str, torch.Tensor]:
    saved = checkpoint.load_state(run / "resume")
    assert saved is not None
    return saved[0]


DOUBLE = """
import json, sys
from pathlib import Path
import torch
from serdemo.data import corpora
from serdemo.data.splits import by_speakers
from serdemo.training import distributed, events
from serdemo.training.fit import fit
from serdemo.training.options import resolve_recipe

# Sums over two processes are rounded in another order than in one, and where a gradient is nearly zero Adam
# makes whole steps of what is rounding: only with so many digits does that stay below 1e-5.
torch.set_default_dtype(torch.float64)
torch.Tensor.float = torch.Tensor.double
distributed.init(cpu=True)
corpus, folder, runs = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
split = by_speakers(corpora.load(corpus), valid=["cleo"], test=[])
for name, values in runs.items():
    recipe, options = resolve_recipe(name, values)
    lines = [events.to_line(event) for event in fit(recipe, options, split, folder / name)]
    if distributed.is_main_process():
        (folder / name / "log").write_text("".join(lines), encoding="utf-8")
"""
OWN: dict[str, dict[str, Any]] = {
    "supervised": {},
    "cross_corpus": {"contrast_epochs": 4, "epochs": 3},
    "speaker": {"epochs": 5},
    "speaker_clusters": {"cluster_epochs": 2, "epochs": 4, "k": 2, "speaker_head": "classify"},
}


@pytest.mark.slow
def test_two_processes_agree_with_one_in_every_recipe(
    tmp_path: Path, corpus_root: Path, tiny_values: dict[str, Any], tiny_checkpoint: Path
) -> None:
    shared = {**tiny_values, **CALM, "batch_size": 5, "epochs": 7, "ema_decay": 0.5}
    runs = {name: {**shared, **own} for name, own in OWN.items()}
    runs["speaker_clusters"]["embeddings"] = str(tiny_checkpoint)
    script = tmp_path / "double.py"
    script.write_text(DOUBLE, encoding="utf-8")
    given = [str(script), str(corpus_root)]
    child = two(*given, str(tmp_path / "2"), json.dumps(runs))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, *given, str(tmp_path / "1"), json.dumps(runs)]
    subprocess.run(arguments, env=environment, check=True, timeout=100)
    output = ended(child)
    assert child.returncode == 0, output
    for recipe in runs:
        alone, both = (list(events.read(tmp_path / n / recipe / "log")) for n in "12")
        assert [type(event) for event in both] == [type(event) for event in alone]
        assert isinstance(both[0], Started)
        assert both[0].processes == 2
        steps = [pair for pair in zip(alone, both, strict=True) if isinstance(pair[0], Step)]
        assert len(steps) >= 20
        for one, other in steps:
            assert isinstance(one, Step) and isinstance(other, Step)
            assert other.loss == pytest.approx(one.loss, rel=1e-9)
            assert other.parts == pytest.approx(one.parts, rel=1e-9, abs=1e-9)
        first, second = state(tmp_path / "1" / recipe), state(tmp_path / "2" / recipe)
        assert {name for name in first if first[name].shape != second[name].shape} == {"random.cpu"}
        trained = [name for name in first if not name.startswith("random.")]
        assert any(first[name].dtype == torch.float64 for name in trained)
        apart = {name: float((second[name] - first[name]).abs().max()) for name in trained}
        assert max(apart.values()) < 1e-9, (recipe, apart)


CHILD = """
import atexit, json, os, sys
from dataclasses import dataclass
from pathlib import Path
import torch
from serdemo.data import corpora
from serdemo.training import distributed
from serdemo.training.recipes.supervised import Supervised
from serdemo.data.splits import by_speakers
from serdemo.training.fit import fit
from serdemo.training.options import TrainOptions

def look():  # last of all: a thread of the group's would abort the process now and then
    threads = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    if any("gloo" in name for name in threads):
        os._exit(3)

atexit.register(look)
distributed.init(cpu=True)
corpus, folder, values = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
split = by_speakers(corpora.load(corpus), valid=["cleo"], test=["dora"])

def train(run, last, resume=False):
    calls = iter(range(1, 10_000))
    stop = lambda: "here" if next(calls) == last else None  # noqa: E731
    own = {n: values[n] for n in ("device", "precision")}
    recipe = Supervised.from_values({k: v for k, v in values.items() if k not in own})
    for event in fit(recipe, TrainOptions(**own), split, folder / run, stop, resume=resume):
        pass

@dataclass
class Labels:
    index: torch.Tensor

rows = torch.arange(10.0).view(5, 2).requires_grad_()
own = distributed.shard(5)
gathered, labels = distributed.all_gather_with_grad(rows[own], Labels(torch.arange(5)[own]))
assert torch.equal(gathered, rows) and torch.equal(labels.index, torch.arange(5))
(gathered**2).sum().backward()
spare = torch.nn.Parameter(torch.ones(3))
distributed.average_gradients([rows, spare])
assert torch.allclose(rows.grad, 2 * rows) and spare.grad is None
if distributed.is_main_process():
    spare.grad = torch.ones(3)
distributed.average_gradients([rows, spare])
assert torch.allclose(spare.grad, torch.full((3,), 0.5))

train("whole", 0)
train("broken", 4 if distributed.is_main_process() else 0)  # the others do as the first
train("broken", 0, resume=True)
"""


@pytest.mark.slow
def test_two_processes_gather_in_order_and_resume_as_if_unbroken(
    tmp_path: Path, corpus_root: Path, tiny_values: dict[str, Any]
) -> None:
    script = tmp_path / "child.py"
    script.write_text(CHILD, encoding="utf-8")
    wild = {**tiny_values, "dropout": 0.3, "speed": 0.5, "noise": 0.5}
    child = two(str(script), str(corpus_root), str(tmp_path), json.dumps(wild))
    output = ended(child)
    assert child.returncode == 0, output
    whole, broken = state(tmp_path / "whole"), state(tmp_path / "broken")
    assert whole.keys() == broken.keys()
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    generators = whole["random.cpu"].view(2, -1)
    assert not torch.equal(generators[0], generators[1])


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to another process")
def test_ctrl_c_saves_all_processes_and_one_can_go_on(
    tmp_path: Path, corpus_root: Path, tiny_values: dict[str, Any]
) -> None:
    run = tmp_path / "run"
    values = {**tiny_values, "epochs": 10_000}
    ours = ["--corpus", str(corpus_root), "--valid", "cleo", "--test", "dora", "--run", str(run)]
    child = two("-m", "serdemo", "train", "supervised", *ours, *flags(values))
    limit = time.monotonic() + 120
    while time.monotonic() < limit and child.poll() is None:
        log = run / events.EVENTS  # as text: its last line may be half written
        if log.exists() and '"Step"' in log.read_text(encoding="utf-8"):
            break
        time.sleep(0.1)
    workers = [w for w in psutil.Process(child.pid).children() if "serdemo" in w.cmdline()]
    assert len(workers) == 2
    for worker in workers:
        worker.send_signal(signal.SIGINT)
    ended(child)
    *_, last = events.read(run / events.EVENTS)
    assert isinstance(last, Stopped)
    assert last.reason == "interrupted"
    split = by_speakers(corpora.load(str(corpus_root)), valid=["cleo"], test=["dora"])
    shorter = {"epochs": last.step // 3 + 2}
    rest = list(training_run.train("supervised", shorter, split, run, resume=True))
    assert isinstance(rest[0], Started)
    assert (rest[0].resumed_step, rest[0].processes) == (last.step, 1)
    assert isinstance(rest[-1], Finished)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_a_launcher_sends_once_more_does_not_break_off(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    before = signal.getsignal(number)
    monkeypatch.setattr(distributed, "running", lambda: True)
    with folder.interrupts() as interrupted:
        assert not interrupted()
        signal.raise_signal(number)
        signal.raise_signal(number)
        assert interrupted()
    assert signal.getsignal(number) == before


def test_alone_nothing_is_shared_out() -> None:
    rows, labels = torch.randn(3, 2), object()
    assert distributed.all_gather_with_grad(rows, labels) == (rows, labels)
    assert (distributed.rank(), distributed.world_size(), distributed.is_main_process()) == (
        0,
        1,
        True,
    )
    assert list(range(5))[distributed.shard(5)] == [0, 1, 2, 3, 4]
    assert distributed.broadcast_object("word") == "word"
    assert distributed.all_gather_object("word") == ["word"]


def test_a_launch_that_started_one_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed.init()  # without a launcher
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    distributed.init()  # told to start one
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with pytest.raises(UsageError, match=r"started a single process: .* it needs --multi-gpu"):
        distributed.init()


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    gpus = SimpleNamespace(is_available=lambda: True, device_count=lambda: 1)
    monkeypatch.setattr(torch, "cuda", gpus)
    with pytest.raises(UsageError, match=r"3 processes for 1 GPUs; .* add --device cpu"):
        distributed.init()


def test_each_process_has_its_gpu_and_none_shares_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device.pick_device("auto") == torch.device("mps")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert device.pick_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device.pick_device("auto") == torch.device("cuda", 1)


def trained(
    run: Path, split: Split, tiny_values: dict[str, Any], resume: bool = False, **more: Any
) -> list[Event]:
    values = {**tiny_values, **more}
    own = {name: values.pop(name) for name in list(values) if name in TrainOptions().to_json()}
    recipe = Supervised.from_values(values)
    return list(fit(recipe, TrainOptions(**own), split, run, resume=resume))


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


@pytest.mark.slow
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
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    with pytest.raises(UsageError, match="at least two clips to each of the 3 processes"):
        trained(tmp_path / "run", split, tiny_values)
