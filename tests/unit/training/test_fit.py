from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from serdemo.data import corpora
from serdemo.data.dataset import Batch, ClipDataset
from serdemo.data.splits import Split, by_speakers
from serdemo.nn import checkpoint, checkpoint_files, losses
from serdemo.nn.description import read_description
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Utterance
from serdemo.training.events import (
    STOP_FILE,
    EpochEnd,
    Event,
    Finished,
    Saved,
    Started,
    Step,
    Stopped,
)
from serdemo.training.fit import fit
from serdemo.training.options import TrainOptions
from serdemo.training.recipes import supervised
from serdemo.training.recipes.base import Validation
from serdemo.training.recipes.supervised import Supervised
from serdemo.training.recipes.validation import ClassOptions, validate
from serdemo.training.stepper import Trainer, lr_factor

CALM = dict(speed=0.0, noise=0.0, reverberation=0.0, bandlimit=0.0, gain=0.0, dropout=0.0, masks=0)


@pytest.fixture(scope="module")
def utterances(corpus_root: Path) -> list[Utterance]:
    return corpora.load(str(corpus_root))


@pytest.fixture(scope="module")
def split(utterances: list[Utterance]) -> Split:
    """12 clips to train on (three batches an epoch), 6 to choose by, 6 to test."""
    return by_speakers(utterances, valid=["cleo"], test=["dora"])


Begin = Callable[..., Iterator[Event]]


@pytest.fixture
def begin(tiny_values: dict[str, Any], split: Split) -> Begin:
    """`fit` on the tiny corpus, with option values on top of the tiny ones."""

    def begin(
        run: Path, *, of: Split = split, resume: bool = False, **more: Any
    ) -> Iterator[Event]:
        stop = more.pop("stop", lambda: None)
        values = {**tiny_values, **more}
        own = {name: values.pop(name) for name in list(values) if name in TrainOptions().to_json()}
        recipe = Supervised.from_values(values)
        return fit(recipe, TrainOptions(**own), of, run, stop, resume=resume)

    return begin


def stop_at(step: int) -> Callable[[], str | None]:
    """A `stop` that ends a run at its `step`-th step."""
    calls = iter(range(1, 10_000))
    return lambda: "by the test" if next(calls) >= step else None


def steps(events: list[Event]) -> list[Step]:
    return [event for event in events if isinstance(event, Step)]


@pytest.mark.parametrize(
    ("step", "steps", "warm_up", "expected"),
    [
        (0, 100, 0.05, 0.2),
        (3, 100, 0.05, 0.8),
        (4, 100, 0.05, 1.0),
        (5, 100, 0.05, 1.0),
        (24, 43, 0.125, 0.505),  # half way down after a rise of 5
        (100, 100, 0.05, 0.01),
        (0, 10, 0.0, 1.0),
        (0, 1, 0.9, 1.0),
    ],
)
def test_the_learning_rates_by_hand(step: int, steps: int, warm_up: float, expected: float) -> None:
    assert lr_factor(step, steps, warm_up) == pytest.approx(expected)


def test_the_rate_never_rises_again() -> None:
    course = [lr_factor(step, 200, 0.1) for step in range(200)]
    assert course[:20] == sorted(course[:20])
    assert course[20:] == sorted(course[20:], reverse=True)
    assert 0.01 <= course[-1] < 0.011


def test_eight_clips_are_learnt_by_heart(
    begin: Begin, utterances: list[Utterance], tmp_path: Path
) -> None:
    eight = tuple(u for u in utterances if u.emotion != "happy" and u.speaker in ("anna", "bert"))
    assert len(eight) == 8
    quick = dict(batch_size=8, epochs=30, learning_rate=5e-3, ema_decay=0.5)
    events = list(begin(tmp_path / "run", of=Split(train=eight), **CALM, **quick))
    losses = [event.loss for event in steps(events)]
    assert losses[-1] < 0.6 * losses[0]
    model, description = checkpoint.load(tmp_path / "run" / "checkpoint")
    assert description.labels == ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    validation = validate(model, ClipDataset(eight, model.labels), 8)
    assert validation is not None
    assert validation.metrics["uar"] == 1.0
    assert sum(map(sum, validation.confusion)) == 8


