"""`bench field`: a corpus's own protocol, scored on speakers that a method has not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from support import small_encoders
from support.command import here

from serdemo.evaluation.baselines import FeatureTable
from serdemo.experiments import field
from serdemo.schema.errors import UsageError
from serdemo.schema.types import Utterance

EMOTIONS = ("angry", "happy", "sad")
TAKES = 4


def table(rows: np.ndarray, speakers: int = 6, folds: int = 0, emotions: int = 3) -> FeatureTable:
    """Clips of every speaker, emotion and take in that order, with a row of numbers each."""
    clips = tuple(
        Utterance(
            Path(f"{speaker}-{emotion}-{take}.wav"),
            "made",
            f"s{speaker}",
            emotion,
            emotion,
            fold=str(speaker % folds) if folds else "",
        )
        for speaker in range(speakers)
        for emotion in EMOTIONS[:emotions]
        for take in range(TAKES)
    )
    return FeatureTable(rows, tuple(clip.emotion for clip in clips), clips)


def coded(speaker: float, emotion: float, speakers: int = 6) -> np.ndarray:
    """Rows in which speaker and emotion are told apart by so much, with noise of 0.1."""
    rng = np.random.default_rng(0)
    speaker_rows = np.repeat(rng.normal(size=(speakers, 8)), 3 * TAKES, axis=0)
    emotion_rows = np.tile(np.repeat(rng.normal(size=(3, 8)), TAKES, axis=0), (speakers, 1))
    noise = rng.normal(scale=0.1, size=(len(speaker_rows), 8))
    return np.concatenate((speaker * speaker_rows, emotion * emotion_rows + noise), axis=1)


METHODS = [field.probe, field.svm]


@pytest.mark.parametrize("method", METHODS)
def test_what_tells_emotions_apart_is_right_of_unseen_speakers(method: field.Method) -> None:
    row = field.by_protocol(table(coded(speaker=0.3, emotion=3)), "told", method)
    assert (row.uar, row.wa, row.uar_folds) == (1, 1, 1)
    assert (row.clips, row.classes, row.speakers, row.folds) == (72, 3, 6, 6)
    assert row.protocol == "one speaker left out"


@pytest.mark.parametrize("method", METHODS)
def test_what_tells_clips_apart_alone_is_worth_chance(method: field.Method) -> None:
    """Rows of no meaning: a method that had seen the clips it answers would know them by heart."""
    row = field.by_protocol(table(np.random.default_rng(1).normal(size=(72, 200))), "", method)
    assert row.uar == pytest.approx(1 / 3, abs=0.17)


def test_published_folds_come_before_speakers() -> None:
    """Every clip is answered once, by what learnt from the other folds."""
    seen: list[tuple[set[str], set[str]]] = []

    def spy(train: FeatureTable, test: FeatureTable) -> list[str]:
        folds = [{str(clip.fold) for clip in part.clips} for part in (train, test)]
        seen.append((folds[0], folds[1]))
        return ["angry"] * len(test.clips)

    row = field.by_protocol(table(coded(0, 1), folds=3), "spy", spy)
    assert row.protocol == "its published folds"
    assert row.folds == 3
    assert sorted(fold for _, test in seen for fold in test) == ["0", "1", "2"]
    assert not any(train & test for train, test in seen)
    assert row.uar == pytest.approx(1 / 3)
    assert row.wa == pytest.approx(1 / 3)


def test_the_mean_of_folds_counts_the_classes_a_fold_holds() -> None:
    """One speaker has but one emotion; of two folds with everything right and one wrong, 2 / 3."""
    whole = table(coded(0, 3, speakers=3), speakers=3)
    lone = [at for at, c in enumerate(whole.clips) if c.speaker == "s2" and c.emotion != "sad"]
    remaining = [at for at in range(len(whole.clips)) if at not in lone]

    def answer(train: FeatureTable, test: FeatureTable) -> list[str]:
        return ["angry" if c.speaker == "s2" else c.emotion for c in test.clips]

    row = field.by_protocol(field.take(whole, remaining), "", answer)
    assert row.uar_folds == pytest.approx(2 / 3)
    assert row.uar == pytest.approx((1 + 1 + 8 / 12) / 3)


def test_nothing_to_tell_apart_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="two emotions or more"):
        field.by_protocol(table(coded(1, 1)[:24], speakers=6, emotions=1), "", field.probe)
    with pytest.raises(UsageError, match="cannot be made of 1"):
        field.by_protocol(table(coded(1, 1)[:12], speakers=1), "", field.probe)


def test_the_command_scores_an_svm_on_a_folder(corpus_root: Path) -> None:
    (row,) = here("bench", "field", "--corpus", corpus_root, "--json").json()
    assert row["method"].startswith("SVM on ")
    assert (row["clips"], row["speakers"], row["classes"]) == (24, 4, 3)
    assert row["uar"] > 0.8
    low, high = row["uar_ci95"]
    assert low <= row["uar"] <= high


def test_an_encoder_that_has_heard_them_is_refused(tmp_path: Path) -> None:
    """The shipped voice encoder knows the actors of RAVDESS, of which these bear the names."""
    root = tmp_path / "ravdess"
    root.mkdir()
    tone = 0.3 * np.sin(np.arange(16_000) / 9)
    for actor in ("01", "02"):
        for emotion in ("03", "05"):
            soundfile.write(root / f"03-01-{emotion}-01-01-01-{actor}.wav", tone, 16_000)
    cache = ("--cache", tmp_path / "cache")
    ran = here("bench", "field", "speaker", "--corpus", "ravdess", "--root", tmp_path, *cache)
    assert ran.code != 0
    assert "speaker was made with the speaker ravdess/" in ran.err
    assert ran.out == ""


@pytest.mark.slow
def test_a_pretrained_encoder_is_scored_beside_the_svm(corpus_root: Path, tmp_path: Path) -> None:
    source = small_encoders.save("whisper", tmp_path / "whisper")
    cache = ("--cache", tmp_path / "cache")
    command_line = (
        "bench",
        "field",
        "whisper",
        "--source",
        source,
        "--corpus",
        corpus_root,
        *cache,
    )
    svm, linear = here(*command_line, "--json").json()
    assert svm["method"].startswith("SVM on ")
    assert linear["method"] == "linear classifier on whisper"
    assert linear["clips"] == svm["clips"] == 24
    assert here(*command_line).out.count("(4 folds, 4 speakers, 24 clips)") == 2


@pytest.mark.slow
def test_what_cannot_be_scored_is_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "some" / "anna" / "angry"
    folder.mkdir(parents=True)
    for take in range(2):
        (folder / f"{take}.wav").write_bytes(b"no sound")
    unread = here("bench", "field", "--corpus", tmp_path / "some")
    assert "None of the 2 clips could be read." in unread.err
    (tmp_path / "some.csv").write_text("path,speaker,emotion\nsome/anna/angry/0.wav,anna,\n")
    unknown = here("bench", "field", "--corpus", tmp_path / "some.csv")
    assert "line 2: the emotion is empty" in unknown.err
    for ran in (unread, unknown):
        assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
