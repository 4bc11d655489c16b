"""Stages one after another: what each hands on, and what a stop or a kill may not change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.unbroken import Begin, end_of, goes_on_when_stopped

from serdemo.nn import checkpoint
from serdemo.nn.description import read_description
from serdemo.training.events import EpochEnd, Finished, Saved
from serdemo.training.recipes.base import Validation
from serdemo.training.recipes.cross_corpus import ContrastStage
from serdemo.training.recipes.stages import ClassifyStage


def test_each_stage_chooses_its_best_and_the_next_begins_from_it(
    begin_two: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = {"contrast": iter([0.5, 0.9, 0.4]), "classify": iter([0.2, 0.1])}

    def scored(stage: Any, model: Any) -> Validation:
        score = next(scores[stage.name])
        return Validation(score, {"uar": score}, temperature=1 + score)

    initial: list[dict[str, torch.Tensor]] = []

    def groups(stage: ClassifyStage) -> list[dict[str, Any]]:
        initial.append({k: v.clone() for k, v in stage.model.state_dict().items()})
        return [stage.group(stage.model.classifier)]

    monkeypatch.setattr(ContrastStage, "validate", scored)
    monkeypatch.setattr(ClassifyStage, "validate", scored)
    monkeypatch.setattr(ClassifyStage, "parameter_groups", groups)
    run, saved = tmp_path / "run", []
    for event in begin_two(run, contrast_epochs=3):
        if isinstance(event, Saved):
            saved.append(checkpoint.load(run / "checkpoint")[0].state_dict())
    first, best, third = saved[:3]
    assert not all(torch.equal(first[name], best[name]) for name in best)
    assert all(torch.equal(third[name], best[name]) for name in best)
    assert all(torch.equal(initial[0][name], best[name]) for name in best)
    description = read_description(run / "checkpoint")
    assert description.metrics["validation"] == {"uar": 0.2}  # its own, lower though it is
    assert description.temperature == pytest.approx(1.2)


def test_a_stage_that_is_not_validated_keeps_no_figures_of_the_one_before(
    begin_two: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClassifyStage, "validate", lambda *_: None)
    events = list(begin_two(tmp_path / "run"))
    assert {e.stage for e in events if isinstance(e, EpochEnd)} == {"contrast"}
    assert isinstance(events[-1], Finished)
    assert events[-1].metrics == {}
    description = read_description(tmp_path / "run" / "checkpoint")
    assert "validation" not in description.metrics
    assert (description.temperature, description.unsure_below) == (1.0, 0.0)


def test_a_stage_may_have_nothing_to_choose_by_before_one_that_has(
    begin_two: Begin, tmp_path: Path
) -> None:
    events = []
    for event in begin_two(tmp_path / "run", margin_loss="pairs"):
        events.append(event)
        if isinstance(event, Saved):
            checkpoint.load(tmp_path / "run" / "checkpoint")
    assert {e.stage for e in events if isinstance(e, EpochEnd)} == {"classify"}
    assert isinstance(events[-1], Finished)


def test_prototypes_are_trained_and_saved_with_the_run(begin_two: Begin, tmp_path: Path) -> None:
    list(begin_two(tmp_path / "one", contrast_epochs=1, epochs=0))
    list(begin_two(tmp_path / "two", contrast_epochs=2, epochs=0))
    first, second = (end_of(tmp_path / name)[0]["extra.prototypes"] for name in ("one", "two"))
    assert first.shape == (7, 8)
    assert not torch.equal(first, second)


STILL = dict(learning_rate=1e-7, contrast_epochs=9, epochs=9, early_stop=2)


@pytest.mark.slow
@pytest.mark.parametrize("at", [5, 8])
def test_why_a_stage_ended_early_outlives_a_stop(begin_two: Begin, tmp_path: Path, at: int) -> None:
    goes_on_when_stopped(begin_two, tmp_path, at, **STILL)


def test_each_stage_is_stopped_early_by_itself(begin_two: Begin, tmp_path: Path) -> None:
    events = list(begin_two(tmp_path / "run", **STILL))
    ends = [(e.stage, e.best) for e in events if isinstance(e, EpochEnd)]
    best = (True, False, False)
    assert ends == [(name, one) for name in ("contrast", "classify") for one in best]
    assert isinstance(events[-1], Finished)
    assert events[-1].note == "".join(
        f"Stage {name} ended after epoch 3 of 9: 2 epochs brought nothing better. "
        for name in ("contrast", "classify")
    )