def test_what_a_run_says(begin: Begin, split: Split, tmp_path: Path) -> None:
    run = tmp_path / "run"
    events = list(begin(run, learning_rate=2e-3, warm_up=0.5))
    first, last = events[0], events[-1]
    assert isinstance(first, Started)
    assert isinstance(last, Finished)
    assert (first.recipe, first.stages, first.steps) == ("supervised", ("supervised",), 6)
    assert (first.train_clips, first.valid_clips, first.resumed_step) == (12, 6, 0)
    assert (first.device, first.precision) == ("cpu", "float32")
    kinds = [type(event).__name__ for event in events[1:-1]]
    assert kinds == ["Step", "Step", "Step", "EpochEnd", "Saved"] * 2
    assert [event.step for event in steps(events)] == [1, 2, 3, 4, 5, 6]
    assert [event.epoch for event in steps(events)] == [0, 0, 0, 1, 1, 1]
    for number, event in enumerate(steps(events)):
        assert event.learning_rate == pytest.approx(2e-3 * lr_factor(number, 6, 0.5))
        total = event.parts["cross_entropy"] + 0.5 * event.parts["contrastive"]
        assert event.loss == pytest.approx(total, rel=1e-5)
        assert event.clips_per_s > 0
        assert event.left_s >= 0
    assert steps(events)[2].left_s > 0  # of the first pass, with three more steps to come
    for event in events:
        if isinstance(event, EpochEnd):
            assert set(event.metrics) == {"uar", "uar_simple"}
            assert sum(map(sum, event.confusion)) == 6
    best = max(e.metrics["uar"] for e in events if isinstance(e, EpochEnd))
    assert last.metrics["uar"] == best
    model, description = checkpoint.load(run / "checkpoint")
    assert first.parameters == sum(p.numel() for p in model.parameters())
    assert description.name == "run"
    assert description.recipe == "supervised"
    assert description.trained_on == {"simple": ["anna", "bert"]}
    assert description.selected_on == {"simple": ["cleo"]}
    assert description.split == split.fingerprint
    assert description.options["learning_rate"] == 2e-3
    assert description.options["seed"] == 0
    assert description.metrics["validation"]["uar"] == best
    assert description.metrics["parameters"] == first.parameters


