"""Adaptation to a speaker: the estimate, its state, the calibration by neutral speech and its gain."""

from __future__ import annotations

import json
import shutil
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
    SpeakerAdapter,
    estimate_offset,
    estimate_speaker_offset,
    speech_seconds,
)
from serdemo.inference.speaker_prior import (
    CLIP_S,
    LABELLED_TRUST,
    MAX_PRIOR_CLIPS,
    MAX_TRUST,
    SpeakerPrior,
    estimate_prior,
    measure_speaker_prior,
    prior_clips,
)
from serdemo.inference.speaker_tracking import SpeakerTracker
from serdemo.nn.description import Description, read_description, write_description
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Utterance

LABELS = ("angry", "happy", "neutral", "sad")
SIZE = 16
MEANS = 4 * np.eye(len(LABELS), SIZE, dtype=np.float32)
OFFSET = np.linspace(-1.5, 1.5, SIZE).astype(np.float32)


def described(entry: dict[str, Any]) -> Description:
    return Description(LABELS, "mel", {}, {}, speaker_prior=entry)


@pytest.fixture(scope="module")
def entry() -> dict[str, Any]:
    """The prior of 60 speakers of two corpora, whose offsets have variance 1 in each dimension."""
    rng = np.random.default_rng(9)
    rows, classes, speakers, corpora = [], [], [], []
    for number in range(60):
        emotions = [0, 1, 2, 3] * 3 if number % 6 else [0] * 12  # some of one emotion
        rows.append(speak(emotions, rng, rng.standard_normal(SIZE)))
        classes += [LABELS[emotion] for emotion in emotions]
        speakers += [str(number)] * 12
        corpora += ["one" if number < 40 else "two"] * 12
    return estimate_prior(np.concatenate(rows), classes, speakers, corpora)


@pytest.fixture
def prior(entry: dict[str, Any]) -> SpeakerPrior:
    prior = SpeakerPrior.of(described(entry))
    assert prior is not None
    return prior


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


def test_the_prior_is_that_of_the_speakers_it_is_estimated_from(prior: SpeakerPrior) -> None:
    assert prior.names == LABELS and prior.unlabelled
    np.testing.assert_allclose(prior.class_means, MEANS, atol=0.6)
    np.testing.assert_allclose(prior.mean, prior.class_means.mean(0))
    assert prior.discriminants.shape == (SIZE, 3)
    within = 0.5 * np.linalg.norm(prior.discriminants, axis=0)  # deviation of a clip along each
    np.testing.assert_allclose(within, 1, atol=0.15)
    assert prior.offset_scale == pytest.approx(np.sqrt(SIZE - 3), rel=0.15)
    np.testing.assert_allclose(
        prior.span.T @ (prior.class_means - prior.mean).T @ np.ones(4), 0, atol=1e-4
    )


def test_part_of_what_a_voice_differs_by_is_its_offset(prior: SpeakerPrior) -> None:
    rng = np.random.default_rng(0)
    emotions = [0, 1, 2, 3] * 15
    rows = speak(emotions, rng)
    adapter = SpeakerAdapter(prior)
    assert adapter.offset is None and adapter.trust == 0 == adapter.speech_s
    for row in rows:
        adapter.update(row, 2.7)
    assert adapter.speech_s == pytest.approx(162)
    assert adapter.offset is not None and 0.6 < adapter.trust <= MAX_TRUST
    expected = adapter.trust * (rows.mean(0) - prior.mean)
    np.testing.assert_allclose(adapter.offset, expected, atol=1e-4)
    np.testing.assert_allclose(adapter.offset, MAX_TRUST * OFFSET, atol=0.4)
    spread = (rows @ prior.discriminants).var(0, ddof=1) * 59
    direct = prior.trust(60, rows.mean(0), spread)
    assert adapter.trust == pytest.approx(direct, rel=1e-6)
    np.testing.assert_allclose(
        estimate_offset(prior, rows, [2.0] * 60), adapter.offset, atol=1e-4
    )  # a short clip counts as one
    adapter.reset()
    assert adapter.offset is None


def test_an_offset_that_misleads_is_taken_away(prior: SpeakerPrior) -> None:
    rng = np.random.default_rng(1)
    offset = 3.4 * np.eye(SIZE)[1] - 1.5 * np.eye(SIZE)[0]  # angry lies near happy
    offset += np.r_[np.zeros(4), np.full(SIZE - 4, 1.5)]  # as unlike others elsewhere
    emotions = list(rng.integers(4, size=400))
    rows = speak(emotions, rng, offset)
    found = estimate_offset(prior, rows[:40], [3.0] * 40)
    assert recall(rows - found, emotions) > recall(rows, emotions) + 0.1


