"""Voice activity detection by silero-vad, for whole clips and streams."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from serdemo.audio.samples import SAMPLE_RATE, Samples
from serdemo.schema.errors import SerdemoError
from serdemo.schema.libraries import install_command

CHUNK = 512  # samples (32 ms) per speech probability
# A chunk at or above this probability counts as speech. Detectors are trained on calm speech, and
# sobbing and shouting score low; at the usual 0.5 they would count as noise.
VAD_THRESHOLD = 0.3

_CONTEXT = 64  # samples before each chunk that the network reads too
_BATCH = 1024  # chunks per call of the network, which bounds the memory for long recordings
PAUSE_THRESHOLD = 0.2  # a chunk below this probability is a pause

_NETWORK = "silero_vad_16k_sequence.onnx"

_State = tuple[Samples, Samples] | None  # of the recurrent cell


def network_path() -> Path:
    """The package's file of the network; it is missing where the package is."""
    package = find_spec("silero_vad")  # not imported: that sets the whole process to one thread
    return Path((package and package.origin) or "").parent / "data" / _NETWORK


class SpeechDetector:
    """Speech probabilities by silero-vad, many chunks per call.

    ONNX Runtime runs the package's network for sequences: chunks as one batch, then the recurrent
    cell over them. Of the package only that file is read. Stateless, so usable from any thread.
    Raises SerdemoError where the package is missing or lacks that network.
    """

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            self._network = onnxruntime.InferenceSession(
                network_path().read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as problem:  # ONNX Runtime's own derive from no other
            raise SerdemoError(
                f"The speech detector cannot be read: {install_command('silero-vad', options='-U')}"
            ) from problem

    def probabilities(self, samples: Samples) -> NDArray[np.float32]:
        """Speech probabilities (ceil(N / 512),) of 16 kHz `samples` (N,), zero-padded to chunks."""
        session = SpeechSession(self)
        return np.concatenate([session.push(samples), session.finish()])

    def score(self, samples: Samples, state: _State) -> tuple[NDArray[np.float32], _State]:
        """Probabilities (n,) of `samples` (64 + 512 n,), and the recurrent state after them.

        The first 64 samples are the end of the previous call's. `state` is what that call returned,
        None at the beginning of a sound.
        """
        chunks = np.lib.stride_tricks.sliding_window_view(samples, _CONTEXT + CHUNK)[::CHUNK]
        hidden, cell = state or (np.zeros((1, 1, 128), np.float32),) * 2
        probabilities, hidden, cell = self._network.run(
            ["speech_probs", "hn", "cn"], {"input": chunks, "h": hidden, "c": cell}
        )
        return probabilities, (hidden, cell)


class SpeechSession:
    """Speech detection on a sound that arrives in pieces; the cuts do not change the result.

    One session per sound, used from one thread at a time.
    """

    def __init__(self, detector: SpeechDetector) -> None:
        self._detector = detector
        self._past = np.zeros(_CONTEXT, np.float32)
        self._rest = np.zeros(0, np.float32)
        self._state: _State = None

    def push(self, samples: Samples) -> NDArray[np.float32]:
        """Append 16 kHz samples (N,); returns the probabilities of the chunks now complete."""
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
        """Probability of an incomplete last chunk, padded with zeros: (1,), or (0,) without one."""
        return self.push(np.zeros(-len(self._rest) % CHUNK, np.float32))


def speech_share(probabilities: NDArray[np.float32], start: int, stop: int) -> float:
    """Share in [0, 1] of speech among the chunks that overlap samples [start, stop)."""
    chunks = probabilities[start // CHUNK : -(-stop // CHUNK)]
    return float(np.mean(chunks >= VAD_THRESHOLD)) if len(chunks) else 0.0


def speech_duration_s(probabilities: NDArray[np.float32]) -> float:
    """Seconds of speech; below `quality.NO_SPEECH_S` a recording counts as silent."""
    return float(np.count_nonzero(probabilities >= VAD_THRESHOLD)) * CHUNK / SAMPLE_RATE
