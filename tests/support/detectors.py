"""A stand-in for the speech detector."""

from __future__ import annotations

import numpy as np

from serdemo.audio.vad import CHUNK


class Hears:
    """In place of the speech detector: sound above -60 dB is speech."""

    def score(self, samples, state):
        return (np.abs(samples[64:].reshape(-1, CHUNK)).max(1) > 1e-3).astype(np.float32), state
