"""At the end of a run: what it began with beside what came of it, on the same unseen speakers."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serdemo.data.splits import Split
from serdemo.evaluation import comparison
from serdemo.evaluation.comparison import BEFORE_AFTER, load_before_after
from serdemo.inference.predictor import Predictor
from serdemo.metrics.significance import compare_to_chance
from serdemo.nn import description
from serdemo.runs import training_run
from serdemo.schema.errors import SerdemoError
from serdemo.training.events import Finished


def finished(values: dict[str, Any], split: Split, run: Path) -> Finished:
    (*_, last) = training_run.train("supervised", {**values, "epochs": 1}, split, run)
    assert isinstance(last, Finished)
    return last


def test_a_run_tells_what_it_brought(
    tiny_values: dict[str, Any], tiny_checkpoint: Path, split: Split, tmp_path: Path
) -> None:
    last = finished({**tiny_values, "init_from": str(tiny_checkpoint)}, split, tmp_path / "tuned")
    (one,), said = load_before_after(tmp_path / "tuned")
    assert said == one.sentence
    assert last.verdict is not None and last.verdict.paired == one.paired
    assert (last.verdict.outcome, last.verdict.before) == (one.paired.verdict, "tiny")
    assert (last.verdict.speakers, last.verdict.unseen_speakers) == (1, True)
    assert said not in last.note
    assert (one.a, one.b, one.unseen_speakers, one.speakers) == ("tiny", "tuned", True, 1)
    assert one.paired.n == len(split.test) == 6
    (report,) = json.loads((tmp_path / "tuned" / "checkpoint" / "report.json").read_text("utf-8"))
    assert one.paired.uar_b == pytest.approx(report["uar"])
    before = Predictor(tiny_checkpoint, device="cpu")
    right = [before.predict(clip.path).label == clip.emotion for clip in split.test]
    assert one.paired.uar_a == pytest.approx(sum(right) / len(right))  # two clips of each emotion
    low, high = one.paired.ci95
    assert low <= one.paired.difference <= high


def test_without_a_start_there_is_no_before(
    tiny_values: dict[str, Any], split: Split, tmp_path: Path
) -> None:
    last = finished(tiny_values, split, tmp_path / "fresh")
    assert load_before_after(tmp_path / "fresh") == ([], "")
    reports = json.loads((tmp_path / "fresh" / "checkpoint" / "report.json").read_text("utf-8"))
    (one,) = compare_to_chance(reports)
    assert last.verdict is not None and last.verdict.chance == (one,)
    assert last.verdict.outcome == ("better" if one.better else "no difference")
    assert "of 6 clips of 1 unseen speaker" in one.why and "guessing gives 33%" in one.why


def test_speakers_that_the_first_model_knew_do_not_count(
    tiny_values: dict[str, Any], tiny_checkpoint: Path, split: Split, tmp_path: Path
) -> None:
    knowing = tmp_path / "knowing"
    shutil.copytree(tiny_checkpoint, knowing)
    described = description.read_description(knowing)
    known = {name: [*speakers, "dora"] for name, speakers in described.trained_on.items()}
    description.write_description(knowing, replace(described, name="knowing", trained_on=known))
    last = finished({**tiny_values, "init_from": str(knowing)}, split, tmp_path / "run")
    found, refusal = load_before_after(tmp_path / "run")
    assert found == []
    assert "trained or selected on every speaker" in refusal
    assert last.note.endswith(refusal) and last.verdict is None


def test_without_test_speakers_it_says_so(
    tiny_checkpoint: Path, split: Split, tmp_path: Path
) -> None:
    found, told = comparison.before_and_after(tiny_checkpoint, tiny_checkpoint, (), tmp_path)
    assert found == [] and load_before_after(tmp_path) == ([], told)
    assert told == "No speaker was kept for testing, so before and after are not compared."


@pytest.mark.parametrize("text", ["[]", "{", '{"found": [{}]}', '{"found": 3}'])
def test_a_damaged_comparison_is_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / BEFORE_AFTER).write_text(text, encoding="utf-8")
    with pytest.raises(SerdemoError, match=r"damaged|cannot be read"):
        load_before_after(tmp_path)
