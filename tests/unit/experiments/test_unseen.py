"""`bench unseen`: leave-one-corpus-out runs beside each other, and what neutral seconds add."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import bad_audio
from support.command import here

from serdemo.evaluation.predictions import PredictionSet
from serdemo.experiments import unseen
from serdemo.experiments.paired import uar_difference
from serdemo.inference.predictor import Predictor
from serdemo.metrics.bootstrap import percentile_interval
from serdemo.nn import description
from serdemo.runs.crossval import PREDICTIONS, PROTOCOL
from serdemo.schema.errors import SerdemoError, UsageError


def predictions(corpus: str, guesses: str, truth: str, speakers: str) -> PredictionSet:
    """Answers to clips CORPUS/0, CORPUS/1, ..., a letter each."""
    return PredictionSet(
        ("a", "b"),
        files=tuple(f"{corpus}/{at}" for at in range(len(truth))),
        corpora=(corpus,) * len(truth),
        speakers=tuple(f"{corpus}/{speaker}" for speaker in speakers),
        truth=tuple(truth),
        probabilities=tuple((float(g == "a"), float(g == "b")) for g in guesses),
    )


def run(place: Path, folds: dict[str, Sequence[PredictionSet]], by: str = "one-corpus-out") -> Path:
    """A finished cross-validation that left each corpus out, an answer for every seed."""
    for number, (corpus, seeds) in enumerate(folds.items(), start=1):
        for seed, answers in enumerate(seeds):
            folder = place / f"{number:03}-unseen-{corpus}" / f"seed-{seed}"
            folder.mkdir(parents=True)
            (folder / PREDICTIONS).write_text(json.dumps(answers.to_json()), encoding="utf-8")
    (place / PROTOCOL).write_text(json.dumps({"by": by}), encoding="utf-8")
    return place


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """The second is right on one clip more of four in corpus c, and as good in d."""
    d = predictions("d", "abab", "aabb", "1122")
    base = {"c": [predictions("c", "abbb", "aabb", "1122")] * 2, "d": [d, d]}
    other = {"c": [predictions("c", "aabb", "aabb", "1122")] * 2, "d": [d, d]}
    return run(tmp_path / "base", base), run(tmp_path / "other", other)


def test_the_mean_over_corpora_and_its_difference(runs: tuple[Path, Path]) -> None:
    first, second = unseen.measure(runs)
    assert (first.run, first.neutral, first.seeds, first.difference) == ("base", False, 2, 0.0)
    assert first.ci95 == (0.0, 0.0)
    assert first.uar == {"c": 0.75, "d": 0.5}
    assert second.uar == {"c": 1.0, "d": 0.5}
    assert (first.mean, second.mean, second.difference) == (0.625, 0.75, 0.125)
    # Speaker 1 of c, who has all that differs, is drawn never, once or twice.
    assert second.ci95 == (0.0, 0.25)


def test_an_interval_of_speakers_holds_the_difference() -> None:
    rng = np.random.default_rng(0)
    truth = "".join(rng.choice(list("ab"), 200))
    speakers = "".join(str(at // 20) for at in range(200))
    noisy = ["".join(t if rng.random() < p else "a" for t in truth) for p in (0.4, 0.8)]
    result = uar_difference(
        "c",
        [predictions("c", noisy[0], truth, speakers)],
        [predictions("c", noisy[1], truth, speakers)],
    )
    assert result is not None
    assert result.ci95[0] < result.difference < result.ci95[1]
    assert percentile_interval(result.draws) == result.ci95
    assert result.speakers == 10 and result.clips == 200


def test_what_is_no_such_run_is_one_sentence(runs: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no cross-validation"):
        unseen.measure([tmp_path / "nothing"])
    d = [predictions("d", "abab", "aabb", "1122")] * 2
    with pytest.raises(UsageError, match="not made with --by one-corpus-out"):
        unseen.measure([run(tmp_path / "folds", {"d": d}, "fold")])
    with pytest.raises(SerdemoError, match="has not left out c"):
        unseen.measure([runs[0], run(tmp_path / "half", {"d": d})])
    (runs[1] / "001-unseen-c" / "seed-0" / PREDICTIONS).unlink()
    with pytest.raises(SerdemoError, match="are finished; go on with --resume"):
        unseen.measure(runs)
    ran = here("bench", "unseen", tmp_path / "nothing")
    assert ran.code == 2 and "holds no cross-validation" in ran.err


def test_neutral_seconds_are_taken_from_each_speaker_and_not_scored(
    tiny_checkpoint: Path, corpus_root: Path, tmp_path: Path
) -> None:
    """Two speakers of a corpus that was left out; one has neutral speech enough."""
    root = tmp_path / "corpora" / "left"
    for speaker in ("anna", "dora"):
        shutil.copytree(corpus_root / speaker, root / speaker)
    neutral = root / "anna" / "neutral"
    neutral.mkdir()
    for take in range(4):
        (neutral / f"{take}.wav").write_bytes(bad_audio.wav(bad_audio.voice(3.0)))
    place = tmp_path / "run" / "001-unseen-left" / "seed-0"
    shutil.copytree(tiny_checkpoint, place / "checkpoint")
    described = description.read_description(place / "checkpoint")
    labels = ("neutral", "happy", "sad")  # what it calls angry is taken for neutral
    shape = {"labels": labels, "neutral": [0.1] * described.head_options["embedding"]}
    description.write_description(place / "checkpoint", replace(described, **shape))
    predictor = Predictor(place / "checkpoint", device="cpu")
    clips = sorted(clip for clip in root.rglob("*.wav") if clip.parent.name in labels)
    answers = PredictionSet(
        labels,
        files=tuple(clip.as_posix() for clip in clips),
        corpora=("left",) * len(clips),
        speakers=tuple(f"left/{clip.parent.parent.name}" for clip in clips),
        truth=tuple(clip.parent.name for clip in clips),
        probabilities=tuple(
            tuple(predictor.predict(clip).probabilities[label] for label in labels)
            for clip in clips
        ),
    )
    (place / PREDICTIONS).write_text(json.dumps(answers.to_json()), encoding="utf-8")
    (tmp_path / "run" / PROTOCOL).write_text(json.dumps({"by": "one-corpus-out"}), "utf-8")

    titles: list[str] = []
    plain, calibrated = unseen.measure([tmp_path / "run"], neutral=True, progress=titles.append)
    assert titles == ["run: 001-unseen-left, seed-0"]
    assert (plain.neutral, calibrated.neutral) == (False, True)
    saved: dict[str, Any] = json.loads((place / unseen.CALIBRATED).read_text(encoding="utf-8"))
    calibrated_set = PredictionSet.from_json(saved["answers"])
    gone = set(answers.files) - set(calibrated_set.files)
    assert len(gone) == 2  # twice 3 s are 6 s
    assert all("/anna/neutral/" in file for file in gone)
    before = dict(zip(answers.files, answers.probabilities, strict=True))
    for file, row in zip(calibrated_set.files, calibrated_set.probabilities, strict=True):
        if "/dora/" in file:  # who has no neutral speech is answered as before
            assert row == pytest.approx(before[file], abs=1e-5)
        else:
            assert row != pytest.approx(before[file], abs=1e-3)
    titles.clear()
    again = unseen.measure([tmp_path / "run"], neutral=True, progress=titles.append)
    assert titles == [] and again == [plain, calibrated]
    ran = here("bench", "unseen", tmp_path / "run", "--neutral")
    assert ran.code == 0 and "run with neutral seconds: UAR" in ran.out
    rows = here("bench", "unseen", tmp_path / "run", "--json").json()
    assert rows == [plain.to_json() | {"ci95": list(plain.ci95)}]
