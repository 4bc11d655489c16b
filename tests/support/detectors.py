"""A stand-in for the speech detector."""

from __future__ import annotations

import numpy as np

from serdemo.audio.vad import CHUNK


class Hears:
    """In place of the speech detector: sound is speech where it is not zero."""

    def score(self, samples, state):
        return (np.abs(samples[64:].reshape(-1, CHUNK)).max(1) > 0).astype(np.float32), state
