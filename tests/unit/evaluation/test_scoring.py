from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from serdemo.data import corpora
from serdemo.evaluation.scoring import calibrate, evaluate, select_test_clips
from serdemo.inference.predictor import Predictor
from serdemo.nn.description import Description
from serdemo.nn.provenance import seen_speakers
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Utterance

LABELS = ("angry", "happy", "neutral")


def described(**more: Any) -> Description:
    return Description(
        labels=LABELS, encoder="compact", encoder_options={}, head_options={}, name="hand", **more
    )


def clip(emotion: str, speaker: str = "1", corpus: str = "x", says: str = "angry") -> Utterance:
    """A clip whose file name tells the predictor below what to answer."""
    return Utterance(
        Path(f"{says}/{corpus}-{speaker}-{emotion}"), corpus, speaker, emotion, emotion
    )


class ByName:
    """A predictor whose answers stand in the file names; `broken` cannot be read."""

    name, labels = "hand", LABELS

    def __init__(self, description: Description) -> None:
        self.description = description

    def embed_many(self, paths: Iterable[Path]) -> Iterator[SimpleNamespace | SerdemoError]:
        for path in paths:
            says = path.parent.name
            if says == "broken":
                yield SerdemoError(f"{path.name} is empty: record it or copy it again.")
                continue
            row = np.array([0.8 if label == says else 0.1 for label in LABELS])
            yield SimpleNamespace(probabilities=row)


def score(clips: Sequence[Utterance], description: Description | None = None, **more: Any) -> Any:
    return evaluate(ByName(description or described()), "x", clips, **more)  # type: ignore[arg-type]


def test_scores_by_hand() -> None:
    clips = [
        *[clip("angry", says="angry")] * 3,
        clip("angry", "2", says="happy"),
        clip("happy", "2", says="happy"),
        clip("happy", "2", says="neutral"),
        clip("calm", "3", says="neutral"),  # counts as neutral
        clip("boredom", "3", says="neutral"),  # left out
        clip("surprise", "3", says="angry"),  # unknown to the model: left out
    ]
    report = score(clips)
    assert report.scores.n == 7
    assert report.scores.speakers == 3
    assert report.scores.uar == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)
    assert report.scores.wa == pytest.approx(5 / 7)
    assert report.scores.confusion == ((3, 1, 0), (0, 1, 1), (0, 0, 1))
    assert report.scores.ece == pytest.approx(0.8 - 5 / 7)
    assert report.unseen_speakers
    assert report.unreadable == ()
    values = json.loads(json.dumps(report.to_json()))
    assert {
        *("checkpoint", "corpus", "labels", "n", "speakers", "uar", "wa", "macro_f1"),
        *("uar_ci95", "ece", "confusion", "unseen_speakers", "refused"),
    } <= set(values)
    assert (values["checkpoint"], values["corpus"]) == ("hand", "x")


def test_clips_that_cannot_be_read_are_listed() -> None:
    done: list[int] = []
    clips = [clip("angry"), clip("happy", says="broken"), clip("happy", says="happy")]
    report = score(clips, progress=done.append)
    assert report.unreadable == ("x-1-happy is empty: record it or copy it again.",)
    assert report.scores.n == 2
    assert report.scores.uar == 1.0
    assert done == [1, 2, 3]
    assert report.to_json()["refused"] == list(report.unreadable)
    with pytest.raises(SerdemoError, match="None of the 2 clips could be read; the first: x-1-"):
        score([clip("angry", says="broken"), clip("happy", says="broken")])


def test_clips_of_unknown_emotions_are_refused() -> None:
    for clips in ([], [clip("boredom")]):
        with pytest.raises(UsageError, match=r"None of these clips .* hand knows \(angry, happy,"):
            score(clips)


SEEN = described(trained_on={"x": ["1"], "ravdess": ["Actor_07", "1"]}, selected_on={"x": ["2"]})


