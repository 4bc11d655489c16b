"""Trackers: each gets the numbers of a run's events, a resumed run goes on there, and nothing else is sent."""

from __future__ import annotations

import json
import socket
import sqlite3
import struct
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from serdemo.data.splits import Split
from serdemo.runs import tracking, training_run
from serdemo.runs.tracking import TRACKERS, Tracking
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.training.events import EpochEnd, Event, Finished, Saved, Step

OPTIONS = {"epochs": 2, "learning_rate": 0.001, "freeze": "nothing", "cache": "/"}
CONFIG = {"recipe": "supervised", "command": "serdemo train --corpus /anna", "options": OPTIONS}
SECRETS = ("anna", "login-name", "machine-name")
FIRST: list[Event] = [
    Step("one", 0, 1, 2.5, {"emotion": 2.0, "contrast": 0.5}, 1e-4, 8.0, 3.0),
    Step("one", 0, 2, 1.25, {"emotion": 1.0, "contrast": 0.25}, 2e-4, 8.0, 1.0),
    EpochEnd("one", 0, 2, {"uar": 0.5, "accuracy": 0.625}, ("angry", "sad"), ((1, 0), (0, 1))),
    Saved(2, True),
]
SECOND: list[Event] = [
    Step("one", 1, 3, 0.75, {"emotion": 0.5, "contrast": 0.25}, 1e-4, 8.0, 0.0),
    Finished(3, {"uar": 0.75}, 4.0),
]
CURVES = {
    "one/loss": {1: 2.5, 2: 1.25, 3: 0.75},
    "one/loss_emotion": {1: 2.0, 2: 1.0, 3: 0.5},
    "one/loss_contrast": {1: 0.5, 2: 0.25, 3: 0.25},
    "learning_rate": {1: 1e-4, 2: 2e-4, 3: 1e-4},
    "clips_per_s": {1: 8.0, 2: 8.0, 3: 8.0},
    "one/valid_uar": {2: 0.5},
    "one/valid_accuracy": {2: 0.625},
    "final_uar": {3: 0.75},
}

Curves = dict[str, dict[int, float]]


def curves(points: Iterable[tuple[str, int, float]]) -> Curves:
    found: Curves = {}
    for name, step, value in points:
        found.setdefault(name, {})[step] = pytest.approx(value, rel=1e-6)
    return found


def tensorboard(run: Path, store: Path) -> tuple[Curves, dict[str, Any]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(run / "tensorboard")).Reload()
    tags = read.Tags()["scalars"]
    (file,) = (run / "tensorboard").glob("*/hparams.yml")
    text = file.read_text(encoding="utf-8")
    options = dict(line.split(": ", 1) for line in text.splitlines())
    return curves((t, e.step, e.value) for t in tags for e in read.Scalars(t)), options


def mlflow(run: Path, store: Path) -> tuple[Curves, dict[str, Any]]:
    from mlflow import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name("serdemo")
    (found,) = client.search_runs([experiment.experiment_id])
    points = [
        m for name in found.data.metrics for m in client.get_metric_history(found.info.run_id, name)
    ]
    return curves((m.key, m.step, m.value) for m in points), found.data.params


def trackio(run: Path, store: Path) -> tuple[Curves, dict[str, Any]]:
    with sqlite3.connect(store / "trackio" / "serdemo.db") as base:
        rows = base.execute("select run_name, step, metrics from metrics").fetchall()
        (config,) = base.execute("select config from configs").fetchone()
    assert len({name for name, _, _ in rows}) == 1
    points = [(n, step, value) for _, step, text in rows for n, value in json.loads(text).items()]
    return curves(points), json.loads(config)


def wandb(run: Path, store: Path) -> tuple[Curves, dict[str, Any]]:
    from wandb.proto import wandb_internal_pb2

    points, options, ids = [], {}, set()
    for file in sorted(run.glob("wandb/offline-run-*/*.wandb")):
        content, place = file.read_bytes(), 7  # behind the head; one block of whole records
        while place < len(content):
            _, size, kind = struct.unpack_from("<IHB", content, place)
            assert kind == 1
            record = wandb_internal_pb2.Record()
            record.ParseFromString(content[place + 7 : place + 7 + size])
            place += 7 + size
            if record.HasField("run"):
                ids.add(record.run.run_id)
            updates = [*record.config.update, *record.run.config.update]
            options |= {item.key: json.loads(item.value_json) for item in updates}
            row = {".".join(i.nested_key) or i.key: i.value_json for i in record.history.item}
            step = json.loads(row.get("_step", "0"))
            points += [(n, step, json.loads(v)) for n, v in row.items() if not n.startswith("_")]
    assert len(ids) == 1
    return curves(points), options


