from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.unbroken import Begin

from serdemo.data.dataset import ClipDataset
from serdemo.data.protocols import Fold
from serdemo.data.splits import Split, by_speakers
from serdemo.inference.predictor import Predictor
from serdemo.nn import checkpoint
from serdemo.nn.description import read_description
from serdemo.runs import crossval
from serdemo.runs.training_run import train
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Utterance
from serdemo.training.events import EpochEnd, Event, Finished, Started, Step
from serdemo.training.recipes.validation import validate

CALM = dict(speed=0.0, noise=0.0, reverberation=0.0, bandlimit=0.0, gain=0.0, dropout=0.0, masks=0)


def steps(events: list[Event], stage: str) -> list[Step]:
    return [e for e in events if isinstance(e, Step) and e.stage == stage]


@pytest.mark.slow
@pytest.mark.parametrize("margin_loss", ["softmax", "pairs"])
def test_eight_clips_are_learnt_by_heart(
    begin_two: Begin, two: list[Utterance], tmp_path: Path, margin_loss: str
) -> None:
    eight = tuple(u for u in two if u.emotion != "happy" and u.speaker in ("anna", "bert"))
    assert len(eight) == 8
    quick = dict(
        batch_size=8, learning_rate=1e-2, ema_decay=0.5, smoothing=0.0, classifier_width=32
    )
    run = tmp_path / "run"
    counts = dict(contrast_epochs=40, epochs=40, tune="head", margin_loss=margin_loss)
    events = list(begin_two(run, of=Split(train=eight), **CALM, **quick, **counts))
    # With two positives to an anchor InfoNCE cannot fall below log 2.
    contrast = [e.parts["contrastive"] - math.log(2) for e in steps(events, "contrast")]
    assert contrast[-1] < 0.3 * contrast[0]
    classify = [e.loss for e in steps(events, "classify")]
    assert classify[-1] < 0.5 * classify[0]
    model, _ = checkpoint.load(run / "checkpoint")
    scores = validate(model, ClipDataset(eight, model.labels), 8)
    assert scores is not None
    assert scores.metrics["uar"] == 1.0


def test_both_stages_are_run_and_the_target_chooses(
    begin_two: Begin, two_split: Split, tmp_path: Path
) -> None:
    events = list(begin_two(tmp_path / "run", target="right"))
    first, last = events[0], events[-1]
    assert isinstance(first, Started)
    assert isinstance(last, Finished)
    assert first.stages == ("contrast", "classify")
    assert (len(steps(events, "contrast")), len(steps(events, "classify"))) == (6, 4)
    ends = {(e.stage, tuple(e.metrics)) for e in events if isinstance(e, EpochEnd)}
    assert ends == {
        ("contrast", ("uar", "uar_left", "uar_right")),
        ("classify", ("uar", "uar_right")),
    }
    for step in steps(events, "contrast"):
        total = step.parts["contrastive"] + 0.5 * step.parts["margin"]
        assert step.loss == pytest.approx(total, rel=1e-5)
    _, description = checkpoint.load(tmp_path / "run" / "checkpoint")
    assert description.trained_on == {"left": ["anna"], "right": ["bert"]}
    assert description.options["target"] == "right"
    assert description.head_options["pooling"] == "attention"


def test_direct_fine_tuning_is_stage_2_alone(
    begin_two: Begin, two: list[Utterance], tmp_path: Path
) -> None:
    left = by_speakers([u for u in two if u.corpus == "left"], valid=["cleo"])
    events = list(begin_two(tmp_path / "run", of=left, target="left", contrast_epochs=0))
    assert isinstance(events[0], Started)
    assert events[0].stages == ("classify",)
    _, description = checkpoint.load(tmp_path / "run" / "checkpoint")
    assert description.trained_on == {"left": ["anna"]}
    assert description.selected_on == {"left": ["cleo"]}


