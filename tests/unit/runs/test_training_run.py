from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from serdemo.data import corpora
from serdemo.data.splits import Split, by_speakers
from serdemo.evaluation import scoring
from serdemo.nn import checkpoint, checkpoint_files, description, losses
from serdemo.nn.checkpoint_files import REPORT
from serdemo.runs import folder as runs_folder
from serdemo.runs import process, report, training_run
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.training import events
from serdemo.training.events import Event, Failed, Finished, Saved, Started, Step, Stopped


@pytest.fixture(scope="module")
def split(corpus_root: Path) -> Split:
    return by_speakers(corpora.load(str(corpus_root)), valid=["cleo"], test=["dora"])


Train = Callable[..., Iterator[Event]]


@pytest.fixture
def train(tiny_values: dict[str, Any], split: Split) -> Train:
    """`runs.train` on the tiny corpus, with option values on top of the tiny ones."""

    def train(run: Path, recipe: str = "supervised", **more: Any) -> Iterator[Event]:
        own = {name: more.pop(name) for name in ("resume", "stop_after", "command") if name in more}
        of = more.pop("of", split)
        return training_run.train(recipe, {**tiny_values, **more}, of, run, **own)

    return train


def logged(run: Path) -> list[Event]:
    return list(events.read(run / events.EVENTS))


def test_a_run_leaves_all_that_a_model_needs(train: Train, split: Split, tmp_path: Path) -> None:
    run = tmp_path / "first"
    told = list(train(run, command="serdemo train supervised"))
    assert isinstance(told[-1], Finished)
    assert logged(run) == told
    config = json.loads((run / runs_folder.CONFIG).read_text(encoding="utf-8"))
    assert config["recipe"] == "supervised"
    assert config["command"] == "serdemo train supervised"
    assert config["options"]["width"] == 16
    folder = run / "checkpoint"
    assert {path.name for path in folder.iterdir()} == {
        *(checkpoint_files.WEIGHTS, checkpoint_files.DESCRIPTION),
        *(REPORT, events.EVENTS, "README.md"),
    }
    assert list(events.read(folder / events.EVENTS)) == told  # its end included
    (report,) = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    assert (report["corpus"], report["n"], report["speakers"]) == ("simple", 6, 1)
    assert report["unseen_speakers"] is True
    assert 0 <= report["uar"] <= 1
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"| simple | 1 | 6 | {report['uar']:.1%} |" in card
    assert "serdemo train supervised" in card
    assert split.fingerprint[:16] in card
    assert "cleo" in card


def test_a_second_run_in_the_same_folder_is_refused(train: Train, tmp_path: Path) -> None:
    run = tmp_path / "run"
    list(train(run, epochs=1))
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    with pytest.raises(UsageError, match="already holds a run; add --resume, or name another"):
        list(train(run, epochs=1))
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


