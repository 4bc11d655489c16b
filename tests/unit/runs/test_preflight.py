"""What is told before a run: its clips, and how long it will take."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from serdemo.data.splits import Split, by_speakers
from serdemo.nn.device import device_name
from serdemo.runs import estimate, preflight
from serdemo.runs.estimate import StageTimes, StepTimings, time_dry_run, time_in_subprocess
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Utterance


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rehearsal in this process takes no more steps than it must."""
    monkeypatch.setattr(estimate, "MIN_TIMING_S", 0.05)


def test_what_is_wrong_is_pointed_out(clips: list[Utterance], split: Split) -> None:
    many = [replace(u, path=Path(f"{n}-{u.path.name}")) for n in range(10) for u in clips]
    assert preflight.preflight_warnings(by_speakers(many, valid=["cleo"], test=["dora"])) == ()
    assert preflight.preflight_warnings(split) == (
        "Only 4 of angry, 4 of happy, 4 of sad: an emotion with fewer than 10 clips is hardly"
        " learnt.",
    )
    one = Split(train=tuple(u for u in many if u.speaker == "anna"))
    told = " ".join(preflight.preflight_warnings(one))
    for words in ("of one speaker", "the last epoch counts", "nothing will tell how good"):
        assert words in told
    long = Split(train=tuple(replace(u, duration_s=45.0) for u in many))
    assert f"{len(many)} clips are longer than 30 s" in " ".join(preflight.preflight_warnings(long))
    with pytest.raises(UsageError, match="no clip to train on"):
        preflight.preflight_warnings(Split(test=tuple(clips)))


@pytest.mark.parametrize("recipe", ["supervised", "cross_corpus"])
def test_an_estimate_adds_up(tiny_values: dict[str, Any], split: Split, recipe: str) -> None:
    values = {**tiny_values, "epochs": 100}
    if recipe == "cross_corpus":
        values["contrast_epochs"] = 50
    found = estimate.estimate_duration(recipe, values, split, time_dry_run)
    assert found.of_epochs == found.epochs == (150 if recipe == "cross_corpus" else 100)
    assert found.clips_per_s > 1
    assert found.training >= 12 * found.epochs / found.clips_per_s * 0.999
    assert found.seconds > found.training
    with pytest.raises(UsageError, match="no option 'nonsense'"):
        estimate.estimate_duration(recipe, {"nonsense": 1}, split)


@pytest.mark.slow
def test_it_is_rehearsed_in_a_process_whose_start_counts(
    tiny_values: dict[str, Any], clips: list[Utterance], split: Split, tmp_path: Path
) -> None:
    began = time.perf_counter()
    took = time_in_subprocess("supervised", tiny_values, split)
    assert 0.2 < took.start_s < time.perf_counter() - began
    assert took.device.startswith("this machine's processor")
    (stage,) = took.stages
    assert stage.epochs == tiny_values["epochs"] and stage.train_share == 1.0
    for seconds in (
        stage.train_s,
        stage.check_s,
        took.decode_s,
        took.answer_s,
        took.save_s,
        took.load_s,
    ):
        assert 0 < seconds < 5
    gone = [replace(u, path=tmp_path / u.path.name) for u in clips]
    with pytest.raises(SerdemoError, match=r"anna-angry-0\.wav"):
        time_in_subprocess("supervised", tiny_values, by_speakers(gone, valid=["cleo"]))


@pytest.mark.slow
def test_what_cannot_be_rehearsed_is_a_sentence(
    tiny_values: dict[str, Any], split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "TIMEOUT_S", 0.01)
    with pytest.raises(SerdemoError, match="choose a smaller encoder"):
        time_in_subprocess("supervised", tiny_values, split)
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(SerdemoError, match="could not be measured"):
        time_in_subprocess("supervised", tiny_values, split)


def stages(epochs: int, **seconds: float) -> tuple[StageTimes, ...]:
    none = dict(
        train_share=1.0,
        first_step_s=0.0,
        first_pass_s=0.0,
        train_s=0.0,
        first_check_s=0.0,
        check_s=0.0,
    )
    return (StageTimes(epochs, **{**none, **seconds}),)


NOTHING = StepTimings(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, (), "here")


@pytest.mark.parametrize(
    ("took", "seconds"),
    [
        (replace(NOTHING, start_s=7.0, prepare_s=2.0), 9.0),
        (replace(NOTHING, decode_s=1.0), 12 + 6),  # to train on and to choose by
        (replace(NOTHING, stages=stages(3, train_s=1.0)), 3 * 12),
        (replace(NOTHING, stages=stages(3, train_s=1.0, train_share=0.5)), 3 * 6),
        (replace(NOTHING, stages=stages(3, first_pass_s=1.0, first_step_s=5.0)), 12 + 5),
        (replace(NOTHING, stages=stages(3, check_s=1.0, first_check_s=2.0)), (3 + 2) * 6),
        (replace(NOTHING, save_s=1.0, stages=stages(3)), estimate.SAVED_COPIES * 3),
        (replace(NOTHING, answer_s=1.0), 6 + 12 + 6),  # calibrated, the prior measured, tested
        (replace(NOTHING, load_s=1.0), 2),
    ],
)
def test_every_part_of_a_run_counts(
    tiny_values: dict[str, Any], split: Split, took: StepTimings, seconds: float
) -> None:
    found = estimate.estimate_duration("supervised", tiny_values, split, lambda *_: took)
    assert found.seconds == pytest.approx(seconds)


def test_a_time_limit_ends_the_training_but_not_what_surrounds_it(
    tiny_values: dict[str, Any], split: Split
) -> None:
    took = replace(NOTHING, start_s=7.0, answer_s=1.0, stages=stages(100, train_s=1.0))
    values = {**tiny_values, "budget_minutes": 2.0}
    found = estimate.estimate_duration("supervised", values, split, lambda *_: took)
    assert found.training == pytest.approx(120)
    assert found.seconds == pytest.approx(7 + 120 + 24)
    assert found.epochs == pytest.approx(10)


def test_a_gpu_is_named_and_a_processor_too(
    tiny_values: dict[str, Any], split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = estimate.estimate_duration("supervised", tiny_values, split, time_dry_run)
    assert found.device == "this machine's processor (1 thread)"
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: f"Fast GPU {device.index}")
    assert device_name(torch.device("cuda", 1)) == "Fast GPU 1"
    assert device_name(torch.device("mps")) == "this machine's GPU (mps)"


def test_with_a_start_the_test_clips_are_heard_thrice(
    tiny_values: dict[str, Any], split: Split, tiny_checkpoint: Path
) -> None:
    took = replace(NOTHING, answer_s=10.0)
    fresh, begun = (
        estimate.estimate_duration(
            "supervised", {**tiny_values, "init_from": start}, split, lambda *_: took
        )
        for start in ("", str(tiny_checkpoint))
    )
    assert begun.seconds - fresh.seconds == pytest.approx(2 * 10.0 * len(split.test))
