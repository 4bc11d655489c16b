"""Calibration to a neutral voice, and the measurement of whether it pays."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support import bad_audio

from serdemo.audio import waveform
from serdemo.data.corpora import load
from serdemo.experiments.neutral import measure
from serdemo.inference.predictor import Predictor
from serdemo.inference.speaker_normalization import (
    estimate_speaker_offset,
    neutral_centroid,
    subtract_offsets,
)
from serdemo.nn.description import read_description, write_description
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Utterance


def spoken(seconds: float) -> waveform.Clip:
    return waveform.from_array(bad_audio.voice(seconds), waveform.SAMPLE_RATE)


@pytest.fixture
def folder(tmp_path: Path, tiny_checkpoint: Path) -> Path:
    """The tiny checkpoint with a reference of neutral speech, all zeros."""
    shutil.copytree(tiny_checkpoint, tmp_path / "tiny")
    described = read_description(tmp_path / "tiny")
    write_description(tmp_path / "tiny", replace(described, neutral=[0.0] * 8))
    return tmp_path / "tiny"


def test_part_of_the_offset_is_taken_away(folder: Path) -> None:
    predictor, clip = Predictor(folder, device="cpu"), spoken(3.0)
    mean = predictor.embeddings([clip.samples])[0]
    for strength in (0.25, 1.0):
        found = estimate_speaker_offset(predictor, clip, strength)
        np.testing.assert_allclose(found.offset, strength * mean, rtol=1e-5)
        assert 2.0 <= found.speech_s <= 3.0
    # With all of it taken away, this very clip lies on the reference.
    moved = predictor.classify(mean[None] - found.offset)[0]
    at_reference = predictor.classify(np.zeros((1, 8), np.float32))[0]
    np.testing.assert_allclose(moved, at_reference, atol=1e-6)
    assert np.abs(moved - predictor.probabilities([clip.samples])[0]).max() > 0.01


def test_only_the_windows_meant_are_shifted(folder: Path) -> None:
    predictor = Predictor(folder, device="cpu")
    embeddings = predictor.embeddings([spoken(1.0).samples, spoken(2.0).samples])
    plain = predictor.classify(embeddings)
    both = predictor.classify(subtract_offsets(embeddings, [None, np.ones(8, np.float32)]))
    np.testing.assert_array_equal(both[0], plain[0])
    assert np.abs(both[1] - plain[1]).max() > 1e-3


def test_what_cannot_calibrate_says_so(folder: Path, tiny_checkpoint: Path) -> None:
    predictor = Predictor(folder, device="cpu")
    with pytest.raises(SerdemoError, match=r"Only \d\.\d s of speech were heard: speak in your"):
        estimate_speaker_offset(predictor, spoken(1.0))
    silent = waveform.from_array(np.zeros(80_000, np.float32), waveform.SAMPLE_RATE)
    with pytest.raises(SerdemoError, match=r"Only 0\.0 s of speech"):
        estimate_speaker_offset(predictor, silent)
    with pytest.raises(SerdemoError, match="tiny was not measured on neutral speech"):
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


def test_every_corpus_counts_alike_in_the_reference(folder: Path, corpus_root: Path) -> None:
    predictor = Predictor(folder, device="cpu")
    clips = load(str(corpus_root))
    one = [replace(clip, corpus="one", emotion="neutral") for clip in clips[:1]]
    three = [replace(clip, corpus="three", emotion="calm") for clip in clips[1:4]]
    rows = [predictor.embeddings([waveform.decode(u.path).samples])[0] for u in (*one, *three)]
    expected = (rows[0] + np.mean(rows[1:], axis=0)) / 2
    np.testing.assert_allclose(
        neutral_centroid(predictor, [*one, *three, *clips[4:]]), expected, atol=1e-5
    )
    assert neutral_centroid(predictor, clips) == []


def test_the_measurement_scores_the_same_clips_both_ways(folder: Path, corpus_root: Path) -> None:
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
    none = measure(predictor, voices, draws=3, seconds=2.5, strength=0.0)["simple"]
    assert none["draws"] == 3
    assert none["gain"] == 0.0
    full = measure(predictor, voices, draws=3, seconds=2.5, strength=1.0)["simple"]
    assert full["uar"] == none["uar"]
    assert full["gain"] == pytest.approx(full["uar_calibrated"] - full["uar"])