def feed(events: list[Event], run: Path, tracker: str) -> None:
    run.mkdir(exist_ok=True)
    chosen = Tracking((tracker,))
    tracking.require(chosen)
    with tracking.opened(chosen, run, CONFIG) as log:
        for event in events:
            log(event)
    if tracker == "wandb":  # its service may write for a moment longer
        import wandb as library

        library.teardown()
        time.sleep(1)  # its folders are named by the second


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Local storage of all trackers."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlflow").as_uri())
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    for name in ("trackio", *[name for name in sys.modules if name.startswith("trackio.")]):
        monkeypatch.delitem(sys.modules, name, raising=False)  # it looks there once
    monkeypatch.setenv("LOGNAME", "login-name")
    monkeypatch.setattr(socket, "gethostname", lambda: "machine-name")
    for name, value in tracking.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("read", [tensorboard, mlflow, trackio, wandb])
def test_a_tracker_has_the_numbers_of_the_events_and_a_resumed_run_goes_on(
    store: Path, read: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = store / "run"
    feed(FIRST, run, read.__name__)
    feed(SECOND, run, read.__name__)
    assert not capsys.readouterr().out  # it may be a document
    found, options = read(run, store)
    assert found == CURVES
    assert options["recipe"] == "supervised"
    assert float(options["learning_rate"]) == 0.001
    for file in (path for path in store.rglob("*") if path.is_file() and path.suffix != ".log"):
        content = file.read_bytes()
        assert not [word for word in SECRETS if word.encode() in content], file


class Breaking:
    """A tracker whose server goes away after its first numbers."""

    def __init__(self) -> None:
        self.taken = 0

    def log(self, values: dict[str, float], step: int) -> None:
        self.taken += 1
        if self.taken > 1:
            raise ConnectionError("Connection refused.\nTraceback")

    def finish(self) -> None:
        raise AssertionError("it is left")


def test_a_tracker_that_fails_is_left_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    broken = Breaking()
    monkeypatch.setattr(tracking, "_begin", lambda *arguments: broken)
    with tracking.opened(Tracking(("mlflow",), note=notes.append), tmp_path, CONFIG) as log:
        for event in [*FIRST, *SECOND]:
            log(event)
    assert notes == [
        "The tracker mlflow takes no more of this run, which goes on: Connection refused."
    ]
    assert broken.taken == 2


def test_only_the_main_process_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking.distributed, "is_main_process", lambda: False)
    with tracking.opened(Tracking(TRACKERS), tmp_path, CONFIG) as log:
        log(FIRST[0])
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_tracked_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracking.parse("wandb, TensorBoard,wandb") == ("wandb", "tensorboard")
    for text in ("all", "", "tensorboard,comet_ml"):
        with pytest.raises(UsageError, match=r"There is no tracker '.*': choose of tensorboard,"):
            tracking.parse(text)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with (
        pytest.raises(SerdemoError, match=r"The tracker mlflow could not be begun: .*127\.0\.0\.1"),
        tracking.opened(Tracking(("mlflow",)), tmp_path, CONFIG),
    ):
        pass
    monkeypatch.setattr("accelerate.tracking.filter_trackers", lambda names, folder: [])
    with pytest.raises(SerdemoError, match=r"--track wandb needs one more package: .*\[track\]"):
        tracking.require(Tracking(("wandb",)))


def test_a_run_goes_to_the_trackers_that_are_named_and_to_no_other(
    tmp_path: Path, split: Split, tiny_values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    begin = tracking._begin
    monkeypatch.setattr(
        tracking, "_begin", lambda name, *rest: asked.append(name) or begin(name, *rest)
    )
    list(training_run.train("supervised", {**tiny_values, "epochs": 1}, split, tmp_path / "plain"))
    assert not asked
    run = tmp_path / "run"
    events = list(
        training_run.train(
            "supervised",
            {**tiny_values, "epochs": 1},
            split,
            run,
            tracking=Tracking(("tensorboard",)),
        )
    )
    assert asked == ["tensorboard"]
    found, options = tensorboard(run, tmp_path)
    steps = [event for event in events if isinstance(event, Step)]
    assert found["supervised/loss"] == {e.step: pytest.approx(e.loss, rel=1e-6) for e in steps}
    last = events[-1]
    assert isinstance(last, Finished)
    assert found["final_uar"] == {last.step: pytest.approx(last.metrics["uar"], rel=1e-6)}
    assert options["epochs"] == "1"