def test_what_cannot_be_is_refused(begin_two: Begin, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave right out of --corpus"):
        list(begin_two(tmp_path / "run", target="left", contrast_epochs=0))
    with pytest.raises(UsageError, match="both 0: nothing is trained"):
        list(begin_two(tmp_path / "run", contrast_epochs=0, epochs=0))


def test_stage_1_alone_is_not_scored(
    tiny_values: dict[str, Any], two_split: Split, tmp_path: Path
) -> None:
    values = {**tiny_values, "contrast_epochs": 1, "epochs": 0}
    events = list(train("cross_corpus", values, two_split, tmp_path / "run"))
    assert isinstance(events[-1], Finished)
    assert events[-1].note == "Stage 1 alone: no classifier yet; go on from it with --init-from."
    folder = tmp_path / "run" / "checkpoint"
    assert not (folder / "report.json").exists()
    ended = [event for event in events if isinstance(event, EpochEnd)]
    assert len(ended) == 1  # by the prototypes, which know the emotions
    assert [len(row) for row in ended[0].confusion] == [len(ended[0].labels)] * 7
    assert read_description(folder).labels == ()
    with pytest.raises(SerdemoError, match="run embeds voices and has no emotion classifier"):
        Predictor(folder)
    protocol = {"recipe": "cross_corpus", "options": values, "seeds": 1, "command": ""}
    with pytest.raises(UsageError, match="cross_corpus answers no emotion"):
        crossval.run_protocol(protocol, [Fold("unseen", "", two_split, "")], tmp_path / "crossval")
    assert not (tmp_path / "crossval").exists()


def test_what_began_with_stage_1_alone_is_compared_with_guessing(
    tiny_values: dict[str, Any], two: list[Utterance], tmp_path: Path
) -> None:
    split = by_speakers(two, valid=["left/cleo"], test=["right/dora"])
    values = {**tiny_values, "contrast_epochs": 1, "epochs": 0}
    list(train("cross_corpus", values, split, tmp_path / "one"))
    start = str(tmp_path / "one" / "checkpoint")
    values |= {"contrast_epochs": 0, "epochs": 1, "target": "right", "init_from": start}
    right = Split(tuple(u for u in split.train if u.corpus == "right"), (), split.test)
    *_, ended = train("cross_corpus", values, right, tmp_path / "two")
    assert isinstance(ended, Finished)
    assert ended.verdict is not None
    assert "right: " in ended.verdict.chance[0].sentence
    assert "where guessing gives 33%" in ended.verdict.chance[0].sentence
    assert "classifier" not in ended.note


def test_stage_2_can_begin_from_a_run_of_stage_1_alone(
    begin_two: Begin, two: list[Utterance], tmp_path: Path
) -> None:
    events = list(begin_two(tmp_path / "one", epochs=0))
    assert isinstance(events[0], Started)
    assert events[0].stages == ("contrast",)
    first, _ = checkpoint.load(tmp_path / "one" / "checkpoint")
    right = by_speakers([u for u in two if u.corpus == "right"], valid=["dora"])
    from_it = dict(init_from=str(tmp_path / "one" / "checkpoint"), contrast_epochs=0, tune="head")
    list(begin_two(tmp_path / "two", of=right, target="right", **from_it))
    second, description = checkpoint.load(tmp_path / "two" / "checkpoint")
    assert torch.equal(first.embedding.weight, second.embedding.weight)
    assert description.trained_on == {"left": ["anna"], "right": ["bert"]}
    assert description.selected_on == {"left": ["cleo"], "right": ["dora"]}
    with pytest.raises(UsageError, match="has another encoder"):
        list(begin_two(tmp_path / "three", of=right, **{**from_it, "width": 24}))


def test_tune_head_leaves_the_rest_as_stage_1_left_it(begin_two: Begin, tmp_path: Path) -> None:
    list(begin_two(tmp_path / "one", epochs=1, tune="head"))
    list(begin_two(tmp_path / "two", epochs=3, tune="head"))
    first = checkpoint.load(tmp_path / "one" / "checkpoint")[0].state_dict()
    second = checkpoint.load(tmp_path / "two" / "checkpoint")[0].state_dict()
    changed = {name for name in first if not torch.equal(first[name], second[name])}
    assert changed
    assert {name.split(".")[0] for name in changed} == {"classifier"}


def test_one_corpus_alone_has_its_positives_within(
    begin_two: Begin, two: list[Utterance], tmp_path: Path
) -> None:
    left = by_speakers([u for u in two if u.corpus == "left"])
    events = list(begin_two(tmp_path / "run", of=left))
    assert all(step.parts["contrastive"] > 0 for step in steps(events, "contrast"))


@pytest.mark.parametrize("target", ["nowhere", "ri"])
def test_a_target_without_clips_is_refused(begin_two: Begin, tmp_path: Path, target: str) -> None:
    with pytest.raises(UsageError, match=f"--target {target} has no clips to train on"):
        list(begin_two(tmp_path / "run", target=target))


def test_an_embedding_does_not_depend_on_its_batch_mates(
    begin_two: Begin, two: list[Utterance], tmp_path: Path
) -> None:
    list(begin_two(tmp_path / "run", epochs=1))
    model, _ = checkpoint.load(tmp_path / "run" / "checkpoint")
    waves = [torch.randn(n, generator=torch.Generator().manual_seed(n)) for n in (5000, 16000)]
    alone = model.embed(waves[0][None], torch.tensor([5000]))
    padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    together = model.embed(padded, torch.tensor([5000, 16000]))
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=1e-4)
