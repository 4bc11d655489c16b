"""Cross-validation: who is left out, what is pooled, what is resumed, and what is reported."""

from __future__ import annotations

import json
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
from support.command import here

from serdemo.data import corpora
from serdemo.data.protocols import make_leaky_twins, plan_folds, speaker_overlap
from serdemo.data.splits import Split
from serdemo.evaluation.predictions import (
    PredictionSet,
    concat,
    mean_of_corpora,
    mean_std,
    score,
    scores_over_seeds,
)
from serdemo.metrics import bootstrap
from serdemo.runs import crossval
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Utterance
from serdemo.training.events import Event, Step

SPEAKERS = ("anna", "bert", "cleo", "dora")


def made(corpus: str = "x", speakers: int = 4, takes: int = 3, **more: Any) -> list[Utterance]:
    """Clips of two emotions; the sessions, where asked for, are of two speakers each."""
    return [
        Utterance(
            Path(f"{corpus}/{speaker}/{emotion}-{take}.wav"),
            corpus,
            f"s{speaker}",
            emotion,
            emotion,
            fold=f"session{speaker // 2}" if more.get("sessions") else "",
        )
        for speaker in range(speakers)
        for emotion in ("angry", "sad")
        for take in range(takes)
    ]


def answered(
    *rows: tuple[str, str, str, float], labels: tuple[str, ...] = ("a", "b")
) -> PredictionSet:
    """Answers from (speaker, truth, file, probability of the first label)."""
    return PredictionSet(
        labels,
        files=tuple(file for _, _, file, _ in rows),
        corpora=("x",) * len(rows),
        speakers=tuple(f"x/{speaker}" for speaker, *_ in rows),
        truth=tuple(truth for _, truth, *_ in rows),
        probabilities=tuple((p, 1 - p) for *_, p in rows),
    )


# what is computed, by hand


def test_seeds_are_pooled_by_hand() -> None:
    first = answered(("1", "a", "1", 0.9), ("1", "b", "2", 0.2), ("2", "a", "3", 0.6))
    second = answered(("1", "a", "1", 0.9), ("1", "b", "2", 0.7), ("2", "a", "3", 0.4))
    found = scores_over_seeds([first, second])
    assert found is not None
    # Seed one: all right. Seed two: recall 1/2 of a, 0 of b.
    assert found["over_seeds"]["uar"]["values"] == pytest.approx([1.0, 0.25])
    assert found["over_seeds"]["uar"]["mean"] == pytest.approx(0.625)
    assert found["over_seeds"]["uar"]["sd"] == pytest.approx(0.75 / 2**0.5)
    assert found["over_seeds"]["wa"]["mean"] == pytest.approx((1 + 1 / 3) / 2)
    assert found["uar"] == pytest.approx(0.625)  # the same as the mean over seeds
    assert (found["n"], found["speakers"]) == (3, 2)
    assert found["confusion"] == ((3, 1), (1, 1))
    assert found["classes"] == ["a", "b"]
    # (0.1 + 0.2 + 0.4) / 3 in separate bins; 0.9, 0.7 and 0.6 with one right.
    assert found["over_seeds"]["ece"]["values"] == pytest.approx([0.7 / 3, (0.1 + 0.7 + 0.6) / 3])


def test_one_seed_has_no_deviation() -> None:
    assert mean_std([0.5]) == {"mean": 0.5, "sd": None, "values": [0.5]}
    assert mean_std([0.2, 0.4, 0.6])["sd"] == pytest.approx(0.2)
    assert scores_over_seeds([answered()]) is None
    assert score(answered()) is None


