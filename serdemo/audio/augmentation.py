"""Random augmentation of training clips: speed, reverberation, noise, band limit, gain, codec."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr

from serdemo.audio.waveform import SAMPLE_RATE
from serdemo.schema.options import Options, option

CODECS = (("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("WAV", "GSM610"), ("WAV", "ULAW"))


@dataclass(frozen=True)
class AugmentOptions(Options):
    """Probability of each augmentation of a training clip."""

    speed: float = option(0.4, "speed and pitch changed by up to 12 %", low=0.0, high=1.0)
    noise: float = option(0.3, "noise of a random colour at 3 to 35 dB", low=0.0, high=1.0)
    reverberation: float = option(0.2, "a room of 0.1 to 0.8 s", low=0.0, high=1.0)
    bandlimit: float = option(0.2, "a band limit, from a telephone's up", low=0.0, high=1.0)
    gain: float = option(0.5, "level changed by up to 15 dB, at times clipped", low=0.0, high=1.0)
    codec: float = option(
        0.0, "coded and decoded: MP3, Vorbis, GSM 06.10 or mu-law", low=0.0, high=1.0
    )


def augment(
    wave: np.ndarray, options: AugmentOptions, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Augment samples (N,) at 16 kHz; returns float32 samples (M,) and the speed factor N / M.

    Digital silence is returned unchanged.
    """
    if not np.any(wave):
        return wave, 1.0
    factor = 1.0
    if rng.random() < options.speed:
        factor = rng.uniform(0.88, 1.12)
        wave = speed(wave, factor)
    if rng.random() < options.reverberation:
        wave = reverberate(wave, rng.uniform(0.1, 0.8), rng)
    if rng.random() < options.noise:
        wave = add_noise(wave, rng.uniform(3, 35), rng.uniform(0, 2), rng)
    if rng.random() < options.bandlimit:
        wave = limit_band(wave, rng.uniform(20, 350), rng.uniform(3000, 7900))
    if rng.random() < options.gain:
        wave = np.clip(wave * 10 ** (rng.uniform(-15, 15) / 20), -1, 1)
    if rng.random() < options.codec:
        wave = code(wave, CODECS[rng.integers(len(CODECS))], rng.uniform(0.5, 0.99))
    return np.ascontiguousarray(wave, dtype=np.float32), factor


def speed(wave: np.ndarray, factor: float) -> np.ndarray:
    """Play `factor` times as fast, which raises the pitch by the same factor."""
    return soxr.resample(wave, SAMPLE_RATE * factor, SAMPLE_RATE, quality="MQ")


def reverberate(wave: np.ndarray, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Reverberate with T60 = `seconds`: the direct sound, then exponentially decaying noise."""
    size = int(seconds * SAMPLE_RATE)
    tail = rng.standard_normal(size, dtype=np.float32) * 10 ** (-3 * np.arange(size) / size)
    tail *= 10 ** (-rng.uniform(0, 12) / 20) / np.sqrt(np.square(tail).sum())
    tail[0] = 1.0
    length = _fast_length(len(wave) + size)
    spectrum = np.fft.rfft(wave, length) * np.fft.rfft(tail, length)
    return np.fft.irfft(spectrum, length)[: len(wave)]


def add_noise(
    wave: np.ndarray, snr_db: float, slope: float, rng: np.random.Generator
) -> np.ndarray:
    """Add noise at `snr_db` whose power falls as 1 / f ** slope (0 white, 1 pink, 2 brown)."""
    length = _fast_length(len(wave))
    frequency = np.fft.rfftfreq(length, 1 / SAMPLE_RATE).clip(min=40.0)
    white = np.fft.rfft(rng.standard_normal(length, dtype=np.float32))
    noise = np.fft.irfft(white * frequency ** (-slope / 2), length)[: len(wave)]
    ratio = np.sqrt(np.square(wave).mean() / np.square(noise).mean())
    return wave + noise * ratio * 10 ** (-snr_db / 20)


def limit_band(wave: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    """Band-pass filter with the edges of a sixth-order Butterworth filter."""
    length = _fast_length(len(wave))
    frequency = np.fft.rfftfreq(length, 1 / SAMPLE_RATE).clip(min=1.0)
    response = 1 / np.sqrt((1 + (low_hz / frequency) ** 12) * (1 + (frequency / high_hz) ** 12))
    return np.fft.irfft(np.fft.rfft(wave, length) * response, length)[: len(wave)]


def code(wave: np.ndarray, codec: tuple[str, str], coarseness: float) -> np.ndarray:
    """Encode and decode by `codec` (format, subtype); `coarseness` in [0, 1] sets MP3 and Vorbis."""
    coded = io.BytesIO()
    setting = {} if codec[0] == "WAV" else {"compression_level": coarseness}
    soundfile.write(coded, wave, SAMPLE_RATE, format=codec[0], subtype=codec[1], **setting)
    coded.seek(0)
    decoded: np.ndarray = soundfile.read(coded, dtype="float32")[0]
    return np.pad(decoded[: len(wave)], (0, max(0, len(wave) - len(decoded))))


def _fast_length(size: int) -> int:
    """Next multiple of 1000, whose small prime factors make the FFT fast."""
    return -(-size // 1000) * 1000
