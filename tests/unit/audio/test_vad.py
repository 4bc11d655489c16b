"""Speech detection equals the official network; quality and its warnings are measured."""

from __future__ import annotations

import csv
import importlib.util
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from support import bad_audio

from serdemo.audio import quality, vad, waveform
from serdemo.schema.errors import SerdemoError


@pytest.fixture(scope="module")
def detector() -> vad.SpeechDetector:
    return vad.SpeechDetector()


def power(samples: np.ndarray) -> np.ndarray:
    meter = quality.PowerMeter()
    for piece in np.array_split(samples, 7):
        meter.push(piece)
    return meter.power


def clip_of(samples: np.ndarray, rate: int = 16_000) -> waveform.Clip:
    return waveform.from_array(samples.astype(np.float32), rate, "clip.wav")


@pytest.mark.parametrize("n_samples", [512, 513, 1_000, 5_000, 64_000])
def test_the_batched_network_equals_the_official_one(
    detector: vad.SpeechDetector, monkeypatch: pytest.MonkeyPatch, n_samples: int
) -> None:
    import silero_vad

    noise = np.random.default_rng(0).standard_normal(64_000).astype(np.float32)
    sound = (bad_audio.voice(4.0) + 0.02 * noise)[-n_samples:]
    official = silero_vad.load_silero_vad(onnx=False)
    expected = official.audio_forward(torch.from_numpy(sound)[None], 16_000)[0].numpy()
    got = detector.probabilities(sound)
    assert got.dtype == np.float32
    assert got.shape == (-(-n_samples // 512),)
    np.testing.assert_allclose(got, expected, atol=1e-4)
    # In several batches, as for long recordings, the state goes on from one to the next.
    monkeypatch.setattr(vad, "_BATCH", 7)
    np.testing.assert_allclose(detector.probabilities(sound), expected, atol=1e-4)


def test_calls_do_not_disturb_each_other(detector: vad.SpeechDetector) -> None:
    sounds = [bad_audio.voice(seconds) for seconds in (1.0, 2.5, 4.0)] * 8
    sequential = [detector.probabilities(sound) for sound in sounds]
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(detector.probabilities, sounds))
    for first, second in zip(sequential, parallel, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-6)
    assert detector.probabilities(np.zeros(0, np.float32)).shape == (0,)


def test_the_package_lends_its_network_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing it would set the whole process to one thread."""
    for name in [name for name in sys.modules if name.split(".")[0] == "silero_vad"]:
        monkeypatch.delitem(sys.modules, name)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        vad.SpeechDetector()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert not [name for name in sys.modules if name.split(".")[0] == "silero_vad"]


def test_a_missing_or_damaged_network_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "silero_vad"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").touch()
    pattern = r'cannot be read: python -m pip install -U "silero-vad>=6.2.3,<7"'
    for content in (None, b"", b"no network"):
        if content is not None:
            (package / "data" / vad._NETWORK).write_bytes(content)
        spec = importlib.util.spec_from_file_location("silero_vad", package / "__init__.py")
        monkeypatch.setattr(vad, "find_spec", lambda name, spec=spec: spec)
        with pytest.raises(SerdemoError, match=pattern):
            vad.SpeechDetector()
    monkeypatch.setattr(vad, "find_spec", lambda name: None)
    with pytest.raises(SerdemoError, match=pattern):
        vad.SpeechDetector()


def test_speech_is_found_where_it_is(detector: vad.SpeechDetector) -> None:
    voice = bad_audio.voice(1.5)
    sound = np.concatenate([np.zeros(32_000), voice, np.zeros(32_000)]).astype(np.float32)
    probabilities = detector.probabilities(sound)
    assert vad.speech_share(probabilities, 0, 32_000) == 0
    assert vad.speech_share(probabilities, 33_000, 55_000) > 0.9
    assert vad.speech_share(probabilities, 0, len(sound)) == pytest.approx(0.27, abs=0.05)
    assert vad.speech_duration_s(probabilities) == pytest.approx(1.5, abs=0.3)
    noise = np.random.default_rng(0).standard_normal(80_000).astype(np.float32)
    for second in (0.1 * noise, bad_audio.sine(5.0), np.zeros(80_000, np.float32)):
        assert vad.speech_duration_s(detector.probabilities(second)) < quality.NO_SPEECH_S


def test_speech_share_counts_chunks() -> None:
    probabilities = np.array([0.9, 0.1, 0.9, 0.9], np.float32)
    assert vad.speech_share(probabilities, 0, 1024) == 0.5
    assert vad.speech_share(probabilities, 0, 2000) == 0.75
    assert vad.speech_share(probabilities, 512, 513) == 0.0
    assert vad.speech_share(probabilities, 0, 0) == 0.0


def test_levels() -> None:
    def level_dbfs(samples: np.ndarray) -> float:
        meter = quality.LevelMeter()
        for _ in range(10):
            meter.update(samples, 0.0, len(samples) / 16_000)
        return meter.level_dbfs

    assert quality.LevelMeter().level_dbfs == -120
    assert level_dbfs(np.ones(16_000, np.float32)) == pytest.approx(0, abs=1e-6)
    assert level_dbfs(bad_audio.sine(1.0)) == pytest.approx(-9.03, abs=0.01)
    assert level_dbfs(np.zeros(100, np.float32)) == -120


@pytest.mark.parametrize("snr", [5, 10, 20, 30])
def test_signal_to_noise_ratio(detector: vad.SpeechDetector, snr: float) -> None:
    voice = bad_audio.voice(6.0)
    loud = voice[detector.probabilities(voice).repeat(512)[: len(voice)] >= vad.VAD_THRESHOLD]
    noise = np.random.default_rng(0).standard_normal(len(voice))
    sound = voice + noise * loud.std() * 10 ** (-snr / 20)
    sound = sound.astype(np.float32)
    estimate = quality.snr_db(power(sound), detector.probabilities(sound))
    assert estimate == pytest.approx(snr, abs=2)


def test_signal_to_noise_ratio_needs_both(detector: vad.SpeechDetector) -> None:
    for sound in (bad_audio.voice(6.0)[:20_000], bad_audio.sine(3.0)):
        assert quality.snr_db(power(sound), detector.probabilities(sound)) is None


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_a_good_recording_has_no_warnings(detector: vad.SpeechDetector, rate: int) -> None:
    clip = clip_of(bad_audio.voice(4.0, rate=rate) * 0.5, rate)
    assert quality.warnings(clip, detector.probabilities(clip.samples)) == ()


@pytest.mark.slow
def test_odd_files_get_their_warning(
    tmp_path: Path, detector: vad.SpeechDetector, subtests: pytest.Subtests
) -> None:
    for name, (path, pattern) in bad_audio.make_warned(tmp_path).items():
        with subtests.test(name):
            clip = waveform.decode(path)
            sentences = quality.warnings(clip, detector.probabilities(clip.samples))
            assert any(re.search(pattern, sentence) for sentence in sentences), sentences
            assert len(sentences) <= 3
            assert all(re.fullmatch(r"[^\n]+: [^\n:]+\.", sentence) for sentence in sentences)


def test_the_most_important_warnings_come_first(detector: vad.SpeechDetector) -> None:
    noise = np.random.default_rng(0).standard_normal(4_000)
    clip = clip_of(np.clip(noise, -1, 1), 8_000)
    sentences = quality.warnings(clip, detector.probabilities(clip.samples))
    starts = ("No speech was found", "The recording is only", "The recording is clipped")
    assert len(sentences) == 3
    for sentence, start in zip(sentences, starts, strict=True):
        assert sentence.startswith(start)


CORPORA = ("ravdess", "cremad", "emodb", "nemo", "ased", "aesdd", "urdu")


@pytest.mark.parametrize("corpus", CORPORA)
def test_genuine_recordings_seldom_warn(detector: vad.SpeechDetector, corpus: str) -> None:
    root = os.environ.get("SERDEMO_DATA")
    table = Path(root or "", f"{corpus}.csv")
    if not root or not table.is_file():
        pytest.skip(f"the corpus {corpus} is not under SERDEMO_DATA")
    with table.open(encoding="utf-8") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    warned = missed = 0
    sample = paths[:: max(1, len(paths) // 60)]
    for path in sample:
        clip = waveform.decode(Path(root, path))
        sentences = quality.warnings(clip, detector.probabilities(clip.samples))
        warned += bool(sentences)
        missed += any("No speech" in sentence for sentence in sentences)
    assert warned / len(sample) < 0.15
    assert missed / len(sample) < 0.08
