"""`bench papers`: a sound plan, correct comparisons, and models that are trained once."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.command import here

from serdemo.evaluation.predictions import PredictionSet
from serdemo.experiments import papers_page
from serdemo.experiments.papers import (
    arm_options,
    arm_scores,
    collect_results,
    compare_arms,
    load_predictions,
    question_results,
    run_folder,
    train_models,
)
from serdemo.experiments.papers_plan import NETWORKS, SVM, Arm, Paper, Question
from serdemo.experiments.papers_plan import papers as planned
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.training.events import Started
from serdemo.training.options import resolve_recipe

QUESTION = Question("one, beside the other", "base", "other", ("c",))


def predictions(guesses: str, truth: str = "aabb", speakers: str = "1122") -> PredictionSet:
    """Predictions for clips 0, 1, ... of corpus c, a letter each."""
    return PredictionSet(
        ("a", "b"),
        files=tuple(map(str, range(len(truth)))),
        corpora=("c",) * len(truth),
        speakers=tuple(speakers),
        truth=tuple(truth),
        probabilities=tuple((float(g == "a"), float(g == "b")) for g in guesses),
    )


@pytest.mark.parametrize("network", NETWORKS)
def test_every_model_of_the_plan_can_be_asked_for(network: str, tmp_path: Path) -> None:
    for paper in planned(network):
        names = [arm.name for arm in paper.arms]
        assert len(set(names)) == len(names)
        for at, arm in enumerate(paper.arms):
            assert not arm.init_from or arm.init_from in names[:at]
            if arm.recipe != SVM:
                options = {k: v for k, v in arm.options.items() if v != "speaker"}
                resolve_recipe(arm.recipe, options)  # raises for an option that is not known
        for question in paper.questions:
            assert {question.base, question.other} <= set(names)
            base, other = (
                next(a for a in paper.arms if a.name == name)
                for name in (question.base, question.other)
            )
            assert base.corpora == other.corpora  # else it would compare the data


def test_an_arm_begins_with_the_model_of_its_own_seed(tmp_path: Path) -> None:
    arm = Arm("b", "cross_corpus", "x", {"epochs": 3}, init_from="a")
    assert arm_options(arm, 2, tmp_path) == {
        "epochs": 3,
        "init_from": str(tmp_path / "a" / "seed-2" / "checkpoint"),
        "seed": 2,
    }


def test_a_comparison_by_hand() -> None:
    result = compare_arms(
        QUESTION,
        "c",
        [predictions("abbb"), predictions("aabb")],
        [predictions("aaab"), predictions("aaab")],
    )
    assert result is not None
    assert (result.clips, result.speakers) == (4, 2)
    assert result.uar_base["values"] == [0.75, 1.0]
    assert result.uar_other["values"] == [0.75, 0.75]
    assert result.difference == pytest.approx(-0.125)
    # Speaker 1 utters a alone, speaker 2 b alone: drawn twice, each is a UAR of its own class.
    # The base is 1/2, 3/4 or 1 on speaker 1 and always 1 on speaker 2; the other 1 and 1/2.
    assert result.ci95 == pytest.approx((-0.5, 0.5))


def test_answers_that_are_alike_differ_by_nothing() -> None:
    result = compare_arms(QUESTION, "c", [predictions("abab")], [predictions("abab")])
    assert result is not None
    assert (result.difference, *result.ci95) == (0.0, 0.0, 0.0)
    assert compare_arms(QUESTION, "d", [predictions("abab")], [predictions("abab")]) is None


def test_only_clips_that_all_answered_are_compare_arms() -> None:
    short = predictions("bb", truth="aa", speakers="11")
    result = compare_arms(QUESTION, "c", [predictions("aabb")], [short])
    assert result is not None
    assert (result.clips, result.speakers) == (2, 1)
    assert (result.uar_base["mean"], result.uar_other["mean"]) == (1.0, 0.0)
    assert result.ci95 == (-1.0, -1.0)


def test_of_a_single_speaker_clips_are_drawn() -> None:
    rng = np.random.default_rng(0)
    truth = "ab" * 50
    guess = "".join(t if rng.random() < 0.6 else ("b" if t == "a" else "a") for t in truth)
    right = sum(g == t for g, t in zip(guess, truth, strict=True)) / 100
    result = compare_arms(
        QUESTION,
        "c",
        [predictions(truth, truth, "1" * 100)],
        [predictions(guess, truth, "1" * 100)],
    )
    assert result is not None
    assert result.difference == pytest.approx(right - 1)
    low, high = result.ci95
    # The binomial's deviation is 4.9 points, so 1.96 of them to either side.
    assert high - low == pytest.approx(2 * 1.96 * 0.049, abs=0.03)
    assert low < result.difference < high


@pytest.fixture(scope="module")
def paper(
    corpus_root: Path, tiny_values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Paper:
    """A paper of three small arms, on the simple corpus told as EMO-DB's speakers."""
    path = tmp_path_factory.mktemp("tables") / "emodb.csv"
    clips = shutil.copytree(corpus_root, path.parent / "clips")
    names = {"anna": "03", "bert": "08", "cleo": "11", "dora": "09"}
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["path", "speaker", "emotion"])
        for clip in sorted(clips.rglob("*.wav")):
            emotion, speaker = clip.parent.name, clip.parent.parent.name
            lines.writerow([clip.relative_to(path.parent), names[speaker], emotion])
    stage_1 = {**tiny_values, "contrast_epochs": 1, "epochs": 0}
    tuned = {**tiny_values, "contrast_epochs": 0, "epochs": 1}
    corpus = str(path)
    return Paper(
        number="0000.00000",
        title="A small paper",
        reported=(("UAR", "99.9"),),
        unavailable="nothing",
        arms=(
            Arm("first", "cross_corpus", corpus, stage_1),
            Arm("direct", "cross_corpus", corpus, tuned),
            Arm("other", "cross_corpus", corpus, tuned, init_from="first"),
            Arm("svm", SVM, corpus),
        ),
        questions=(
            Question("stage 1, beside none", "direct", "other", ("emodb",)),
            Question("a network, beside an SVM", "svm", "direct", ("emodb",)),
        ),
    )


