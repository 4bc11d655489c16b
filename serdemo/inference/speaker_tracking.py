"""The speaker of a live stream: an estimate that grows while one speaks, and starts anew with another
voice, which the embedding of a speaker model detects."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serdemo.inference.aggregation import Window
from serdemo.inference.novelty import round_values
from serdemo.inference.speaker_adaptation import SpeakerAdapter, new_speech_s, read_values
from serdemo.inference.speaker_prior import Rows, SpeakerPrior

MIN_VOICE_RATIO = 0.5  # speech in a window that tells voices apart
RECENT_VOICES = 2  # windows whose mean is compared: one alone is too often unlike its own voice
MAX_VOICE_SIZE = 4096  # of a speaker embedding in a saved state
# Cosine below which the recent windows are of another voice. Of `checkpoints/speaker`, on 20 selection
# speakers of six corpora who speak in every emotion, two windows of 3 s fall below that of their own
# voice once in 25 minutes; of the voices that take over, 71 % are found within 18 s (of one corpus,
# which are alike in sentences and room), after 6 s as a rule. Those not found sound alike.
MIN_SIMILARITY = 0.3


class VoiceGuard:
    """Detector of a change of voice, from speaker embeddings of windows.

    The recent `RECENT_VOICES` embeddings (V,) are compared with the sum of those before them.
    """

    def __init__(self) -> None:
        self.reference: NDArray[np.float64] | None = None  # sum of unit vectors
        self._recent: list[NDArray[np.float64]] = []

    def update(self, voice: Rows) -> bool:
        """Add a window's embedding; whether the voice has changed, after which it starts anew."""
        self._recent.append(unit(np.asarray(voice, np.float64)))
        if len(self._recent) < RECENT_VOICES:
            return False
        recent = np.sum(self._recent, axis=0)
        if self.reference is not None and self.reference.shape != recent.shape:
            self.reference = None  # of another speaker model
        if (
            self.reference is not None
            and float(unit(recent) @ unit(self.reference)) < MIN_SIMILARITY
        ):
            self.reference, self._recent = recent, []
            return True
        oldest = self._recent.pop(0)
        self.reference = oldest if self.reference is None else self.reference + oldest
        return False


def unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """A vector scaled to length 1."""
    return np.asarray(vector / (np.linalg.norm(vector) + 1e-9))


class SpeakerTracker:
    """The estimate of a stream's speaker, in windows' order. With `grows` each window adds to it.

    `changes` counts the changes of voice.
    """

    def __init__(self, prior: SpeakerPrior, grows: bool = True) -> None:
        self.adapter = SpeakerAdapter(prior)
        self.guard = VoiceGuard()
        self.grows = grows and prior.unlabelled
        self.changes = 0
        self._stop = self._voice_stop = 0  # samples before these have been used

    def wants_voice(self, window: Window) -> bool:
        """Whether `update` needs the speaker embedding of this window."""
        wanted = (
            self.grows
            and not window.whole
            and window.speech_ratio >= MIN_VOICE_RATIO
            and window.start >= self._voice_stop
        )
        if wanted:
            self._voice_stop = window.stop
        return wanted

    def update(
        self,
        window: Window,
        embedding: Rows,
        voice: Rows | None = None,
    ) -> None:
        """Add a scored window with its embedding (E,) and its speaker embedding (V,)."""
        if not self.grows or window.whole:
            return
        if voice is not None and self.guard.update(voice):
            self.changes += 1
            self.adapter.reset()
        self.adapter.update(embedding, new_speech_s(window, self._stop))
        self._stop = max(self._stop, window.stop)

    def to_json(self) -> dict[str, Any]:
        """The estimate and the sum of the speaker embeddings, for a browser to hold."""
        reference = self.guard.reference
        return {
            **self.adapter.to_json(),
            "voice": [] if reference is None else round_values(reference),
        }

    @classmethod
    def from_json(cls, prior: SpeakerPrior, values: Any, grows: bool) -> Self:
        """Inverse of `to_json`; raises SerdemoError for anything else, or of another model."""
        tracker = cls(prior, grows)
        tracker.adapter = SpeakerAdapter.from_json(prior, values)
        voice = values.get("voice")
        if isinstance(voice, list) and 0 < len(voice) <= MAX_VOICE_SIZE:
            tracker.guard.reference = read_values(voice, len(voice))
        return tracker
