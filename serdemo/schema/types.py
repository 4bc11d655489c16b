"""The words of the project: emotions, utterances, predictions and the two kinds of error.

Times are in seconds, probabilities and confidences in [0, 1].
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")

# Where a figure says seven classes, calm counts as neutral and boredom is left out.
SEVEN_CLASSES: dict[str, str] = {**{emotion: emotion for emotion in EMOTIONS}, "calm": "neutral"}


@dataclass(frozen=True, slots=True)
class Utterance:
    """One clip of a corpus.

    `emotion` is in our words (`EMOTIONS`, or one more such as calm or boredom), empty where it is
    not known; `native_label` is what the corpus itself says. Speaker ids are unique per corpus only, so group by
    `speaker_key`. `fold` is the corpus's published fold or session where it has one.
    """

    path: Path
    corpus: str
    speaker: str
    emotion: str
    native_label: str
    language: str = ""
    gender: str = ""
    duration_s: float | None = None
    fold: str = ""

    @property
    def speaker_key(self) -> str:
        """`corpus/speaker`, unique over all corpora."""
        return f"{self.corpus}/{self.speaker}"


@dataclass(frozen=True, slots=True)
class Segment:
    """Scores of one window of a recording; `speech_ratio` is the share in [0, 1] that is speech."""

    start_s: float
    end_s: float
    label: str
    confidence: float
    probabilities: dict[str, float]
    speech_ratio: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary with the keys that the command line documents."""
        values = asdict(self)
        values["speech"] = values.pop("speech_ratio")
        return values


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one recording.

    `confidence` is the probability of `label`; `unsure` says that it lies below the
    checkpoint's threshold, so that a face should say "not sure" and name the two nearest.
    `warnings` are plain sentences about the recording (too quiet, clipped, no speech, ...).
    """

    file: str
    duration_s: float
    label: str
    confidence: float
    unsure: bool
    probabilities: dict[str, float]
    segments: tuple[Segment, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    @property
    def has_speech(self) -> bool:
        """Whether speech was found at all; without any, `label` means nothing."""
        return any(segment.speech_ratio > 0 for segment in self.segments)

    def nearest(self, count: int = 2) -> list[str]:
        """The `count` most probable labels, most probable first."""
        ranked = sorted(self.probabilities, key=lambda name: -self.probabilities[name])
        return ranked[:count]

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary with the keys in the order the command line documents."""
        segments = tuple(segment.to_json() for segment in self.segments)
        return {**asdict(self), "segments": segments}