@pytest.mark.slow
def test_what_is_missing_is_trained_once_and_compare_arms(paper: Paper, tmp_path: Path) -> None:
    assert not train_models(paper, tmp_path, None, 2, stop_after=0.0)
    assert question_results(paper, tmp_path, 2) == []
    started: list[str] = []

    def show(title: str, events: Any) -> None:
        started.extend(title for event in events if isinstance(event, Started))

    assert train_models(paper, tmp_path, None, 2, show=show)
    assert started == [
        f"{number} of 8: {name}, seed {seed}"
        for seed in range(2)
        for number, name in enumerate(("first", "direct", "other"), start=1 + 4 * seed)
    ]
    started.clear()
    assert train_models(paper, tmp_path, None, 2, show=show)
    assert started == []
    assert train_models(paper, tmp_path, None, 3, show=show, only=["direct"], shared={"threads": 1})
    assert started == ["3 of 3: direct, seed 2"]
    config = json.loads((run_folder(tmp_path, "direct", 2) / "config.json").read_text())
    assert config["options"]["threads"] == 1
    with pytest.raises(UsageError, match="no model 'huge' here; known are first, direct"):
        train_models(paper, tmp_path, None, 2, only=["huge"])
    assert [len(load_predictions(tmp_path, arm.name, 2)) for arm in paper.arms] == [2, 2, 2, 1]
    assert not load_predictions(tmp_path, "first", 1)[0].files  # stage 1 alone answers nothing
    machine = load_predictions(tmp_path, "svm", 2)[0]
    assert set(machine.speakers) == {"emodb/11"}
    assert len(machine.files) == 6

    results = question_results(paper, tmp_path, 2)
    assert [(row.base, row.other, row.clips) for row in results] == [
        ("direct", "other", 6),
        ("svm", "direct", 6),
    ]
    assert len(results[1].uar_base["values"]) == 1
    rows = arm_scores(paper, tmp_path, 2)
    assert [row["arm"] for row in rows] == ["direct", "other", "svm"]
    assert rows[0]["uar"] == results[0].uar_base

    result = {
        "paper": paper.number,
        "title": paper.title,
        "network": "compact",
        "reported": [{"what": "UAR", "figure": "99.9"}],
        "not_had": paper.unavailable,
        "answers": [row.to_json() for row in results],
        "arms": rows,
    }
    papers_page.write(tmp_path, [result], "serdemo bench papers --run here")
    text = (tmp_path / "papers.md").read_text(encoding="utf-8")
    assert "## A small paper (arXiv 0000.00000)" in text
    assert "| UAR | 99.9 |" in text
    mean = f"{100 * results[0].difference:+.1f}"
    assert f"emodb, 1 speakers, 6 clips | {papers_page.rate(results[0].uar_base)}" in text
    assert f"| {mean} (" in text
    assert "(1 seed)" in text


def test_the_command_says_what_is_wrong(tmp_path: Path, corpus_root: Path) -> None:
    ran = here("bench", "papers", "--run", tmp_path / "a", "--network", "huge")
    assert (ran.code, ran.out) == (2, "")
    assert "no network 'huge'" in ran.err
    ran = here("bench", "papers", "--run", tmp_path / "a", "--paper", "1")
    assert ran.code == 2
    assert "no paper '1'" in ran.err
    ran = here("bench", "papers", "--run", tmp_path / "a", "--model", "huge")
    assert ran.code == 2
    assert "no model 'huge'" in ran.err
    ran = here("bench", "papers", "--run", tmp_path / "a", "--with", "threads=some")
    assert ran.code == 2
    assert "--threads cannot be 'some'" in ran.err
    ran = here("bench", "papers", "--run", tmp_path / "a", "--stop-after", "nan")
    assert ran.code == 2
    ran = here("bench", "papers", "--run", tmp_path / "a", "--stop-after", "0")
    assert ran.code == 1
    assert "Nothing has been trained" in ran.err
    with pytest.raises(SerdemoError, match="Nothing has been trained"):
        collect_results(tmp_path, 3)


def test_the_command_writes_the_page_of_what_there_is(tmp_path: Path) -> None:
    folder = tmp_path / "compact" / "2411.19803"
    for name, guesses in (("direct-ravdess", "abbb"), ("cross-ravdess", "aabb")):
        own = run_folder(folder, name, 0)
        own.mkdir(parents=True)
        answers = {**predictions(guesses).to_json(), "corpora": ["ravdess"] * 4}
        (own / "answers.json").write_text(json.dumps(answers))
    result = here("bench", "papers", "--run", tmp_path, "--stop-after", "0", "--json").json()
    assert result["finished"] is False
    (paper,) = result["papers"]
    assert (paper["paper"], paper["network"]) == ("2411.19803", "compact")
    (answer,) = paper["answers"]
    assert answer["difference"] == pytest.approx(0.25)
    assert "+25.0" in (tmp_path / "papers.md").read_text(encoding="utf-8")