# Random in every way, so that a resumed run must find its generators where they were.
WILD = dict(dropout=0.3, masks=2, time_mask=10, speed=0.5, noise=0.5, gain=0.5, save_minutes=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stops", "workers"), [((6,), 0), ((7,), 0), ((1, 3), 0), ((5,), 2)], ids=str
)
def test_a_resumed_run_is_the_unbroken_run(
    begin: Begin, tmp_path: Path, stops: tuple[int, ...], workers: int
) -> None:
    whole = list(begin(tmp_path / "whole", epochs=4, **WILD))
    run, seen = tmp_path / "broken", []
    for number, stop in enumerate(stops):
        part = list(
            begin(run, epochs=4, resume=number > 0, stop=stop_at(stop), workers=workers, **WILD)
        )
        assert isinstance(part[-1], Stopped)
        assert isinstance(part[-2], Saved)
        assert part[-1].reason == "by the test"
        seen += steps(part)
        torch.manual_seed(99)  # whatever happens in between
    rest = list(begin(run, epochs=4, resume=True, workers=workers, **WILD))
    assert isinstance(rest[0], Started)
    assert rest[0].resumed_step == sum(stops)
    assert isinstance(rest[-1], Finished)
    seen += steps(rest)
    assert [event.step for event in seen] == list(range(1, 13))
    assert [event.loss for event in seen] == [event.loss for event in steps(whole)]
    one, other = (checkpoint.load_state(path / "resume") for path in (tmp_path / "whole", run))
    assert one is not None
    assert other is not None
    assert one[0].keys() == other[0].keys()
    for name, value in one[0].items():
        assert torch.equal(value, other[0][name]), name
    assert {name.split(".")[0] for name in one[0]} == {"model", "average", "adamw", "random"}
    assert one[1]["at"] == other[1]["at"]
    weights = [path / "checkpoint" / checkpoint_files.WEIGHTS for path in (tmp_path / "whole", run)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_run_is_decided_by_its_seed(begin: Begin, tmp_path: Path) -> None:
    losses = [
        [event.loss for event in steps(list(begin(tmp_path / str(n), seed=seed, **WILD)))]
        for n, seed in enumerate((1, 1, 2))
    ]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_a_finished_run_resumed_is_finished(begin: Begin, tmp_path: Path) -> None:
    list(begin(tmp_path / "run"))
    before = (tmp_path / "run" / "checkpoint" / checkpoint_files.WEIGHTS).read_bytes()
    events = list(begin(tmp_path / "run", resume=True))
    assert [type(event).__name__ for event in events] == ["Started", "Finished"]
    assert (tmp_path / "run" / "checkpoint" / checkpoint_files.WEIGHTS).read_bytes() == before


def test_more_epochs_go_on_from_a_finished_run(begin: Begin, tmp_path: Path) -> None:
    list(begin(tmp_path / "run"))
    events = list(begin(tmp_path / "run", epochs=3, resume=True))
    assert [event.step for event in steps(events)] == [7, 8, 9]


def test_the_stop_file_ends_a_run(begin: Begin, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / STOP_FILE).touch()
    os.utime(run / STOP_FILE, (1e9, 1e9))  # of an earlier process: it must not end this run
    events = []
    for event in begin(run, epochs=100):
        events.append(event)
        if isinstance(event, Step) and event.step == 2:
            assert not (run / STOP_FILE).exists()
            (run / STOP_FILE).touch()
    assert [type(event).__name__ for event in events] == [
        *("Started", "Step", "Step", "Saved", "Stopped")
    ]
    assert events[-1].reason == "asked to stop"  # type: ignore[union-attr]
    assert not (run / STOP_FILE).exists()
    # Not one epoch is over, and yet there is a model.
    model, description = checkpoint.load(run / "checkpoint")
    assert torch.isfinite(model.logits(torch.randn(1, 8000), torch.tensor([8000]))).all()
    assert "validation" not in description.metrics


def test_a_stop_that_is_asked_before_training_begins_counts(begin: Begin, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / STOP_FILE).touch()  # while this process was still being prepared
    events = list(begin(run, epochs=100))
    assert [type(event).__name__ for event in events] == ["Started", "Step", "Saved", "Stopped"]
    assert isinstance(list(begin(run, epochs=1, resume=True))[-1], Finished)


def test_stopping_later_keeps_the_best_model(begin: Begin, tmp_path: Path) -> None:
    weights = tmp_path / "run" / "checkpoint" / checkpoint_files.WEIGHTS
    events, after_first = [], b""
    for event in begin(tmp_path / "run", epochs=9, stop=stop_at(5)):
        events.append(event)
        if isinstance(event, EpochEnd):
            after_first = weights.read_bytes()
    assert events[-2] == replace(events[-2], step=5, best=False)  # type: ignore[call-arg]
    assert weights.read_bytes() == after_first


def test_the_best_epoch_is_what_is_kept(
    begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.5, 0.9, 0.3, 0.9])
    monkeypatch.setattr(
        supervised,
        "validate",
        lambda *_: Validation(score := next(scores), {"uar": score}, temperature=1 + score),
    )
    saved, weights = [], tmp_path / "run" / "checkpoint" / checkpoint_files.WEIGHTS
    events = []
    for event in begin(tmp_path / "run", epochs=4):
        events.append(event)
        if isinstance(event, Saved):
            saved.append(weights.read_bytes())
    assert [e.best for e in events if isinstance(e, EpochEnd)] == [True, True, False, False]
    assert [e.best for e in events if isinstance(e, Saved)] == [True, True, False, False]
    assert saved[0] != saved[1] == saved[2] == saved[3]
    description = read_description(tmp_path / "run" / "checkpoint")
    assert description.temperature == pytest.approx(1.9)
    assert description.metrics["validation"] == {"uar": 0.9}
    assert events[-1].metrics == {"uar": 0.9}  # type: ignore[union-attr]


