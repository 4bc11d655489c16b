"""Log-mel features: padding and loudness do not count, sizes are as stated."""

from __future__ import annotations

import math

import pytest
import torch
from support import bad_audio

from serdemo.audio import features as audio_features


@pytest.fixture(scope="module")
def log_mel() -> audio_features.LogMel:
    return audio_features.LogMel()


def test_features_do_not_depend_on_batch_mates(log_mel: audio_features.LogMel) -> None:
    lengths = torch.tensor([48_000, 1, 399, 400, 559, 560, 31_999])
    batch = torch.randn(len(lengths), 48_000, generator=torch.Generator().manual_seed(0)) * 0.1
    features, frames = log_mel(batch, lengths)  # what lies beyond a length is noise here
    assert features.shape == (7, 298, 80)
    assert features.dtype == torch.float32
    assert frames.tolist() == [298, 1, 1, 1, 1, 2, 198]
    for row, length in enumerate(lengths.tolist()):
        single, count = log_mel(batch[row : row + 1, :length], lengths[row : row + 1])
        valid = int(count[0])
        torch.testing.assert_close(features[row, :valid], single[0, :valid], atol=1e-5, rtol=0)
        assert features[row, valid:].abs().sum() == 0


def test_features_forget_the_gain_but_not_the_spectrum(log_mel: audio_features.LogMel) -> None:
    voice = torch.from_numpy(bad_audio.voice(3.0))[None]
    length = torch.tensor([voice.shape[1]])
    loud, _ = log_mel(voice, length)
    quiet, _ = log_mel(voice * 0.003, length)
    torch.testing.assert_close(loud, quiet, atol=1e-3, rtol=0)
    # The mean power of a clip is 1 on the scale of the features, whatever share is silence.
    powers = torch.exp(loud * log_mel.SCALE + log_mel.CENTRE) - log_mel.FLOOR
    assert float(powers.mean()) == pytest.approx(1, rel=1e-3)
    paused = torch.cat((voice, torch.zeros_like(voice)), dim=1)
    longer, _ = log_mel(paused, 2 * length)
    moved = (longer[:, : loud.shape[1]] - loud)[loud > 0]
    assert float(moved.mean()) == pytest.approx(math.log(2) / log_mel.SCALE, abs=0.02)
    assert 0.3 < float(loud.std()) < 3
    bands = []
    for frequency in (200.0, 1_000.0, 4_000.0):
        tone = torch.from_numpy(bad_audio.sine(1.0, frequency=frequency))[None]
        bands.append(int(log_mel(tone, torch.tensor([16_000]))[0][0].mean(0).argmax()))
    assert bands == sorted(set(bands))


def test_features_stay_float32_under_autocast(log_mel: audio_features.LogMel) -> None:
    voice = torch.from_numpy(bad_audio.voice(1.0))[None]
    length = torch.tensor([voice.shape[1]])
    expected, _ = log_mel(voice, length)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features, _ = log_mel(voice, length)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features, expected, atol=0, rtol=0)


def test_silence_has_finite_features(log_mel: audio_features.LogMel) -> None:
    features, frames = log_mel(torch.zeros(1, 10), torch.tensor([10]))
    assert features.shape == (1, 1, 80)
    assert frames.tolist() == [1]
    assert torch.isfinite(features).all()
