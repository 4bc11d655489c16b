"""Example recordings on the page."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serdemo.audio import waveform
from serdemo.ui.shell.uploads import Recording

EXAMPLES_DIR = Path(str(resources.files("serdemo.audio"))) / "examples"
EXAMPLES = {
    "English, quick and high": "english-quick-high.flac",
    "German, slow and low": "german-slow-low.flac",
    "Polish, even": "polish-even.flac",
    "Greek, lively": "greek-lively.flac",
}
SYNTHETIC = "synthetic example voice"
LIVE_LABELS = ("English, quick and high", "German, slow and low", "Greek, lively")
PAUSE_S = 1.2  # between example voices


def example(label: str) -> Recording:
    """An example recording, by its label in `EXAMPLES`."""
    return Recording(EXAMPLES_DIR / EXAMPLES[label], label, keep=True, origin=SYNTHETIC)


def example_voices() -> NDArray[np.int16]:
    """Example voices one after another, for Live: 16-bit samples (N,) at 16 kHz."""
    pause = np.zeros(round(PAUSE_S * waveform.SAMPLE_RATE), np.float32)
    paths = [EXAMPLES_DIR / EXAMPLES[label] for label in LIVE_LABELS]
    voices = [waveform.decode(path).samples for path in paths]
    return waveform.to_int16(np.concatenate([x for voice in voices for x in (pause, voice)]))
