"""Adaptation to a speaker: the estimate, its state, the calibration by neutral speech and its gain."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import bad_audio

from serdemo.audio import waveform
from serdemo.data.corpora import load
from serdemo.experiments.neutral import measure
from serdemo.inference.aggregation import Window
from serdemo.inference.predictor import Predictor
from serdemo.inference.speaker_adaptation import (
    NEUTRAL_SHRINKAGE_S,
    SpeakerAdapter,
    SpeakerPrior,
    estimate_speaker_offset,
    fit_speaker_prior,
    measure_speaker_prior,
    speech_seconds,
)
from serdemo.inference.speaker_tracking import SpeakerTracker
from serdemo.nn.description import Description, read_description, write_description
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Utterance

LABELS = ("angry", "happy", "neutral", "sad")
SIZE = 16
MEANS = 4 * np.eye(len(LABELS), SIZE, dtype=np.float32)
OFFSET = np.linspace(-1.5, 1.5, SIZE).astype(np.float32)


def prior_of(means: dict[str, Any], shrinkage_s: Any = 5.0) -> SpeakerPrior:
    entry = {"class_means": {k: list(map(float, v)) for k, v in means.items()}}
    described = Description(
        LABELS, "mel", {}, {}, speaker_prior={**entry, "shrinkage_s": shrinkage_s}
    )
    prior = SpeakerPrior.of(described)
    assert prior is not None
    return prior


@pytest.fixture
def prior() -> SpeakerPrior:
    return prior_of(dict(zip(LABELS, MEANS, strict=True)))


def classify(rows: np.ndarray) -> np.ndarray:
    """Posteriors under equal priors and unit variance."""
    logits = -0.5 * ((rows[:, None] - MEANS) ** 2).sum(2)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True))


def speak(emotions: list[int], rng: np.random.Generator, offset: np.ndarray = OFFSET) -> np.ndarray:
    rows = MEANS[emotions] + offset + 0.5 * rng.standard_normal((len(emotions), SIZE))
    return rows.astype(np.float32)


def recall(rows: np.ndarray, emotions: list[int]) -> float:
    return float((classify(rows).argmax(1) == emotions).mean())


def test_the_offset_of_a_speaker_is_recovered(prior: SpeakerPrior) -> None:
    rng = np.random.default_rng(0)
    emotions = list(rng.integers(4, size=60))
    rows = speak(emotions, rng)
    found = prior.estimate(rows, np.full(60, 3.0), classify)
    np.testing.assert_allclose(found, OFFSET * 180 / 185, atol=0.3)
    adapter = SpeakerAdapter(prior)
    assert adapter.offset is None and adapter.trust == 0 == adapter.speech_s
    for row, emotion in zip(rows, emotions, strict=True):
        adapter.update(row, 3.0, label=LABELS[emotion])
    assert adapter.speech_s == pytest.approx(180)
    assert adapter.trust == pytest.approx(180 / 185)
    assert adapter.offset is not None
    exact = (rows - MEANS[emotions]).mean(0) * 180 / 185
    np.testing.assert_allclose(adapter.offset, exact, atol=1e-4)
    adapter.reset()
    assert adapter.offset is None


def test_an_offset_that_misleads_is_taken_away(prior: SpeakerPrior) -> None:
    rng = np.random.default_rng(1)
    offset = 3.4 * np.eye(SIZE)[1] - 1.5 * np.eye(SIZE)[0]  # angry lies near happy
    emotions = list(rng.integers(4, size=400))
    rows = speak(emotions, rng, offset)
    found = prior.estimate(rows[:40], np.full(40, 3.0), classify)
    assert recall(rows - found, emotions) > recall(rows, emotions) + 0.1


@pytest.mark.parametrize("emotion", range(4))
def test_one_emotion_alone_costs_little(prior: SpeakerPrior, emotion: int) -> None:
    rng = np.random.default_rng(2)
    rows = speak([emotion] * 20, rng, 0 * OFFSET)
    found = prior.estimate(rows, np.full(20, 3.0), classify)
    emotions = list(rng.integers(4, size=400))
    others = speak(emotions, rng, 0 * OFFSET)
    assert recall(others - found, emotions) >= recall(others, emotions) - 0.01
    plain = prior_of({"any": MEANS.mean(0)})  # which plain centring does not bear
    wrong = plain.estimate(rows, np.full(20, 3.0), classify)
    assert recall(others - wrong, emotions) < recall(others, emotions) - 0.05


def test_the_prior_decides_how_far_to_go() -> None:
    adapter = SpeakerAdapter(prior_of({"any": np.zeros(SIZE)}, list(np.arange(1.0, SIZE + 1))))
    adapter.update(np.ones(SIZE), 4.0, np.full(4, 0.25))
    expected = 4 / (4 + np.arange(1.0, SIZE + 1))
    np.testing.assert_allclose(adapter.offset, expected, rtol=1e-6)  # type: ignore[arg-type]
    assert adapter.trust == pytest.approx(expected.mean())
    with pytest.raises(SerdemoError, match="no mean of happy speech"):
        adapter.update(np.ones(SIZE), 4.0, label="happy")
    adapter.update(np.ones(SIZE), 0.0, np.full(4, 0.25))
    assert adapter.speech_s == 4


def test_a_state_returns_from_a_browser(prior: SpeakerPrior) -> None:
    adapter = SpeakerAdapter(prior)
    adapter.update(OFFSET, 7.25, np.full(4, 0.25))
    text = json.dumps(adapter.to_json())
    assert len(text) < 400
    again = SpeakerAdapter.from_json(prior, json.loads(text))
    assert again.speech_s == 7.25
    np.testing.assert_allclose(again.offset, adapter.offset, rtol=1e-4)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model": "other"}, "not learnt by this model"),
        ({"mean": [0.0] * 7}, "damaged"),
        ({"mean": [float("nan")] * SIZE}, "damaged"),
        ({"mean": [1e9] * SIZE}, "damaged"),
        ({"mean": ["0"] * SIZE}, "damaged"),
        ({"speech_s": None}, "damaged"),
        ({"speech_s": True}, "damaged"),
        ({"speech_s": float("inf")}, "damaged"),
        ({"voice": ["x"]}, "damaged"),
    ],
)
def test_a_state_that_is_none_is_refused(
    prior: SpeakerPrior, change: dict[str, Any], sentence: str
) -> None:
    state = {**SpeakerTracker(prior).to_json(), **change}
    with pytest.raises(SerdemoError, match=sentence):
        SpeakerTracker.from_json(prior, state, True)
    for nothing in (None, [], "text", 3):
        with pytest.raises(SerdemoError, match="not learnt by this model"):
            SpeakerTracker.from_json(prior, nothing, True)


def window(start_s: float, stop_s: float, ratio: float = 1.0, whole: bool = False) -> Window:
    start, stop = (round(s * waveform.SAMPLE_RATE) for s in (start_s, stop_s))
    return Window(start, stop, np.zeros(0, np.float32), ratio, whole)


def test_speech_in_windows_that_overlap_counts_once(prior: SpeakerPrior) -> None:
    windows = [window(0, 1), window(0, 1.5, 0.5), window(0.5, 3.5), window(0, 3.5, whole=True)]
    assert speech_seconds(windows) == pytest.approx(1 + 0.25 + 2)
    tracker = SpeakerTracker(prior)
    for one in windows:
        tracker.update(one, OFFSET, np.full(4, 0.25))
    assert tracker.adapter.speech_s == pytest.approx(3.25)


def test_another_voice_starts_the_estimate_anew(prior: SpeakerPrior) -> None:
    rng = np.random.default_rng(3)
    voices = [np.eye(8)[0], np.eye(8)[3]]
    tracker = SpeakerTracker(prior)
    learnt = []
    for number in range(12):
        part = window(3 * number, 3 * number + 3)
        assert tracker.wants_voice(part) and not tracker.wants_voice(part)
        voice = (voices[number >= 6] + 0.1 * rng.standard_normal(8)).astype(np.float32)
        (row,) = speak([number % 4], rng, (1 if number < 6 else -1) * OFFSET)
        tracker.update(part, row, classify(row[None])[0], voice)
        learnt.append(tracker.adapter.speech_s)
    assert tracker.changes == 1
    assert learnt[:6] == [3, 6, 9, 12, 15, 18] and learnt[-1] < 18
    state = json.loads(json.dumps(tracker.to_json()))
    again = SpeakerTracker.from_json(prior, state, True)
    for number in range(2):  # the first voice is back, after a reload
        again.update(window(3 * number, 3 * number + 3), OFFSET, np.eye(4)[0], voices[0])
    assert again.changes == 1 and again.adapter.speech_s == 3
    assert not SpeakerTracker(prior, grows=False).wants_voice(window(0, 3))
    assert not SpeakerTracker(prior).wants_voice(window(0, 3, ratio=0.2))


def test_means_of_emotions_are_freed_from_their_speakers() -> None:
    rng = np.random.default_rng(4)
    offsets = {name: 3 * rng.standard_normal(SIZE) for name in "abcd"}
    rows, emotions, speakers = [], [], []
    for speaker, offset in offsets.items():
        for emotion in range(4) if speaker != "d" else (0,):  # one speaker of one emotion
            for _ in range(20):
                rows.append(MEANS[emotion] + offset)
                emotions.append(LABELS[emotion])
                speakers.append(speaker)
    entry = fit_speaker_prior(np.array(rows, np.float32), emotions, speakers)
    assert entry["shrinkage_s"] > 0 and list(entry["class_means"]) == list(LABELS)
    centre = np.mean(list(offsets.values()), axis=0)
    np.testing.assert_allclose(list(entry["class_means"].values()), MEANS + centre, atol=1e-2)


@pytest.mark.parametrize(
    "entry",
    [
        {"class_means": {"angry": [0.0]}},
        {"class_means": {}, "shrinkage_s": 1.0},
        {"class_means": {"proud": [0.0]}, "shrinkage_s": 1.0},
        {"class_means": {"angry": []}, "shrinkage_s": 1.0},
        {"class_means": {"angry": [0.0], "sad": [0.0, 1.0]}, "shrinkage_s": 1.0},
        {"class_means": {"angry": ["0"]}, "shrinkage_s": 1.0},
        {"class_means": {"angry": [0.0]}, "shrinkage_s": 0.0},
        {"class_means": {"angry": [0.0]}, "shrinkage_s": [1.0, 2.0]},
    ],
)
def test_a_malformed_prior_is_refused(entry: dict[str, Any]) -> None:
    values = {"format": 2, "labels": list(LABELS), "encoder": "mel"}
    values |= {"encoder_options": {}, "head_options": {}, "speaker_prior": entry}
    with pytest.raises(SerdemoError, match="'speaker_prior' must hold means of its labels"):
        Description.from_json(values, "it")


def test_a_prior_of_another_size_does_not_load(folder: Path) -> None:
    described = read_description(folder)
    means = {"class_means": {"sad": [0.0] * 3}, "shrinkage_s": 1.0}
    write_description(folder, replace(described, speaker_prior=means))
    with pytest.raises(SerdemoError, match="the mean of sad speech has 3 numbers, an embedding 8"):
        Predictor(folder, device="cpu")


def spoken(seconds: float) -> waveform.Clip:
    return waveform.from_array(bad_audio.voice(seconds), waveform.SAMPLE_RATE)


@pytest.fixture
def folder(tmp_path: Path, tiny_checkpoint: Path) -> Path:
    """The tiny checkpoint with a mean of neutral speech as in 0.2, all zeros."""
    shutil.copytree(tiny_checkpoint, tmp_path / "tiny")
    described = read_description(tmp_path / "tiny")
    write_description(tmp_path / "tiny", replace(described, neutral=[0.0] * 8))
    return tmp_path / "tiny"


def test_neutral_speech_calibrates_a_checkpoint_of_before(folder: Path) -> None:
    predictor, clip = Predictor(folder, device="cpu"), spoken(3.0)
    found = estimate_speaker_offset(predictor, clip).adapter
    assert 2.0 <= found.speech_s <= 3.0
    mean = predictor.embeddings([clip.samples])[0]
    share = found.speech_s / (found.speech_s + NEUTRAL_SHRINKAGE_S)
    assert found.offset is not None and found.trust == pytest.approx(share)
    np.testing.assert_allclose(found.offset, share * mean, rtol=1e-5)
    prior = SpeakerPrior.of(predictor.description)
    assert prior is not None and not prior.unlabelled


def test_what_cannot_calibrate_says_so(folder: Path, tiny_checkpoint: Path) -> None:
    predictor = Predictor(folder, device="cpu")
    with pytest.raises(SerdemoError, match=r"Only \d\.\d s of speech were heard: speak in your"):
        estimate_speaker_offset(predictor, spoken(1.0))
    silent = waveform.from_array(np.zeros(80_000, np.float32), waveform.SAMPLE_RATE)
    with pytest.raises(SerdemoError, match=r"Only 0\.0 s of speech"):
        estimate_speaker_offset(predictor, silent)
    with pytest.raises(SerdemoError, match="tiny cannot get used to a voice"):
        estimate_speaker_offset(Predictor(tiny_checkpoint, device="cpu"), spoken(5.0))
    assert any(
        "with less than 4 s" in one
        for one in estimate_speaker_offset(predictor, spoken(3.0)).warnings
    )
    long = estimate_speaker_offset(predictor, spoken(8.0)).warnings
    assert not any("with less than 4 s" in one for one in long)


def test_a_voice_that_is_not_neutral_is_doubted(folder: Path) -> None:
    predictor = Predictor(folder, device="cpu")
    with torch.no_grad():
        predictor.model.classifier.bias[predictor.labels.index("sad")] = 50
    (warning,) = estimate_speaker_offset(predictor, spoken(8.0)).warnings
    assert warning.startswith("This sounds sad rather than neutral")


def test_a_prior_is_measured_on_labelled_clips(folder: Path, corpus_root: Path) -> None:
    predictor = Predictor(folder, device="cpu")
    clips = load(str(corpus_root))
    entry = measure_speaker_prior(predictor, clips)
    assert set(entry["class_means"]) == {u.emotion for u in clips} & set(predictor.labels)
    assert all(len(mean) == 8 for mean in entry["class_means"].values())
    write_description(folder, replace(predictor.description, speaker_prior=entry))
    prior = SpeakerPrior.of(Predictor(folder, device="cpu").description)
    assert prior is not None and prior.unlabelled
    assert measure_speaker_prior(predictor, [replace(u, emotion="boredom") for u in clips]) == {}


def test_the_measurement_scores_the_same_clips_both_ways(
    folder: Path, corpus_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor(folder, device="cpu")
    clips = load(str(corpus_root))
    found = measure(predictor, clips, draws=2, seconds=1.0)
    assert found == {"simple": {"note": "too little neutral speech to calibrate by"}}

    predictor.labels = ("neutral", "happy", "sad")  # what it calls angry, taken for neutral

    def calm(clip: Utterance) -> Utterance:
        return replace(clip, emotion="neutral") if clip.emotion == "angry" else clip

    voices = [calm(clip) for clip in clips]
    for at, clip in enumerate(voices):  # speech long enough to calibrate by
        if clip.emotion == "neutral":
            path = folder / f"{at}.wav"
            path.write_bytes(bad_audio.wav(bad_audio.voice(3.0)))
            voices[at] = replace(clip, path=path)
    full = measure(predictor, voices, draws=3, seconds=2.5)["simple"]
    assert full["draws"] == 3
    assert full["gain"] == pytest.approx(full["uar_calibrated"] - full["uar"])
    shrink: Callable[..., Any] = lambda _, mean, speech_s: 0 * mean.astype(np.float32)  # noqa: E731
    monkeypatch.setattr(SpeakerPrior, "shrink", shrink)
    none = measure(predictor, voices, draws=3, seconds=2.5)["simple"]
    assert none["gain"] == 0.0 and none["uar"] == full["uar"]