def test_a_speaker_trained_or_selected_on_is_never_unseen() -> None:
    assert seen_speakers(SEEN) == {"x/1", "x/2", "ravdess/07", "ravdess/01"}
    assert score([clip("angry", "3")], SEEN).unseen_speakers
    assert score([clip("angry", "1", corpus="y")], SEEN).unseen_speakers
    for speaker, corpus in (("1", "x"), ("2", "x"), ("07", "ravdess"), ("01", "ravdess")):
        mixed = [clip("angry", "3"), clip("happy", speaker, corpus)]
        assert not score(mixed, SEEN).unseen_speakers
    # One that could not be read is not scored, so it does not count.
    assert score([clip("angry", "3"), clip("angry", "1", says="broken")], SEEN).unseen_speakers


def test_which_clips_are_chosen() -> None:
    clips = [
        clip("angry", "1"),
        clip("angry", "2"),
        clip("angry", "3"),
        clip("angry", "4"),
        clip("angry", "07", "ravdess"),
        clip("angry", "08", "ravdess"),
    ]
    assert select_test_clips(clips, "all", SEEN) == tuple(clips)
    assert select_test_clips(clips, "unseen", SEEN) == (clips[2], clips[3], clips[5])
    assert select_test_clips(clips, "4, 1", SEEN) == (clips[0], clips[3])
    assert select_test_clips(clips, "Actor_07,x/3", SEEN) == (clips[2], clips[4])
    assert select_test_clips(clips, "unseen", described()) == tuple(clips)
    with pytest.raises(UsageError, match="no speaker '9' in ravdess, x"):
        select_test_clips(clips, "1,9", SEEN)
    with pytest.raises(SerdemoError, match=r"trained or selected on every speaker here.*all"):
        select_test_clips(clips[:2], "unseen", SEEN)
    for empty in ("", " , "):
        with pytest.raises(UsageError, match="--speakers names nobody"):
            select_test_clips(clips, empty, SEEN)


def test_a_real_predictor_scores_real_files(tiny_checkpoint: Path, corpus_root: Path) -> None:
    predictor = Predictor(tiny_checkpoint, device="cpu")
    clips = corpora.load(str(corpus_root))
    unseen = select_test_clips(clips, "unseen", predictor.description)
    assert {u.speaker for u in unseen} == {"dora"}  # anna, bert trained; cleo chose
    report = evaluate(predictor, "simple", unseen)
    assert (report.scores.n, report.scores.speakers) == (6, 1)
    assert report.unseen_speakers
    assert report.scores.labels == ("angry", "happy", "sad")
    right = sum(predictor.predict(u.path).label == u.emotion for u in unseen)
    assert report.scores.wa == pytest.approx(right / 6)
    everyone = evaluate(predictor, "simple", select_test_clips(clips, "all", predictor.description))
    assert everyone.scores.n == 24
    assert not everyone.unseen_speakers


def test_calibration_by_hand() -> None:
    """Of ten equally confident answers six are right, so the confidence becomes 0.6."""
    clips = [
        clip("angry" if n < 6 else ("happy", "neutral")[n % 2], str(n), says="angry")
        for n in range(10)
    ]
    clips += [clip("angry", "11", says="broken"), clip("boredom", "12")]
    for before in (1.0, 2.5):  # what was fitted before must not matter
        shown = ByName(described(temperature=before))
        fitted = calibrate(shown, clips, coverage=0.5)  # type: ignore[arg-type]
        # 0.8 against 0.1 becomes 0.6 against 0.2: log 8 / T = log 3, on the logits as they were.
        assert fitted.temperature == pytest.approx(before * math.log(8) / math.log(3), rel=1e-4)
        assert fitted.unsure_below == pytest.approx(0.6, abs=1e-4)
        assert fitted.labels == LABELS


def test_calibration_without_clips_changes_nothing() -> None:
    before = described(temperature=1.7, unsure_below=0.3)
    assert calibrate(ByName(before), []) == before  # type: ignore[arg-type]
    assert calibrate(ByName(before), [clip("boredom")]) == before  # type: ignore[arg-type]