def test_a_clip_is_drawn_with_all_its_answers() -> None:
    """Ten answers to each of four clips are four clips' worth of knowledge, not forty."""
    truth, files = ["a", "a", "b", "b"], ["1", "2", "3", "4"]
    answers = ["a", "b", "b", "a"]
    once, *_ = bootstrap.bootstrap_draws(truth, answers, ["s"] * 4)
    many, *unit = bootstrap.bootstrap_draws(truth * 10, answers * 10, ["s"] * 40, clips=files * 10)
    assert np.array_equal(many, once)
    assert unit == ["clips", 4]
    alone, *_ = bootstrap.bootstrap_draws(truth * 10, answers * 10, ["s"] * 40)
    assert np.ptp(bootstrap.percentile_interval(alone)) < np.ptp(
        bootstrap.percentile_interval(many)
    )


def test_models_with_other_labels_are_joined() -> None:
    other = answered(("3", "c", "9", 0.8), labels=("c", "b"))
    both = concat([answered(("1", "a", "1", 0.9)), other])
    assert both.labels == ("a", "b", "c")
    assert np.allclose(both.probabilities, [(0.9, 0.1, 0), (0, 0.2, 0.8)])
    assert PredictionSet.from_json(json.loads(json.dumps(both.to_json()))) == both


@pytest.mark.parametrize("change", [{"truth": ["a"]}, {"probabilities": [[1.0]]}, {"refused": 3}])
def test_damaged_answers_are_one_sentence(change: dict[str, Any]) -> None:
    values = json.loads(json.dumps(answered(("1", "a", "1", 0.9), ("1", "a", "2", 0.9)).to_json()))
    for bad in ({**values, **change}, [], {}):
        with pytest.raises(SerdemoError, match="saved answers are damaged"):
            PredictionSet.from_json(bad)


# who is left out


@pytest.mark.parametrize(
    ("by", "k", "count"), [("speaker", None, 6), ("speaker", 3, 3), ("session", None, 3)]
)
def test_every_clip_is_tested_once_by_strangers(by: str, k: int | None, count: int) -> None:
    clips = made(speakers=6, sessions=True)
    tasks = plan_folds(clips, by, k)
    assert len(tasks) == len({task.folder for task in tasks}) == count
    assert Counter(u.path for task in tasks for u in task.split.test) == Counter(
        u.path for u in clips
    )
    for task in tasks:
        parts = [set(task.split.speakers(part)) for part in ("train", "valid", "test")]
        assert all(parts), "each part has speakers"
        assert sum(map(len, parts)) == len(set().union(*parts)) == 6
        assert sum(map(len, task.split.parts.values())) == len(clips)


def test_shared_speakers_have_the_same_counts() -> None:
    clips = made(speakers=5, takes=6)
    tasks = plan_folds(clips, "speaker", leaky=True)
    unseen = [task.split for task in tasks if task.kind == "unseen"]
    shared = [task.split for task in tasks if task.kind == "shared"]
    assert Counter(u.path for one in shared for u in one.test) == Counter(u.path for u in clips)

    def counts(part: tuple[Utterance, ...]) -> Counter[str]:
        return Counter(u.emotion for u in part)

    for honest, leaky in zip(unseen, shared, strict=True):
        assert honest.speaker_independent and not leaky.speaker_independent
        for part in ("train", "valid", "test"):
            assert counts(honest.parts[part]) == counts(leaky.parts[part])
        assert speaker_overlap(honest) == 0.0
        assert speaker_overlap(leaky) == 1.0
        assert set(leaky.speakers("valid")) & set(leaky.speakers("train"))


def test_one_clip_a_speaker_cannot_be_shared() -> None:
    clips = made(speakers=4, takes=1)
    clips = [u for n, u in enumerate(clips) if n % 2 == 0]
    for leaky in make_leaky_twins([task.split for task in plan_folds(clips, "speaker")]):
        assert speaker_overlap(leaky) == 0.0


