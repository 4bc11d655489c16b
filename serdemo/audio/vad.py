"""What a recording is like, in plain words: is there speech, is it loud and clean enough."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from serdemo.audio.waveform import SAMPLE_RATE
from serdemo.schema.errors import SerdemoError
from serdemo.schema.libraries import install_command

CHUNK = 512  # samples (32 ms) that each get one speech probability
# A chunk at or above this probability counts as speech. Detectors are trained on plain speech
# and find sobbing and shouting doubtful; at the usual 0.5 they would be taken for noise.
VAD_THRESHOLD = 0.3

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


def speech_share(probabilities: NDArray[np.float32], start: int, stop: int) -> float:
    """Share in [0, 1] of the chunks touching samples [start, stop) that are speech."""
    chunks = probabilities[start // CHUNK : -(-stop // CHUNK)]
    return float(np.mean(chunks >= VAD_THRESHOLD)) if len(chunks) else 0.0


def speech_duration_s(probabilities: NDArray[np.float32]) -> float:
    """Seconds of speech; below `NO_SPEECH_S` a recording should count as holding none."""
    return float(np.count_nonzero(probabilities >= VAD_THRESHOLD)) * CHUNK / SAMPLE_RATE