def test_without_speakers_to_choose_by_the_last_model_counts(
    begin: Begin, split: Split, tmp_path: Path
) -> None:
    events = list(begin(tmp_path / "run", of=Split(train=split.train)))
    assert not any(isinstance(event, EpochEnd) for event in events)
    assert [event.best for event in events if isinstance(event, Saved)] == [True, True]
    saved = checkpoint.load_state(tmp_path / "run" / "resume")
    assert saved is not None
    model, _ = checkpoint.load(tmp_path / "run" / "checkpoint")
    last = saved[0]["average.module.classifier.weight"]
    assert torch.equal(model.classifier.weight, last.half().float())


def test_resume_in_an_empty_folder_starts(begin: Begin, tmp_path: Path) -> None:
    events = list(begin(tmp_path / "run", resume=True, epochs=1))
    assert isinstance(events[0], Started)
    assert events[0].resumed_step == 0
    assert isinstance(events[-1], Finished)


@pytest.fixture(scope="module")
def stopped(
    tmp_path_factory: pytest.TempPathFactory, tiny_values: dict[str, Any], split: Split
) -> Path:
    """A run that was stopped at its second step; copy it to change it."""
    run = tmp_path_factory.mktemp("stopped") / "run"
    values = {k: v for k, v in tiny_values.items() if k not in ("device", "precision")}
    recipe = Supervised.from_values(values)
    list(fit(recipe, TrainOptions(device="cpu", precision="fp32"), split, run, stop_at(2)))
    return run


def test_resume_with_other_clips_is_refused(
    begin: Begin, stopped: Path, utterances: list[Utterance]
) -> None:
    other = by_speakers(utterances, valid=["dora"], test=["cleo"])
    with pytest.raises(UsageError, match="run was begun on other clips; resume with the same"):
        list(begin(stopped, of=other, resume=True))