def test_the_matrix_holds_speakers_of_the_diagonal_out() -> None:
    clips = made("x", 5) + made("y", 3) + made("z", 1)
    tasks = plan_folds(clips, "corpus", leaky=True)
    kinds = Counter(task.kind for task in tasks)
    assert kinds == {"other corpora": 3, "one corpus": 3, "shared": 2}  # z has nobody to share
    for task in tasks:
        trained = {u.corpus for u in (*task.split.train, *task.split.valid)}
        tested = {u.corpus for u in task.split.test}
        if task.kind == "other corpora":
            assert (trained, tested) == ({"x", "y", "z"} - {task.name}, {task.name})
        elif task.kind == "one corpus":
            assert trained == {task.name}
            assert tested == ({"x", "y"} if task.name == "z" else {"x", "y", "z"})
            others = [u for u in clips if u.corpus != task.name]
            assert set(others) <= set(task.split.test)
        else:
            assert trained == tested == {task.name}
            assert speaker_overlap(task.split) > 0.5
        if task.kind != "shared":
            assert task.split.speaker_independent


def test_only_the_target_is_left_out() -> None:
    tasks = plan_folds(made("x", 3) + made("y", 2), "speaker", target="X")
    assert [task.name for task in tasks] == ["x/s0", "x/s1", "x/s2"]
    for task in tasks:
        assert {u.corpus for u in task.split.test} == {"x"}
        assert {u.speaker_key for u in (*task.split.train, *task.split.valid)} > {"y/s0", "y/s1"}
    with pytest.raises(UsageError, match=r"--target w is none of the corpora given \(x\)"):
        plan_folds(made(), "speaker", target="w")


