"""Speed and memory of inference, measured on example speech, and whether live sound keeps pace."""

from __future__ import annotations

import math
import time
from importlib import resources
from pathlib import Path
from statistics import median

import numpy as np
import psutil

from serdemo.audio import waveform
from serdemo.inference.predictor import Embedder
from serdemo.schema.errors import SerdemoError

CLIP_S = 10.0  # of the benchmark's clips
SPEED_CLIPS, SPEED_ROUNDS = 2, 3
MAX_DELAY_S = 0.6  # of a live answer: a model that is expected to be later does not keep up
PIECE_S = 0.15  # the sound comes in pieces of 0.1 s, each by a call


def speech_samples(
    clips: int, *, clip_s: float = CLIP_S, hop_s: float = 0.37
) -> list[waveform.Clip]:
    """Clips cut every `hop_s` seconds from the example voices said one after another."""
    folder = Path(str(resources.files("serdemo.audio"))) / "examples"
    voices = [
        waveform.decode(path).samples for path in sorted(folder.iterdir()) if path.suffix == ".flac"
    ]
    line = np.concatenate(voices)
    size = round(clip_s * waveform.SAMPLE_RATE)
    starts = [round(i * hop_s * waveform.SAMPLE_RATE) for i in range(clips)]
    return [
        waveform.from_array(
            np.take(line, range(s, s + size), mode="wrap"), waveform.SAMPLE_RATE, f"clip {n}"
        )
        for n, s in enumerate(starts)
    ]


def window_cost_s(embedder: Embedder) -> float:
    """Seconds to score one window of speech alone; takes three times as long."""
    (clip,) = speech_samples(1)
    wave = clip.samples[: round(embedder.window_s * waveform.SAMPLE_RATE)]
    spent = []
    for _ in range(3):
        began = time.perf_counter()
        embedder.embeddings([wave])
        spent.append(time.perf_counter() - began)
    return min(spent)


def expected_delay_s(cost_s: float, utilization: float) -> float:
    """Mean seconds from the end of a live window to its scores.

    A window takes `cost_s` seconds; `utilization` is the part of the time that scoring takes. Windows
    arrive independently of each other (queue M/D/1); infinite from a utilization of 1 on.
    """
    if utilization >= 1:
        return math.inf
    return PIECE_S + cost_s * (1 + utilization / (2 * (1 - utilization)))


def memory_mb() -> float:
    """The resident memory of this process, in MB."""
    return float(psutil.Process().memory_info().rss) / 1e6


def times_real_time(folder: Path) -> float:
    """Seconds of speech processed a second, from samples to predictions, on this machine's CPU."""
    embedder = Embedder(folder, device="cpu")
    clips = speech_samples(SPEED_CLIPS)
    seconds = sum(clip.duration_s for clip in clips)
    spent = []
    for _ in range(1 + SPEED_ROUNDS):
        began = time.perf_counter()
        for output in embedder.embed_many(clips):
            if isinstance(output, SerdemoError):
                raise output
        spent.append(time.perf_counter() - began)
    return round(seconds / median(spent[1:]), 1)  # the first pass is slower than all others
