"""Each augmentation does to a sound what its name says, by measurement."""

from __future__ import annotations

import numpy as np
import pytest
from support import bad_audio

from serdemo.audio.augmentation import (
    CODECS,
    AugmentOptions,
    add_noise,
    augment,
    code,
    limit_band,
    reverberate,
    speed,
)

RATE = 16_000
NOTHING = AugmentOptions(speed=0.0, noise=0.0, reverberation=0.0, bandlimit=0.0, gain=0.0)
EVERYTHING = AugmentOptions(speed=1.0, noise=1.0, reverberation=1.0, bandlimit=1.0, gain=1.0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def decibels(power: float) -> float:
    return 10 * float(np.log10(power))


def band_power(wave: np.ndarray, low: float, high: float) -> float:
    spectrum = np.square(np.abs(np.fft.rfft(wave)))
    frequency = np.fft.rfftfreq(len(wave), 1 / RATE)
    return float(spectrum[(frequency >= low) & (frequency < high)].sum())


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("snr", [3.0, 20.0, 35.0])
def test_noise_has_the_level_and_colour_asked_for(snr: float, slope: float) -> None:
    wave = bad_audio.voice(3.0)
    added = add_noise(wave, snr, slope, rng()) - wave
    measured = decibels(np.square(wave).mean() / np.square(added).mean())
    assert measured == pytest.approx(snr, abs=0.5)
    # From one octave to another three octaves up, power per hertz falls by 2 ** (3 slope).
    low, high = band_power(added, 250, 500) / 250, band_power(added, 2000, 4000) / 2000
    assert np.log2(low / high) / 3 == pytest.approx(slope, abs=0.15)


@pytest.mark.parametrize(
    ("frequency", "expected", "within"),
    [
        (1000, 0.0, 0.1),
        (300, -3.0, 0.1),
        (3400, -3.0, 0.1),
        (150, -36.1, 0.5),
        (6800, -36.1, 0.5),
    ],
)
def test_a_telephones_band(frequency: float, expected: float, within: float) -> None:
    tone = bad_audio.sine(2.0, frequency=frequency)
    middle = slice(RATE // 2, 3 * RATE // 2)
    left = limit_band(tone, 300, 3400)
    assert left.shape == tone.shape
    change = decibels(np.square(left[middle]).mean() / np.square(tone[middle]).mean())
    assert change == pytest.approx(expected, abs=within)


@pytest.mark.parametrize("factor", [0.88, 1.0, 1.12])
def test_speed_changes_length_and_pitch(factor: float) -> None:
    tone = bad_audio.sine(2.0, frequency=500)
    faster = speed(tone, factor)
    assert len(faster) == pytest.approx(len(tone) / factor, abs=2)
    peak = np.abs(np.fft.rfft(faster)).argmax() * RATE / len(faster)
    assert peak == pytest.approx(500 * factor, rel=0.005)


@pytest.mark.parametrize("seconds", [0.1, 0.4, 0.8])
def test_a_room_decays_as_long_as_asked(seconds: float) -> None:
    click = np.zeros(2 * RATE, np.float32)
    click[1000] = 1.0
    reverberated = reverberate(click, seconds, rng())
    assert reverberated.shape == click.shape
    assert np.abs(reverberated[:1000]).max() < 1e-6  # nothing is heard before it is said
    assert reverberated[1000] == pytest.approx(1.0, abs=1e-6)
    tail = reverberated[1001:]
    assert -12.1 <= decibels(np.square(tail).sum()) <= 0.1
    # Schroeder's backward integral, fitted from 5 to 25 dB down as rooms are measured.
    decay = 10 * np.log10(np.cumsum(np.square(tail)[::-1])[::-1] / np.square(tail).sum() + 1e-12)
    fitted = (decay < -5) & (decay > -25)
    slope = np.polyfit(np.flatnonzero(fitted) / RATE, decay[fitted], 1)[0]
    assert -60 / slope == pytest.approx(seconds, rel=0.15)


def test_gain_stays_within_bounds_and_clips_at_full_scale() -> None:
    only = AugmentOptions(speed=0.0, noise=0.0, reverberation=0.0, bandlimit=0.0, gain=1.0)
    wave = bad_audio.voice(1.0)
    gains = []
    for seed in range(60):
        louder = augment(wave, only, rng(seed))[0]
        assert np.abs(louder).max() <= 1.0
        whole = np.abs(louder) < 1.0
        ratio = louder[whole & (np.abs(wave) > 0.01)] / wave[whole & (np.abs(wave) > 0.01)]
        assert ratio.std() < 1e-4 * ratio.mean()
        gains.append(20 * np.log10(ratio.mean()))
    assert -15.01 <= min(gains) < -12
    assert 12 < max(gains) <= 15.01


def test_silence_stays_silent() -> None:
    silence = np.zeros(5000, np.float32)
    assert np.array_equal(augment(silence, EVERYTHING, rng())[0], silence)


def test_nothing_asked_nothing_changed() -> None:
    wave = bad_audio.voice(0.5)
    assert np.array_equal(augment(wave, NOTHING, rng())[0], wave)


@pytest.mark.parametrize("name", [*NOTHING.to_json()])
def test_each_change_alone_changes_and_repeats_by_seed(name: str) -> None:
    options = AugmentOptions(**{**NOTHING.to_json(), name: 1.0})
    wave = bad_audio.voice(0.5)
    original = wave.copy()
    once, again, other = (augment(wave, options, rng(seed))[0] for seed in (1, 1, 2))
    assert np.array_equal(once, again)
    assert len(once) != len(other) or not np.allclose(once, other, atol=1e-4)
    assert len(once) != len(wave) or not np.allclose(once, wave, atol=1e-4)
    assert np.array_equal(wave, original)  # the stored clip itself is never written to
    assert len(once) == len(wave) if name != "speed" else len(once) != len(wave)


@pytest.mark.parametrize("size", [1, 2, 3, 100, 399, 1000, 16_001])
def test_any_length_stays_finite(size: int) -> None:
    for seed in range(8):
        wave = (0.5 * rng(seed).standard_normal(size)).astype(np.float32)
        with np.errstate(divide="raise", invalid="raise", over="raise"):
            changed = augment(wave, EVERYTHING, rng(seed))[0]
        assert changed.dtype == np.float32
        assert changed.flags.c_contiguous
        assert np.isfinite(changed).all()
        assert np.abs(changed).max() <= 1.0
        assert len(changed) >= 1
        assert size / 1.12 - 1 <= len(changed) <= size / 0.88 + 1


@pytest.mark.parametrize("level", [1e-30, 1e-6, 60.0])
def test_any_level_stays_finite(level: float) -> None:
    wave = (level * bad_audio.voice(0.3)).astype(np.float32)
    for seed in range(8):
        assert np.isfinite(augment(wave, EVERYTHING, rng(seed))[0]).all()


def test_changes_come_as_often_as_asked() -> None:
    options = AugmentOptions(**{**NOTHING.to_json(), "noise": 0.25})
    wave = bad_audio.sine(0.02)
    changed = sum(
        not np.array_equal(augment(wave, options, rng(seed))[0], wave) for seed in range(400)
    )
    assert changed / 400 == pytest.approx(0.25, abs=0.07)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [1, 100, 16_001])
def test_codecs_keep_the_length(codec: tuple[str, str], size: int) -> None:
    wave = (0.2 * np.sin(np.arange(size) / 10)).astype(np.float32)
    coded = code(wave, codec, 0.9)
    assert coded.shape == wave.shape
    assert np.isfinite(coded).all()
    if size > 1000:
        assert not np.array_equal(coded, wave)
        assert np.corrcoef(coded, wave)[0, 1] > 0.9  # in step with what was coded
    nothing = dict.fromkeys(AugmentOptions().to_json(), 0.0)
    changed, pace = augment(wave, AugmentOptions(**{**nothing, "codec": 1.0}), rng())
    assert pace == 1.0
    assert changed.shape == wave.shape