@pytest.mark.parametrize("emotion", range(4))
def test_one_emotion_alone_costs_little(prior: SpeakerPrior, emotion: int) -> None:
    rng = np.random.default_rng(2)
    voice = np.r_[np.zeros(4), np.random.default_rng(emotion).standard_normal(SIZE - 4)]
    rows = speak([emotion] * 10, rng, voice)
    found = estimate_offset(prior, rows, [3.0] * 10)
    emotions = list(rng.integers(4, size=400))
    others = speak(emotions, rng, voice)
    assert recall(others - found, emotions) >= recall(others, emotions) - 0.01
    centred = rows.mean(0) - prior.mean  # which nothing bears out
    assert recall(others - centred, emotions) < recall(others, emotions) - 0.05


def test_trust_grows_with_clips_variety_and_unlikeness(prior: SpeakerPrior) -> None:
    mean, scatter = prior.mean + OFFSET, np.full(3, 1.0)
    trusts = [
        prior.trust(clips, mean, spread * (clips - 1) * scatter)
        for clips, spread in ((2, 1.0), (10, 1.0), (10, 2.0), (40, 2.0))
    ]
    assert 0 < trusts[0] < trusts[1] < trusts[2] < trusts[3] < MAX_TRUST
    assert prior.trust(10, prior.mean + 1.5 * OFFSET, 9 * scatter) > trusts[1]
    assert prior.trust(1, mean, 0 * scatter) < 1e-3
    assert prior.trust(10, prior.mean, 9 * scatter) < 1e-6


def test_a_known_emotion_is_trusted_at_once(prior: SpeakerPrior) -> None:
    (row,) = speak([2], np.random.default_rng(5))
    adapter = SpeakerAdapter(prior)
    adapter.update(row, CLIP_S, "neutral")
    assert adapter.trust == pytest.approx(0.3)
    assert adapter.offset is not None
    share = 0.3 * (row - prior.class_means[2])
    np.testing.assert_allclose(adapter.offset, share, atol=1e-5)
    adapter.update(row, 1.0)  # one second of unknown emotion changes next to nothing
    np.testing.assert_allclose(adapter.offset, share, atol=1e-3)
    with pytest.raises(SerdemoError, match="no mean of proud speech"):
        adapter.update(row, 4.0, "proud")
    before = adapter.speech_s
    adapter.update(row, 0.0)
    assert adapter.speech_s == before


