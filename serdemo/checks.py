"""What a recording is like, in plain words: is there speech, is it loud and clean enough."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from serdemo.audio import SAMPLE_RATE, Clip
from serdemo.libraries import install_command
from serdemo.schema import SerdemoError

CHUNK = 512  # samples (32 ms) that each get one speech probability
# A chunk at or above this probability counts as speech. Detectors are trained on plain speech
# and find sobbing and shouting doubtful; at the usual 0.5 they would be taken for noise.
SPEECH = 0.3

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

# Over how long a meter looks back.
LEVEL_S = 0.3
CLIPPING_S = 3.0

_CONTEXT = 64  # samples of the past that the detector sees before each chunk
_BATCH = 1024  # chunks computed at once, which bounds the memory for long recordings
_PAUSE = 0.2  # below this probability a chunk is surely no speech
_MIN_CHUNKS = 5

_NETWORK = "silero_vad_16k_sequence.onnx"

Samples = NDArray[np.float32]
_State = tuple[Samples, Samples] | None  # of the recurrent cell


class SpeechDetector:
    """Speech probabilities by silero-vad, computed for many chunks at once.

    The package's own network for sequences runs in ONNX Runtime, chunks as one batch and its
    recurrent cell over them; of the package only that file is read. Calls keep no state: use it from
    any thread. Raises SerdemoError where the package is missing or holds no such network.
    """

    def __init__(self) -> None:
        package = find_spec("silero_vad")  # not imported: that sets the whole process to one thread
        path = Path((package and package.origin) or "").parent / "data" / _NETWORK
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            self._network = onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as problem:  # ONNX Runtime's own derive from no other
            raise SerdemoError(
                f"The speech detector cannot be read: {install_command('silero-vad', options='-U')}"
            ) from problem

    def probabilities(self, samples: Samples) -> NDArray[np.float32]:
        """Give each 32 ms of 16 kHz `samples` (N,) a speech probability in [0, 1].

        Returns float32 (ceil(N / 512),); the last chunk is filled up with zeros.
        """
        session = SpeechSession(self)
        return np.concatenate([session.push(samples), session.finish()])

    def score(self, samples: Samples, state: _State) -> tuple[NDArray[np.float32], _State]:
        """Probabilities (n,) of `samples` (64 + 512 n,), which begin with 64 of the past.

        `state` is what the call before returned, None at the beginning of a sound.
        """
        chunks = np.lib.stride_tricks.sliding_window_view(samples, _CONTEXT + CHUNK)[::CHUNK]
        hidden, cell = state or (np.zeros((1, 1, 128), np.float32),) * 2
        probabilities, hidden, cell = self._network.run(
            ["speech_probs", "hn", "cn"], {"input": chunks, "h": hidden, "c": cell}
        )
        return probabilities, (hidden, cell)


class SpeechSession:
    """The detector on one sound that arrives in pieces; the cuts do not change its numbers.

    Each sound needs its own, used from one thread at a time.
    """

    def __init__(self, detector: SpeechDetector) -> None:
        self._detector = detector
        self._past = np.zeros(_CONTEXT, np.float32)
        self._rest = np.zeros(0, np.float32)
        self._state: _State = None

    def push(self, samples: Samples) -> NDArray[np.float32]:
        """Take 16 kHz samples (N,); return the probabilities of the 32 ms completed by them."""
        sound = np.concatenate([self._rest, samples]) if len(self._rest) else samples
        n_chunks = len(sound) // CHUNK
        result = np.zeros(n_chunks, np.float32)
        for first in range(0, n_chunks, _BATCH):
            part = sound[first * CHUNK : min(first + _BATCH, n_chunks) * CHUNK]
            part = np.concatenate([self._past, part])
            result[first : first + _BATCH], self._state = self._detector.score(part, self._state)
            self._past = part[-_CONTEXT:].copy()
        self._rest = sound[n_chunks * CHUNK :].copy()
        return result

    def finish(self) -> NDArray[np.float32]:
        """The probability of an unfinished last chunk, filled up with zeros: (1,) or (0,)."""
        return self.push(np.zeros(-len(self._rest) % CHUNK, np.float32))


@dataclass(slots=True)
class Meter:
    """What sound that arrives in pieces is like now; the older it is, the less it counts.

    `power` is the mean square, `peak` the largest value as a share of full scale, `clipped` the
    share in [0, 1] of values at full scale.
    """

    power: float = 0.0
    peak: float = 0.0
    clipped: float = 0.0

    def update(self, mono: Samples, clipped: float, rate: int) -> None:
        """Take the newest sound (N,) at `rate` Hz, of which the share `clipped` is clipped."""
        seconds = len(mono) / rate
        recent = mono[-max(1, round(LEVEL_S * rate)) :]
        fade, slow = math.exp(-seconds / LEVEL_S), math.exp(-seconds / CLIPPING_S)
        self.power = fade * self.power + (1 - fade) * float(np.dot(recent, recent)) / len(recent)
        self.peak = max(fade * self.peak, float(np.abs(recent).max()))
        self.clipped = slow * self.clipped + (1 - slow) * clipped

    @property
    def level_dbfs(self) -> float:
        """The RMS level in dB relative to full scale, -120 for digital silence."""
        return _decibels(self.power)


def speech_share(probabilities: NDArray[np.float32], start: int, stop: int) -> float:
    """Share in [0, 1] of the chunks touching samples [start, stop) that are speech."""
    chunks = probabilities[start // CHUNK : -(-stop // CHUNK)]
    return float(np.mean(chunks >= SPEECH)) if len(chunks) else 0.0


def speech_s(probabilities: NDArray[np.float32]) -> float:
    """Seconds of speech; below `NO_SPEECH_S` a recording should count as holding none."""
    return float(np.count_nonzero(probabilities >= SPEECH)) * CHUNK / SAMPLE_RATE


def level_dbfs(samples: Samples) -> float:
    """RMS level of `samples` (N,) in dB relative to full scale (a square wave at 1.0 is 0 dB).

    Digital silence and no samples at all give -120.
    """
    return _decibels(float(np.dot(samples, samples)) / max(len(samples), 1))


def snr_db(samples: Samples, probabilities: NDArray[np.float32]) -> float | None:
    """Estimate the signal-to-noise ratio in dB from speech against the pauses around it.

    The noise is taken from the quieter pauses, since a voice the detector missed may fill the
    others. None where the recording has too little speech or too few pauses to tell.
    """
    power = _chunk_power(samples)
    speech = power[probabilities >= SPEECH]
    pauses = power[probabilities < _PAUSE]
    if min(len(speech), len(pauses)) < _MIN_CHUNKS:
        return None
    noise = float(np.percentile(pauses, 20))
    return _decibels(float(speech.mean()) - noise) - _decibels(noise)


def warnings(clip: Clip, probabilities: NDArray[np.float32]) -> tuple[str, ...]:
    """Say what about the recording may spoil the answer, and what to do about it.

    `probabilities` are `SpeechDetector.probabilities(clip.samples)`. At most three sentences,
    the most important first; none for a good recording.
    """
    return tuple(islice(_warnings(clip, probabilities), MAX_WARNINGS))


def _warnings(clip: Clip, probabilities: NDArray[np.float32]) -> Iterator[str]:
    power = _chunk_power(clip.samples)
    if _decibels(float(power.max())) < SILENT_DBFS:
        yield (
            "The recording is silent: check that the microphone is on and not muted, "
            "then record again."
        )
        return
    speech = speech_s(probabilities)
    if speech < NO_SPEECH_S:
        yield "No speech was found: record closer to the microphone, or choose a clip with a voice."
    if clip.duration_s < SHORT_CLIP_S:
        yield f"The recording is only {clip.duration_s:.1f} s long: give a whole spoken sentence."
    elif NO_SPEECH_S <= speech < SHORT_SPEECH_S:
        yield f"Only {speech:.1f} s of clear speech was found: give a whole spoken sentence."
    if clip.clipped > CLIPPED_SHARE:
        yield (
            f"The recording is clipped ({clip.clipped:.1%} of it is at full scale): "
            "turn the microphone down or move away from it."
        )
    voiced = power[probabilities >= SPEECH] if speech >= NO_SPEECH_S else power
    level = _decibels(float(voiced.mean()))
    if level < QUIET_DBFS:
        yield (
            f"The recording is very quiet ({level:.0f} dBFS): "
            "turn the microphone up or move closer to it."
        )
    snr = snr_db(clip.samples, probabilities)
    if snr is not None and snr < NOISY_DB:
        yield (
            "The background is nearly as loud as the voice: "
            "record in a quieter place or closer to the microphone."
        )
    if clip.source_rate <= TELEPHONE_RATE:
        yield (
            f"The recording has telephone quality ({clip.source_rate / 1000:g} kHz), which makes "
            "the answer less sure: use one at 16 kHz or more if you can."
        )
    if clip.duration_s > LONG_CLIP_S:
        yield (
            f"The recording is {clip.duration_s / 60:.0f} minutes long and one answer averages "
            "over all of it: look at how the emotion changes over time instead."
        )


def _chunk_power(samples: Samples) -> NDArray[np.float64]:
    """Mean square of each 32 ms of `samples` (N,), as (ceil(N / 512),)."""
    whole = samples[: len(samples) // CHUNK * CHUNK].reshape(-1, CHUNK)
    power = np.einsum("ij,ij->i", whole, whole).astype(np.float64) / CHUNK
    rest = samples[whole.size :]
    return np.append(power, np.mean(np.square(rest))) if len(rest) else power


def _decibels(power: float) -> float:
    return 10.0 * float(np.log10(max(power, 1e-12)))
