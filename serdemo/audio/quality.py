"""Signal quality of a clip: level, clipping, signal-to-noise ratio, and warnings about them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from serdemo.audio.vad import CHUNK, PAUSE_THRESHOLD, VAD_THRESHOLD, speech_duration_s
from serdemo.audio.waveform import SAMPLE_RATE, Clip, Recording, Samples

SILENT_DBFS = -70.0
QUIET_DBFS = -50.0
CLIPPED_SHARE = 0.005
NOISY_DB = 6.0
NO_SPEECH_S = 0.1
SHORT_SPEECH_S = 0.3
SHORT_CLIP_S = 1.0
LONG_CLIP_S = 600.0
TELEPHONE_RATE = 8_000
MAX_WARNINGS = 3
MIN_CHUNKS = 5  # of speech and of pauses, for an estimate of the SNR

# Time constants of `LevelMeter`.
LEVEL_S = 0.3
CLIPPING_S = 3.0


@dataclass(slots=True)
class LevelMeter:
    """Exponentially decaying level statistics of a sound that arrives in pieces.

    `power` is the mean square, `peak` the largest absolute value, `clipped` the share in [0, 1] of
    values at full scale.
    """

    power: float = 0.0
    peak: float = 0.0
    clipped: float = 0.0

    def update(self, sound: Samples, clipped: float, seconds: float) -> None:
        """Add samples (N,) at 16 kHz that came in with so many `seconds` of the source, which may be
        a little more or less; `clipped` is the share of those at full scale."""
        fade, slow = math.exp(-seconds / LEVEL_S), math.exp(-seconds / CLIPPING_S)
        self.peak *= fade
        if len(sound):
            recent = sound[-round(LEVEL_S * SAMPLE_RATE) :]
            power = float(np.dot(recent, recent)) / len(recent)
            self.power = fade * self.power + (1 - fade) * power
            self.peak = max(self.peak, float(np.abs(recent).max()))
        self.clipped = slow * self.clipped + (1 - slow) * clipped

    @property
    def level_dbfs(self) -> float:
        """RMS level in dB relative to full scale (a square wave at 1.0), -120 for digital silence."""
        return _decibels(self.power)


class PowerMeter:
    """Mean square of each 32 ms of a sound at 16 kHz that arrives in pieces."""

    def __init__(self) -> None:
        self._powers: list[NDArray[np.float64]] = []
        self._rest = np.zeros(0, np.float32)
        self._n_samples = 0

    def push(self, samples: Samples) -> None:
        """Add the next samples (N,)."""
        self._n_samples += len(samples)
        sound = np.concatenate([self._rest, samples]) if len(self._rest) else samples
        whole = sound[: len(sound) // CHUNK * CHUNK].reshape(-1, CHUNK)
        self._powers.append(np.einsum("ij,ij->i", whole, whole).astype(np.float64) / CHUNK)
        self._rest = sound[whole.size :].copy()

    @property
    def power(self) -> NDArray[np.float64]:
        """Mean squares (ceil(N / 512),) of the N samples so far."""
        rest = [np.array([np.mean(np.square(self._rest))])] if len(self._rest) else []
        return np.concatenate([*self._powers, *rest])

    @property
    def duration_s(self) -> float:
        """Seconds of the sound so far."""
        return self._n_samples / SAMPLE_RATE


def snr_db(power: NDArray[np.float64], probabilities: NDArray[np.float32]) -> float | None:
    """Signal-to-noise ratio in dB, from the power of speech and of pauses.

    `power` and `probabilities` are those of each 32 ms. The noise is estimated from the quieter
    pauses, as others may hold speech that the detector missed. None with too little speech or
    pauses.
    """
    speech = power[probabilities >= VAD_THRESHOLD]
    pauses = power[probabilities < PAUSE_THRESHOLD]
    if min(len(speech), len(pauses)) < MIN_CHUNKS:
        return None
    noise = float(np.percentile(pauses, 20))
    return _decibels(float(speech.mean()) - noise) - _decibels(noise)


def warnings(clip: Clip, probabilities: NDArray[np.float32]) -> tuple[str, ...]:
    """The clip's notes, then at most three sentences about faults and remedies, worst first.

    `probabilities` are `SpeechDetector.probabilities(clip.samples)`. Empty for a good recording.
    """
    meter = PowerMeter()
    meter.push(clip.samples)
    return long_warnings(clip, meter, probabilities)


def long_warnings(
    recording: Clip | Recording, meter: PowerMeter, probabilities: NDArray[np.float32]
) -> tuple[str, ...]:
    """The `warnings` for a recording whose samples were measured as they came, by `meter`."""
    found = _warnings(recording, meter.power, meter.duration_s, probabilities)
    return (*recording.notes, *islice(found, MAX_WARNINGS))


def _warnings(
    recording: Clip | Recording,
    power: NDArray[np.float64],
    duration_s: float,
    probabilities: NDArray[np.float32],
) -> Iterator[str]:
    if duration_s < NO_SPEECH_S:
        yield f"The recording is only {duration_s:.1f} s long: give a whole spoken sentence."
        return
    if _decibels(float(power.max())) < SILENT_DBFS:
        yield (
            "The recording is silent: check that the microphone is on and not muted, "
            "then record again."
        )
        return
    speech = speech_duration_s(probabilities)
    if speech < NO_SPEECH_S:
        yield "No speech was found: record closer to the microphone, or choose a clip with a voice."
    if duration_s < SHORT_CLIP_S:
        yield f"The recording is only {duration_s:.1f} s long: give a whole spoken sentence."
    elif NO_SPEECH_S <= speech < SHORT_SPEECH_S:
        yield f"Only {speech:.1f} s of clear speech was found: give a whole spoken sentence."
    if recording.clipped > CLIPPED_SHARE:
        yield (
            f"The recording is clipped ({recording.clipped:.1%} of it is at full scale): "
            "turn the microphone down or move away from it."
        )
    voiced = power[probabilities >= VAD_THRESHOLD] if speech >= NO_SPEECH_S else power
    level = _decibels(float(voiced.mean()))
    if level < QUIET_DBFS:
        yield (
            f"The recording is very quiet ({level:.0f} dBFS): "
            "turn the microphone up or move closer to it."
        )
    snr = snr_db(power, probabilities)
    if snr is not None and snr < NOISY_DB:
        yield (
            "The background is nearly as loud as the voice: "
            "record in a quieter place or closer to the microphone."
        )
    if recording.source_rate <= TELEPHONE_RATE:
        yield (
            f"The recording has telephone quality ({recording.source_rate / 1000:g} kHz), which makes "
            "the answer less sure: use one at 16 kHz or more if you can."
        )
    if duration_s > LONG_CLIP_S:
        yield (
            f"The recording is {duration_s / 60:.0f} minutes long and one answer averages "
            "over all of it: look at how the emotion changes over time instead."
        )


def _decibels(power: float) -> float:
    return 10.0 * float(np.log10(max(power, 1e-12)))