def test_a_state_returns_from_a_browser(prior: SpeakerPrior) -> None:
    adapter = SpeakerAdapter(prior)
    for row in speak([0, 1, 2, 3], np.random.default_rng(6)):
        adapter.update(row, 4.0)
    adapter.update(OFFSET, 7.25, "sad")
    text = json.dumps(adapter.to_json())
    assert len(text) < 700
    again = SpeakerAdapter.from_json(prior, json.loads(text))
    assert again.speech_s == 23.25
    assert again.trust == pytest.approx(adapter.trust, rel=1e-3)
    np.testing.assert_allclose(again.offset, adapter.offset, rtol=1e-3)  # type: ignore[arg-type]
    again.update(OFFSET, 2.7)
    adapter.update(OFFSET, 2.7)
    np.testing.assert_allclose(again.offset, adapter.offset, rtol=1e-3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model": "other"}, "not learnt by this model"),
        ({"mean": [0.0] * 7}, "damaged"),
        ({"mean": [float("nan")] * SIZE}, "damaged"),
        ({"mean": [1e15] * SIZE}, "damaged"),
        ({"mean": ["0"] * SIZE}, "damaged"),
        ({"scatter": None}, "damaged"),
        ({"counts": None}, "damaged"),
        ({"counts": [True, 1.0, 1.0]}, "damaged"),
        ({"counts": [float("inf"), 1.0, 1.0]}, "damaged"),
        ({"counts": [1.0, 1.0, 1.0]}, "damaged"),  # labelled, without a deviation
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


def test_counts_below_zero_are_none(prior: SpeakerPrior) -> None:
    state = {**SpeakerTracker(prior).to_json(), "counts": [-5.0, -3.0, -1.0]}
    adapter = SpeakerTracker.from_json(prior, state, True).adapter
    assert (adapter.speech_s, adapter.trust, adapter.offset) == (0, 0, None)


def window(start_s: float, stop_s: float, ratio: float = 1.0, whole: bool = False) -> Window:
    start, stop = (round(s * waveform.SAMPLE_RATE) for s in (start_s, stop_s))
    return Window(start, stop, np.zeros(0, np.float32), ratio, whole)


def test_speech_in_windows_that_overlap_counts_once(prior: SpeakerPrior) -> None:
    windows = [window(0, 1), window(0, 1.5, 0.5), window(0.5, 3.5), window(0, 3.5, whole=True)]
    assert speech_seconds(windows) == pytest.approx(1 + 0.25 + 2)
    tracker = SpeakerTracker(prior)
    for one in windows:
        tracker.update(one, OFFSET)
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
        tracker.update(part, row, voice)
        learnt.append(tracker.adapter.speech_s)
    assert tracker.changes == 1
    assert learnt[:6] == [3, 6, 9, 12, 15, 18] and learnt[-1] < 18
    state = json.loads(json.dumps(tracker.to_json()))
    again = SpeakerTracker.from_json(prior, state, True)
    for number in range(2):  # the first voice is back, after a reload
        again.update(window(3 * number, 3 * number + 3), OFFSET, voices[0])
    assert again.changes == 1 and again.adapter.speech_s == 3
    assert not SpeakerTracker(prior, grows=False).wants_voice(window(0, 3))
    assert not SpeakerTracker(prior).wants_voice(window(0, 3, ratio=0.2))


def test_what_tells_nothing_of_speakers_gives_no_prior() -> None:
    rows = speak([0, 1, 0, 1], np.random.default_rng(7))
    assert estimate_prior(rows, ["sad"] * 4, ["a", "b", "a", "b"], ["c"] * 4) == {}
    assert estimate_prior(rows, ["sad", "angry"] * 2, ["a"] * 4, ["c"] * 4) == {}
    alike = np.ones((4, 3), np.float32)  # nothing varies, and yet no number is lost
    entry = estimate_prior(alike, ["sad", "angry"] * 2, ["a", "a", "b", "b"], ["c"] * 4)
    assert np.isfinite([*entry["discriminants"], *entry["class_means"].values()]).all()


GOOD = {"class_means": {"angry": [0.0, 1.0], "sad": [1.0, 0.0]}, "discriminants": [[1.0, 0.0]]}
GOOD |= {"offset_scale": 1.0}


@pytest.mark.parametrize(
    "change",
    [
        {"class_means": {"angry": [0.0, 1.0]}},
        {"class_means": {}},
        {"class_means": [[0.0, 1.0]]},
        {"class_means": {"angry": [0.0, 1.0], "proud": [1.0, 0.0]}},
        {"class_means": {"angry": [], "sad": []}, "discriminants": [[]]},
        {"class_means": {"angry": [0.0, 1.0], "sad": [1.0]}},
        {"class_means": {"angry": ["0", 1.0], "sad": [1.0, 0.0]}},
        {"discriminants": []},
        {"discriminants": [[1.0]]},
        {"discriminants": [[1.0, 0.0], [0.0, 1.0]]},
        {"discriminants": [1.0, 0.0]},
        {"discriminants": [[float("nan"), 0.0]]},
        {"offset_scale": 0.0},
        {"offset_scale": "1"},
        {"more": 1},
    ],
)
def test_a_malformed_prior_is_refused(change: dict[str, Any]) -> None:
    values = {"format": 2, "labels": list(LABELS), "encoder": "mel"}
    values |= {"encoder_options": {}, "head_options": {}}
    Description.from_json({**values, "speaker_prior": GOOD}, "it")
    values["speaker_prior"] = {**GOOD, **change}
    with pytest.raises(SerdemoError, match="'speaker_prior' must hold means of its labels"):
        Description.from_json(values, "it")


def test_a_prior_of_another_size_does_not_load(folder: Path) -> None:
    before = read_description(folder)
    write_description(folder, replace(before, speaker_prior=GOOD))
    with pytest.raises(SerdemoError, match="mean of angry speech has 2 numbers, an embedding 8"):
        Predictor(folder, device="cpu")


def spoken(seconds: float) -> waveform.Clip:
    return waveform.from_array(bad_audio.voice(seconds), waveform.SAMPLE_RATE)


@pytest.fixture
def folder(tmp_path: Path, tiny_checkpoint: Path) -> Path:
    """The tiny checkpoint with a mean of neutral speech as in 0.2, all zeros."""
    shutil.copytree(tiny_checkpoint, tmp_path / "tiny")
    before = read_description(tmp_path / "tiny")
    write_description(tmp_path / "tiny", replace(before, neutral=[0.0] * 8))
    return tmp_path / "tiny"


def test_neutral_speech_calibrates_a_checkpoint_of_before(folder: Path) -> None:
    predictor, clip = Predictor(folder, device="cpu"), spoken(3.0)
    found = estimate_speaker_offset(predictor, clip).adapter
    assert 2.0 <= found.speech_s <= 3.0
    mean = predictor.embeddings([clip.samples])[0]
    share = LABELLED_TRUST * min(1, found.speech_s / CLIP_S)
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
    assert len(entry["discriminants"]) == len(entry["class_means"]) - 1
    write_description(folder, replace(predictor.description, speaker_prior=entry))
    prior = SpeakerPrior.of(Predictor(folder, device="cpu").description)
    assert prior is not None and prior.unlabelled
    assert measure_speaker_prior(predictor, [replace(u, emotion="boredom") for u in clips]) == {}
    many = [replace(clips[0], corpus=str(n % 7), emotion=LABELS[n % 4]) for n in range(9000)]
    chosen = prior_clips(LABELS, many)
    assert MAX_PRIOR_CLIPS - 28 < len(chosen) <= MAX_PRIOR_CLIPS
    assert [u for u, _ in prior_clips(["sad"], many[3::4])] != many[3::4]
    assert len(prior_clips(LABELS, many[:40])) == 40  # few are taken all


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
    monkeypatch.setattr(SpeakerAdapter, "offset", np.zeros(8, np.float32))
    none = measure(predictor, voices, draws=3, seconds=2.5)["simple"]
    assert none["gain"] == 0.0 and none["uar"] == full["uar"]