@pytest.mark.parametrize(
    ("clips", "by", "k", "sentence"),
    [
        (made(speakers=1), "speaker", None, "1 fold.* cannot be made of 1 different speaker"),
        (made(), "speaker", 1, "1 fold.* cannot be made of 4 different speaker"),
        (made(), "speaker", 5, "5 fold.* cannot be made of 4"),
        (made(), "session", None, "Clips of x belong to no session"),
        (made(), "fold", None, "Clips of x belong to no fold"),
        (made(), "corpus", None, "1 fold.* cannot be made of 1 different corpus"),
        (made(), "corpus", 2, "--folds has no meaning with --by corpus"),
        (made(), "moon", None, "Folds are made by speaker, session, fold, corpus, not by 'moon'"),
    ],
)
def test_folds_that_cannot_be_made(
    clips: list[Utterance], by: str, k: int | None, sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        plan_folds(clips, by, k)


def test_folds_that_share_a_speaker_are_refused() -> None:
    clips = [replace(u, fold=f"fold{n % 2}") for n, u in enumerate(made())]
    with pytest.raises(SerdemoError, match="The speaker x/s0 stands in both"):
        plan_folds(clips, "fold")


# the command


@pytest.fixture(scope="module")
def options(tiny_values: dict[str, Any]) -> list[object]:
    given = {**tiny_values, "epochs": 1}
    return [w for key, v in given.items() for w in (f"--{key.replace('_', '-')}", v)]


@pytest.fixture(scope="module")
def first(
    corpus_root: Path, options: list[object], tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[object], Path, dict[str, Any]]:
    """A finished protocol: two folds of two speakers, two seeds, with the leakage measured."""
    run = tmp_path_factory.mktemp("crossval") / "first"
    line = ["crossval", "supervised", "--by", "speaker", "--corpus", corpus_root, "--run", run]
    more = ("--folds", 2, "--seeds", 2, "--leaky", "--json")
    found = here(*line, *options, *more, "--stop-after", 0)
    assert found.json() == {"finished": False, "models_done": 0, "models": 8}
    assert "Stopped; 0 of 8 models are done, go on with --resume." in found.err
    return line, run, here(*line, "--resume", "--json").json()


@pytest.mark.slow
def test_a_document_of_a_protocol(first: tuple[list[object], Path, dict[str, Any]]) -> None:
    _, _, found = first
    assert found["finished"] is True
    assert (found["recipe"], found["by"], found["folds_asked"]) == ("supervised", "speaker", 2)
    assert (found["seeds"], found["corpora"]) == ([0, 1], ["simple"])
    pooled, folds = found["pooled"], found["folds"]
    assert (pooled["n"], pooled["speakers"], len(folds)) == (24, 4, 2)
    tested = [name for fold in folds for name in fold["test_speakers"]]
    assert sorted(tested) == [f"simple/{name}" for name in SPEAKERS]
    for fold in folds:
        assert not set(fold["valid_speakers"]) & set(fold["test_speakers"])
        assert (fold["train_clips"], fold["valid_clips"], fold["scores"]["n"]) == (6, 6, 12)
    total = np.sum([fold["scores"]["confusion"] for fold in folds], axis=0)
    assert total.tolist() == pooled["confusion"]
    assert total.sum() == 48  # every clip once a seed
    assert pooled["uar_ci95"][0] <= pooled["uar"] <= pooled["uar_ci95"][1]
    assert pooled["ci95_over"] == "speakers"
    values = pooled["over_seeds"]["uar"]["values"]
    assert pooled["over_seeds"]["uar"]["mean"] == pytest.approx(sum(values) / 2)
    assert pooled["over_seeds"]["uar"]["sd"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert pooled["uar"] == pytest.approx(sum(values) / 2)
    assert found["by_corpus"]["simple"]["uar"] == pooled["uar"]
    shared = found["speakers_shared"]
    assert shared["scores"]["n"] == 24
    assert shared["test_clips_with_speaker_in_training"] > 0.5
    assert shared["uar_independent"] == pooled["uar"]
    assert shared["uar_difference"] == pytest.approx(shared["scores"]["uar"] - pooled["uar"])
    assert "simple" in found["command"] and "--root" not in found["command"]


def test_the_answers_are_those_of_the_checkpoints(
    first: tuple[list[object], Path, dict[str, Any]], corpus_root: Path
) -> None:
    from serdemo.inference.predictor import Predictor

    _, run, found = first
    fold = run / found["folds"][0]["folder"] / "seed-1"
    saved = PredictionSet.from_json(json.loads((fold / "answers.json").read_text(encoding="utf-8")))
    predictor = Predictor(fold / "checkpoint", device="cpu")
    assert predictor.description.options["seed"] == 1
    reply = predictor.predict(saved.files[0])
    assert saved.probabilities[0] == pytest.approx([reply.probabilities[x] for x in saved.labels])
    assert not (fold / "resume").exists()
    trained = {f"simple/{name}" for name in predictor.description.trained_on["simple"]}
    assert not trained & set(saved.speakers)


def test_what_is_written_beside_it(first: tuple[list[object], Path, dict[str, Any]]) -> None:
    _, run, found = first
    written = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert {"finished": True, **written} == found
    text = (run / "report.md").read_text(encoding="utf-8")
    mean, deviation = (100 * found["pooled"]["over_seeds"]["uar"][key] for key in ("mean", "sd"))
    assert f"| simple | 4 | 24 | 3 | {mean:.1f} ± {deviation:.1f} | " in text
    assert "serdemo crossval supervised --by speaker --corpus simple" in text
    assert "Each group of speakers left out once (2 folds)" in text
    assert "With speakers shared between training and test" in text
    drawn = ElementTree.parse(run / "confusion.svg").getroot()
    assert drawn.tag.endswith("svg")
    assert "![](confusion.svg)" in text


def test_a_finished_fold_is_not_trained_again(
    first: tuple[list[object], Path, dict[str, Any]], tmp_path: Path
) -> None:
    line, run, found = first
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    line = [*line[:-1], copy]
    lost = copy / found["folds"][1]["folder"] / "seed-0"
    shutil.rmtree(lost)
    before = {p: p.read_bytes() for p in copy.rglob("answers.json")}
    again = here(*line, "--resume", "--json")
    assert again.err.count("Finished in") == 1
    assert {p: p.read_bytes() for p in before} == before
    for rate in ("uar", "ece"):  # the same model, trained anew
        assert again.json()["pooled"][rate] == pytest.approx(found["pooled"][rate], abs=1e-4)
    told = here(*line, "--resume")
    assert (told.code, "Finished" in told.err) == (0, False)
    assert "Speakers shared" in told.out and "report.md" in told.out


def test_seeds_may_be_added(
    first: tuple[list[object], Path, dict[str, Any]], tmp_path: Path
) -> None:
    line, run, found = first
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    ran = here(*line[:-1], copy, "--resume", "--seeds", 3, "--json")
    assert ran.err.count("Finished in") == 4
    more = ran.json()
    assert more["seeds"] == [0, 1, 2]
    values = more["pooled"]["over_seeds"]["uar"]["values"]
    assert values[:2] == found["pooled"]["over_seeds"]["uar"]["values"]


def test_what_each_model_begins_with_has_heard_nobody_tested(
    corpus_root: Path, options: list[object], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    for speaker in ("cleo", "dora"):  # the checkpoint was chosen by cleo
        shutil.copytree(corpus_root / speaker, tmp_path / "simple" / speaker)
    line = ("crossval", "supervised", "--by", "speaker", *options, "--run", tmp_path / "run")
    for corpus, speaker in ((corpus_root, "anna"), (tmp_path / "simple", "cleo")):
        ran = here(*line, "--corpus", corpus, "--start", tiny_checkpoint)
        assert (ran.code, ran.out) == (2, "")
        assert f"begins with was made with the speaker simple/{speaker}" in ran.err
        assert not (tmp_path / "run").exists()
    # By its key in `serdemo models`, too
    ran = here(*line, "--corpus", corpus_root, "--start", "compact")
    assert "compact has another encoder than this run" in ran.err


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ((), "already holds a cross-validation; add --resume"),
        (("--resume", "--by", "corpus"), "another protocol (by speaker, not corpus)"),
        (("--resume", "--folds", 3), "another protocol (folds 2, not 3)"),
        (("--resume", "--epochs", 7), "begun with other options: leave --epochs as it was"),
        (("--resume", "--corpus", "less"), "begun on other clips"),
    ],
)
def test_another_protocol_is_refused(
    first: tuple[list[object], Path, dict[str, Any]],
    corpus_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: tuple[object, ...],
    sentence: str,
) -> None:
    line, run, _ = first
    for speaker in SPEAKERS[:2]:
        shutil.copytree(corpus_root / speaker, tmp_path / "less" / speaker)
    monkeypatch.chdir(tmp_path)
    before = (run / "protocol.json").read_bytes()
    ran = here(*line, *change)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert sentence in ran.err
    assert (run / "protocol.json").read_bytes() == before


def test_bad_options_and_folders_leave_nothing_behind(
    corpus_root: Path, options: list[object], tmp_path: Path
) -> None:
    line = ["crossval", "supervised", "--by", "speaker", "--corpus", corpus_root]
    ran = here(*line, "--run", tmp_path / "run", *options, "--heads", 3)
    assert (ran.code, "--heads must divide --width" in ran.err) == (2, True)
    ran = here(*line, "--run", tmp_path / "run", "--device", "moon")
    assert ran.code == 2
    assert not (tmp_path / "run").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    ran = here(*line, "--run", tmp_path / "mine")
    assert (ran.code, "holds something else" in ran.err) == (2, True)


def test_unfinished_folds_have_no_report(
    first: tuple[list[object], Path, dict[str, Any]], corpus_root: Path, tmp_path: Path
) -> None:
    _, run, _ = first
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    next(copy.rglob("answers.json")).unlink()
    protocol = json.loads((run / "protocol.json").read_text(encoding="utf-8"))
    tasks = plan_folds(corpora.load(str(corpus_root)), "speaker", 2, leaky=True)
    with pytest.raises(SerdemoError, match=r"1 of 8 models of .*copy are not finished.*--resume"):
        crossval.load_predictions(protocol, tasks, copy)
    # Its model is trained and kept, so only the answers are given again.
    assert crossval.run_protocol(protocol, tasks, copy)
    assert len(crossval.load_predictions(protocol, tasks, copy)) == 4


def test_an_interrupt_leaves_what_can_be_resumed(
    corpus_root: Path, tiny_values: dict[str, Any], tmp_path: Path
) -> None:
    clips = corpora.load(str(corpus_root))
    settings = {"recipe": "supervised", "by": "speaker", "folds": 2, "seeds": 1, "leaky": None}
    values = {**tiny_values, "epochs": 1}
    protocol = crossval.open_protocol(tmp_path / "run", clips, settings, values)
    tasks = plan_folds(clips, "speaker", 2)
    titles: list[str] = []

    def interrupt(title: str, happening: Iterator[Event]) -> None:
        titles.append(title)
        for event in happening:
            if isinstance(event, Step) and len(titles) == 2:
                signal.raise_signal(signal.SIGINT)

    assert not crossval.run_protocol(protocol, tasks, tmp_path / "run", show=interrupt)
    assert [title[:6] for title in titles] == ["1 of 2", "2 of 2"]
    assert crossval.progress(protocol, tasks, tmp_path / "run") == (1, 2)
    protocol = crossval.open_protocol(tmp_path / "run", clips, settings, {}, resume=True)
    assert protocol["options"] == values
    assert crossval.run_protocol(protocol, tasks, tmp_path / "run", show=interrupt)
    assert titles[-1].startswith("2 of 2")
    (answers,), (others,) = crossval.load_predictions(protocol, tasks, tmp_path / "run")
    assert len(answers.files) + len(others.files) == 24


def other_voices(corpus: Path, folder: Path) -> Path:
    """A copy of a corpus of other sounds: each a little softer."""
    shutil.copytree(corpus, folder)
    for path in folder.rglob("*.wav"):
        samples, rate = soundfile.read(path)
        soundfile.write(path, 0.9 * samples, rate)
    return folder


@pytest.mark.slow
def test_the_cross_corpus_matrix(corpus_root: Path, options: list[object], tmp_path: Path) -> None:
    """Two corpora; the second knows no sad voices, so those are left out of what it is asked."""
    other = other_voices(corpus_root, tmp_path / "other")
    for folder in other.glob("*/sad"):
        shutil.rmtree(folder)
    run = tmp_path / "run"
    line = ("crossval", "supervised", "--by", "corpus", "--corpus", f"{corpus_root},{other}")
    found = here(*line, "--run", run, *options, "--json").json()
    matrix = found["matrix"]
    assert matrix["corpora"] == ["other", "simple"]
    assert np.shape(matrix["uar"]) == (2, 2)
    cells = {(one["train"], one["test"]): one["scores"] for one in matrix["cells"]}
    assert [cells[key]["uar"] for key in cells] == list(np.ravel(matrix["uar"]))
    assert cells["other", "simple"]["classes"] == ["angry", "happy"]
    assert (cells["other", "simple"]["n"], cells["other", "simple"]["left_out"]) == (16, 8)
    assert cells["simple", "simple"]["classes"] == ["angry", "happy", "sad"]
    assert (cells["simple", "simple"]["n"], cells["simple", "simple"]["speakers"]) == (6, 1)
    assert (cells["simple", "other"]["n"], cells["simple", "other"]["speakers"]) == (16, 4)
    assert [one["test"] for one in found["leave_one_out"]] == ["other", "simple"]
    assert [one["scores"]["n"] for one in found["leave_one_out"]] == [16, 16]
    assert found["speakers_shared"] is None
    text = (run / "report.md").read_text(encoding="utf-8")
    figures = " | ".join(f"{100 * value:.1f}" for value in matrix["uar"][0])
    assert f"| other | {figures} |" in text
    assert "| all others | " in text
    assert (run / "cross-corpus.svg").stat().st_size > 1000


def test_each_corpus_left_out_and_nothing_else(
    corpus_root: Path, options: list[object], tmp_path: Path
) -> None:
    other = other_voices(corpus_root, tmp_path / "other")
    run = tmp_path / "run"
    line = (
        "crossval",
        "supervised",
        "--by",
        "one-corpus-out",
        "--corpus",
        f"{corpus_root},{other}",
    )
    found = here(*line, "--run", run, *options, "--json").json()
    assert [fold["name"] for fold in found["folds"]] == ["other", "simple"]
    assert [fold["scores"]["n"] for fold in found["folds"]] == [24, 24]
    mean = found["mean_of_corpora"]
    rates = [one["uar"] for one in found["by_corpus"].values()]
    assert mean["uar"] == pytest.approx(np.mean(rates))
    assert mean["corpora"] == 2
    low, high = mean["uar_ci95"]
    assert low <= mean["uar"] <= high
    text = (run / "report.md").read_text(encoding="utf-8")
    assert f"| mean of the corpora |  |  |  | {100 * mean['uar']:.1f} | " in text
    ran = here(*line, "--run", tmp_path / "no", *options, "--leaky")
    assert (ran.code, "no meaning with --by one-corpus-out" in ran.err) == (2, True)


def test_the_mean_of_corpora_by_hand() -> None:
    labels = ("angry", "sad")

    def answers(corpus: str, rows: list[tuple[float, float]]) -> PredictionSet:
        count = len(rows)
        return PredictionSet(
            labels,
            tuple(f"{corpus}-{n}" for n in range(count)),
            (corpus,) * count,
            (f"{corpus}/s",) * count,
            tuple(labels[n % 2] for n in range(count)),
            tuple(rows),
        )

    right, wrong = [(0.9, 0.1), (0.1, 0.9)] * 5, [(0.9, 0.1), (0.9, 0.1)] * 5
    both = concat([answers("a", right), answers("b", wrong)])
    found = mean_of_corpora([both])
    assert found == {"uar": 0.75, "uar_ci95": pytest.approx([0.75, 0.75]), "corpora": 2}
    assert mean_of_corpora([both, both]) == found
    assert mean_of_corpora([PredictionSet(labels)]) is None


def test_evaluate_writes_a_report_of_several_corpora(
    corpus_root: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(corpus_root / "dora", other / "dora")
    both = f"{corpus_root},{other}?speaker_level=1"
    line = ("evaluate", tiny_checkpoint, "--corpus", both, "--speakers", "all")
    found = here(*line, "--out", tmp_path / "out", "--json").json()
    assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8")) == found
    assert [(one["corpus"], one["n"]) for one in found["by_corpus"]] == [
        ("other", 6),
        ("simple", 24),
    ]
    assert [one["unseen_speakers"] for one in found["by_corpus"]] == [True, False]
    total = np.sum([one["confusion"] for one in found["by_corpus"]], axis=0)
    assert total.tolist() == found["confusion"]
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert f"| other | 1 | 6 | 3 | {100 * found['by_corpus'][0]['uar']:.1f} | " in text
    assert ElementTree.parse(tmp_path / "out" / "confusion.svg").getroot().tag.endswith("svg")
    told = here(*line)
    assert "other: UAR" in told.out
    (tmp_path / "file").touch()
    ran = here(*line, "--out", tmp_path / "file" / "below")
    assert (ran.code, "could not be made" in ran.err) == (1, True)


def test_a_twin_keeps_to_the_clips_of_its_split() -> None:
    clips = made(speakers=3)
    one = Split(train=tuple(clips[:6]), valid=tuple(clips[6:12]), test=tuple(clips[12:]))
    (twin,) = make_leaky_twins([one])
    assert {u.path for part in twin.parts.values() for u in part} == {u.path for u in clips}