@pytest.mark.parametrize("change", [{"width": 32}, {"layers": 2}, {"projection": 16}])
def test_resume_with_another_size_is_refused(
    begin: Begin, stopped: Path, change: dict[str, int]
) -> None:
    with pytest.raises(SerdemoError, match="saved state does not fit this model; resume with the"):
        list(begin(stopped, resume=True, **change))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("state.json", b"{}", "The saved state of run is damaged"),
        ("state.json", b'{"at": {"colour": 1}, "split": ""}', "The saved state of run is damaged"),
        ("state.json", b'{"at": 3, "split": ""}', "The saved state of run is damaged"),
        ("state.json", b"[1]", "The saved state of run is damaged"),
        ("state.json", b'{"at": {}, "split": "", "format": 1}', "run was begun by another version"),
        (
            "state.json",
            b'{"at": {}, "split": ""}',
            "begin a run in another folder, with --init-from",
        ),
        ("state.json", b"{", "state.json cannot be read as JSON"),
        ("state.safetensors", b"\x00" * 50, "state.safetensors is not a safetensors file"),
    ],
)
def test_a_damaged_state_is_one_sentence(
    begin: Begin, stopped: Path, tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    run = Path(shutil.copytree(stopped, tmp_path / "run"))
    (run / "resume" / name).write_bytes(content)
    with pytest.raises(SerdemoError, match=sentence):
        list(begin(run, resume=True))


def test_a_loss_that_is_no_number_ends_the_run_with_a_sentence(
    begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "cross_entropy", lambda logits, *_: logits.sum() * math.nan)
    with pytest.raises(SerdemoError, match="no longer a number; try a lower --learning-rate"):
        list(begin(tmp_path / "run"))


def test_one_emotion_is_too_few(begin: Begin, utterances: list[Utterance], tmp_path: Path) -> None:
    sad = tuple(u for u in utterances if u.emotion == "sad")
    for of, names in ((Split(train=sad), "sad"), (Split(), "none")):
        with pytest.raises(UsageError, match=f"at least two emotions; found {names}"):
            list(begin(tmp_path / "run", of=of))


def test_emotions_seen_only_in_validation_are_left_out(
    begin: Begin, split: Split, tmp_path: Path
) -> None:
    two = tuple(u for u in split.train if u.emotion != "happy")
    events = list(begin(tmp_path / "run", of=Split(two, split.valid), seven=False))
    assert isinstance(events[-1], Finished)
    assert read_description(tmp_path / "run" / "checkpoint").labels == (
        "angry",
        "sad",
    )
    ended = next(event for event in events if isinstance(event, EpochEnd))
    assert sum(map(sum, ended.confusion)) == 4


def test_calm_counts_as_neutral_and_boredom_is_left_out(
    begin: Begin, split: Split, tmp_path: Path
) -> None:
    words = {"angry": "angry", "happy": "calm", "sad": "boredom"}
    train = tuple(replace(u, emotion=words[u.emotion]) for u in split.train)
    recipe = Supervised.from_values({})
    assert {u.emotion for u in recipe.options(ClassOptions).classes(train)} == {"angry", "neutral"}
    apart = Supervised.from_values({"seven": False})
    assert apart.describe(Split(train=train)).labels == ("angry", "boredom", "calm")


@pytest.mark.parametrize(("precision", "name"), [("bf16", "bfloat16"), ("fp16", "float16")])
def test_half_precision_trains(begin: Begin, tmp_path: Path, precision: str, name: str) -> None:
    events = list(begin(tmp_path / "run", precision=precision, stop=stop_at(4)))
    assert isinstance(events[0], Started)
    assert events[0].precision == name
    events = list(begin(tmp_path / "run", precision=precision, resume=True))
    assert isinstance(events[-1], Finished)
    model, _ = checkpoint.load(tmp_path / "run" / "checkpoint")
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_an_unknown_device_is_refused(begin: Begin, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no device 'abacus' on this machine; try --device cpu"):
        list(begin(tmp_path / "run", device="abacus"))


class Slope:
    """A stage whose loss is a steep slope of one parameter."""

    name, epochs, steps_per_epoch, n_clips = "slope", 1, 1, 1
    extra, caches_features = torch.nn.Module(), False

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": [self.model.weight], "lr": 0.1}]

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        return 1000 * self.model.weight.sum(), {}


def test_averages_and_clipping_by_hand() -> None:
    model = torch.nn.Linear(2, 1, bias=False)
    stage = Slope(model)
    options = TrainOptions(ema_decay=0.2, clip_norm=0.5, weight_decay=0.0)
    trainer = Trainer(model, stage, options, torch.float32)  # type: ignore[arg-type]
    batch: Any = SimpleNamespace(to=lambda device: None)
    seen = []
    for _ in range(4):
        height = 1000 * model.weight.sum().item()
        assert trainer.step(batch, 0.5)[0] == pytest.approx(height)
        assert model.weight.grad is not None
        assert model.weight.grad.norm() <= 0.5001
        seen.append(model.weight.detach().clone())
        assert 1000 * seen[-1].sum().item() == pytest.approx(height - 100, abs=1)  # 2 steps of 0.05
    assert trainer.optimizer.param_groups[0]["lr"] == 0.05
    # The first step is taken over; then the decay is 2 / 11, 3 / 12, ... but at most 0.2.
    average = seen[0]
    for decay, fresh in zip((2 / 11, 0.2, 0.2), seen[1:], strict=True):
        average = decay * average + (1 - decay) * fresh
    torch.testing.assert_close(trainer.ema_model.weight, average)


def test_biases_norms_and_single_weights_do_not_decay() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))
    stage: Any = Slope(model)
    stage.parameter_groups = lambda: [{"params": list(model.parameters()), "lr": 0.1}]
    stage.loss = lambda batch: (0.0 * sum(p.sum() for p in model.parameters()), {})
    before = [p.detach().clone() for p in model.parameters()]
    options = TrainOptions(weight_decay=0.5)
    batch: Any = SimpleNamespace(to=lambda device: None)
    Trainer(model, stage, options, torch.float32).step(batch, 1.0)  # type: ignore[arg-type]
    for was, now in zip(before, model.parameters(), strict=True):
        # AdamW takes rate times decay off a weight whose gradient is zero.
        torch.testing.assert_close(now.detach(), was * (1 - 0.1 * 0.5) if was.ndim > 1 else was)