def test_a_file_is_no_run_folder(train: Train, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="run is a file; --run needs a folder"):
        list(train(tmp_path / "run"))
    with pytest.raises(SerdemoError, match="could not be made"):
        list(train(tmp_path / "run" / "below"))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"colour": 1}, "no option 'colour'; known are"),
        ({"epochs": 0}, "--epochs must lie between 1 and 10000, not 0"),
        ({"heads": 3}, "--heads must divide --width"),
        ({"precision": "int8"}, "--precision must be one of auto, fp32, bf16, fp16, not int8"),
    ],
)
def test_bad_options_leave_no_run_behind(
    train: Train, tmp_path: Path, values: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        list(train(tmp_path / "run", **values))
    assert not (tmp_path / "run").exists()


def test_an_unknown_recipe_is_refused(train: Train, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no recipe 'soup'; known are head"):
        list(train(tmp_path / "run", "soup"))


def test_stop_after_ends_a_run_that_can_go_on(train: Train, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = list(train(run, stop_after=0.0))
    assert isinstance(first[-1], Stopped)
    assert (first[-1].step, first[-1].reason) == (1, "after 0 s, as asked")
    checkpoint.load(run / "checkpoint")
    rest = list(train(run, resume=True))
    assert isinstance(rest[0], Started)
    assert rest[0].resumed_step == 1
    assert isinstance(rest[-1], Finished)
    assert logged(run) == first + rest
    assert [event.step for event in logged(run) if isinstance(event, Step)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("how", ["page", "keys", "time"])
def test_it_stops_while_it_is_scored(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    run, calibrate, begun = tmp_path / "run", scoring.calibrate, [0.0]

    def calibrated(*given: Any) -> Any:
        begun[0] = time.monotonic()
        if how == "page":
            (run / events.STOP_FILE).touch()
        elif how == "keys":
            os.kill(os.getpid(), signal.SIGINT)
        else:
            clock = time.monotonic
            monkeypatch.setattr(time, "monotonic", lambda: clock() + 1000)
        return calibrate(*given)

    monkeypatch.setattr(report, "calibrate", calibrated)
    *_, last = train(run, stop_after=600 if how == "time" else None)
    assert begun[0]
    if how == "time":  # what is trained in time is scored
        assert isinstance(last, Finished)
        return
    assert isinstance(last, Stopped)
    assert last.reason == ("asked to stop" if how == "page" else "interrupted")
    assert time.monotonic() - begun[0] < 5
    assert not (run / events.STOP_FILE).exists()
    assert not (run / "checkpoint" / "report.json").exists()
    checkpoint.load(run / "checkpoint")
    monkeypatch.undo()
    *_, last = train(run, resume=True)
    assert isinstance(last, Finished)
    assert (run / "checkpoint" / "report.json").exists()


def test_a_resumed_run_keeps_its_options_and_remembers_new_ones(
    tiny_values: dict[str, Any], split: Split, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    list(
        training_run.train(
            "supervised", tiny_values, split, run, command="as begun", stop_after=0.0
        )
    )
    longer = {"epochs": 3}
    part = training_run.train("supervised", longer, split, run, resume=True, stop_after=0.0)
    assert next(part).steps == 9  # type: ignore[union-attr]
    list(part)
    last = list(training_run.train("supervised", {}, split, run, command="again", resume=True))
    assert isinstance(last[0], Started)
    assert last[0].steps == 9
    assert "as begun" in (run / "checkpoint" / "README.md").read_text(encoding="utf-8")
    assert description.read_description(run / "checkpoint").options["epochs"] == 3


def test_resume_with_another_recipe_is_refused(train: Train, tmp_path: Path) -> None:
    list(train(tmp_path / "run", stop_after=0.0))
    with pytest.raises(UsageError, match="begun with the recipe supervised, not distill"):
        list(train(tmp_path / "run", "distill", resume=True))


@pytest.mark.parametrize("content", ["[]", '{"recipe": "supervised"}', '{"options": [], "a": 1}'])
def test_a_damaged_config_is_one_sentence(train: Train, tmp_path: Path, content: str) -> None:
    list(train(tmp_path / "run", stop_after=0.0))
    (tmp_path / "run" / runs_folder.CONFIG).write_text(content, encoding="utf-8")
    with pytest.raises(SerdemoError, match=r"config\.json in .*run is damaged"):
        list(train(tmp_path / "run", resume=True))


def test_a_failure_is_the_last_event(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, calls = losses.cross_entropy, []

    def fails_later(logits: torch.Tensor, *rest: Any) -> torch.Tensor:
        calls.append(1)
        loss = right(logits, *rest)
        return loss * float("nan") if len(calls) > 4 else loss

    monkeypatch.setattr(losses, "cross_entropy", fails_later)
    run = tmp_path / "run"
    with pytest.raises(SerdemoError, match="The loss is no longer a number"):
        list(train(run))
    last = logged(run)[-1]
    assert isinstance(last, Failed)
    assert last.message == "The loss is no longer a number; try a lower --learning-rate."
    # What was saved after the first epoch is whole, and the run goes on from it.
    checkpoint.load(run / "checkpoint")
    monkeypatch.undo()
    rest = list(train(run, resume=True))
    assert rest[0].resumed_step == 3  # type: ignore[union-attr]
    assert isinstance(rest[-1], Finished)


@pytest.mark.parametrize(
    ("problem", "kind", "sentence"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory"),
            SerdemoError,
            "resume with a smaller --batch",
        ),
        (MemoryError(), SerdemoError, "too little memory for that; resume with a smaller"),
        (RuntimeError("a bug"), RuntimeError, "a bug"),
    ],
    ids=["device-memory", "memory", "bug"],
)
def test_whatever_breaks_a_run_is_told_in_its_log(
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    problem: Exception,
    kind: type[Exception],
    sentence: str,
) -> None:
    def breaks(*_: Any) -> None:
        raise problem

    monkeypatch.setattr(losses, "supervised_contrastive", breaks)
    with pytest.raises(kind, match=sentence):
        list(train(tmp_path / "run"))
    last = logged(tmp_path / "run")[-1]
    assert isinstance(last, Failed)
    assert sentence in last.message


def test_a_run_left_by_its_reader_gives_back_the_signal(train: Train, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    reading = train(tmp_path / "run")
    next(reading)
    assert signal.getsignal(signal.SIGINT) != before
    assert process.is_locked(tmp_path / "run")
    reading.close()  # type: ignore[attr-defined]
    assert not process.is_locked(tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) == before
    assert [type(event) for event in logged(tmp_path / "run")] == [Started]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """What Python does on an interrupt, also where it was started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_one_interrupt_saves_and_a_second_breaks_off(train: Train, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    told = []
    for event in train(tmp_path / "run", epochs=100):
        told.append(event)
        if isinstance(event, Step) and event.step == 2:
            signal.raise_signal(signal.SIGINT)
    assert isinstance(told[-1], Stopped)
    assert (told[-1].step, told[-1].reason) == (2, "interrupted")
    assert signal.getsignal(signal.SIGINT) == before
    reading = train(tmp_path / "run", resume=True)
    next(reading)
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    reading.close()  # type: ignore[attr-defined]
    assert signal.getsignal(signal.SIGINT) == before


def test_a_run_in_a_thread(train: Train, tmp_path: Path) -> None:
    told: list[Event] = []
    thread = threading.Thread(target=lambda: told.extend(train(tmp_path / "run", epochs=1)))
    thread.start()
    thread.join()
    assert isinstance(told[-1], Finished)


def test_a_full_disk_is_one_sentence(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    reading = train(run, epochs=9)
    while not isinstance(next(reading), Saved):
        pass
    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(SerdemoError, match=r"could not be written.*No space left.*untouched"):
        list(reading)
    monkeypatch.undo()
    assert isinstance(logged(run)[-1], Failed)
    rest = list(train(run, resume=True, epochs=2))
    assert rest[0].resumed_step == 3  # type: ignore[union-attr]
    assert isinstance(rest[-1], Finished)


CHILD = """
import json, sys
from pathlib import Path
from serdemo.data import corpora
from serdemo.data.splits import by_speakers
from serdemo.runs import training_run

corpus, run, values = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
split = by_speakers(corpora.load(corpus), valid=["cleo"], test=["dora"])
for event in training_run.train("supervised", values, split, run):
    pass
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_run_goes_on(
    train: Train, corpus_root: Path, tiny_values: dict[str, Any], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    values = {**tiny_values, "epochs": 10_000}
    arguments = [sys.executable, "-c", CHILD, str(corpus_root), str(run), json.dumps(values)]
    root = Path(training_run.__file__).parents[2]
    child = subprocess.Popen(arguments, env={**os.environ, "PYTHONPATH": str(root)})
    try:
        limit = time.monotonic() + 60
        while time.monotonic() < limit and child.poll() is None:
            log = run / events.EVENTS
            if log.exists() and log.read_text(encoding="utf-8").count('"Saved"') >= 2:
                break
            time.sleep(0.02)
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()
    saved = max(event.step for event in logged(run) if isinstance(event, Saved))
    with (run / events.EVENTS).open("a", encoding="utf-8") as log:
        log.write('{"event": "Step", "stag')  # as a kill in the middle of writing leaves it
    rest = list(train(run, resume=True, epochs=10_000, stop_after=0.0))
    assert isinstance(rest[0], Started)
    assert rest[0].resumed_step >= saved
    assert isinstance(rest[-1], Stopped)
    assert rest[-1].step == rest[0].resumed_step + 1
    assert logged(run)[-1] == rest[-1]
    checkpoint.load(run / "checkpoint")
