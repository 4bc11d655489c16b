"""Data types of the whole project: utterances, predictions and their segments.

Times are in seconds, probabilities and confidences in [0, 1].
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")

# For seven-class figures calm counts as neutral, and boredom is left out.
SEVEN_CLASSES: dict[str, str] = {**{emotion: emotion for emotion in EMOTIONS}, "calm": "neutral"}

UNKNOWN_SPEAKER = "unknown"


def is_known_speaker(key: str) -> bool:
    """Whether a `corpus/speaker` key names a person: clips of unknown speakers share one key."""
    return not key.endswith(f"/{UNKNOWN_SPEAKER}")


class Record:
    """Base of dataclasses that are written as JSON."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """Dictionary ready for JSON."""
        return asdict(self)  # type: ignore[call-overload]


@dataclass(frozen=True, slots=True)
class ShardRow:
    """Where the sound of a clip lies in a shard: a row of a `column` of the Parquet table at `address`.

    `version` changes with the table's content, `suffix` is that of the sound's format, and `cache_gb` is how
    much of all shards may lie on this disk.
    """

    address: str
    version: str
    column: str
    row: int
    suffix: str
    cache_gb: float


@dataclass(frozen=True, slots=True)
class Utterance:
    """One clip of a corpus.

    `emotion` is one of `EMOTIONS`, "calm" or "boredom", or empty if unknown; `native_label` is the
    corpus's own label. Speaker ids are unique within a corpus only: group by `speaker_key`; clips of
    `UNKNOWN_SPEAKER` may be of any person. `fold` is the corpus's published fold or session, if it
    has them. `sound` is the same text for clips that hold equal samples, empty for all others. Where the
    sound lies in a shard, `path` is only a name: `serdemo.data.shards.sound_path` fetches it.
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
    sound: str = ""
    shard: ShardRow | None = None

    @property
    def speaker_key(self) -> str:
        """`corpus/speaker`, unique over all corpora."""
        return f"{self.corpus}/{self.speaker}"

    @property
    def speaker_known(self) -> bool:
        """Whether it is known who speaks."""
        return self.speaker != UNKNOWN_SPEAKER


@dataclass(frozen=True, slots=True)
class Segment:
    """Scores of one window of a recording; `speech_ratio` is the share in [0, 1] that is speech.

    `dimensions` as in `Prediction`.
    """

    start_s: float
    end_s: float
    label: str
    confidence: float
    probabilities: dict[str, float]
    speech_ratio: float = 1.0
    dimensions: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary with the keys that the command line documents."""
        values = _without_empty_dimensions(asdict(self))
        values["speech"] = values.pop("speech_ratio")
        return values


@dataclass(frozen=True, slots=True)
class Prediction:
    """Prediction for one recording.

    `confidence` is the probability of `label`; `unsure` is whether it is below the checkpoint's
    threshold, so that the page says "not sure" and names the two most probable labels. `warnings`
    are sentences for the user about the recording (too quiet, clipped, no speech, ...).
    Probabilities of a model with sigmoid outputs do not sum to 1. A regression model gives `dimensions`
    instead (such as arousal, dominance and valence, in its own units): `label` is then empty,
    `confidence` 0, and there are no probabilities.
    """

    file: str
    duration_s: float
    label: str
    confidence: float
    unsure: bool
    probabilities: dict[str, float]
    segments: tuple[Segment, ...] = ()
    warnings: tuple[str, ...] = ()
    dimensions: dict[str, float] = field(default_factory=dict)

    @property
    def has_speech(self) -> bool:
        """Whether any segment holds speech; without speech, `label` means nothing."""
        return any(segment.speech_ratio > 0 for segment in self.segments)

    @property
    def is_multi_label(self) -> bool:
        """Whether the probabilities are of labels that are independent of each other."""
        return bool(self.probabilities) and abs(sum(self.probabilities.values()) - 1) > 1e-3

    def nearest(self, count: int = 2) -> list[str]:
        """The `count` most probable labels, most probable first."""
        return sorted(self.probabilities, key=lambda name: -self.probabilities[name])[:count]

    def to_json(self) -> dict[str, Any]:
        """A dictionary for JSON, with the keys in the order of the fields."""
        segments = tuple(segment.to_json() for segment in self.segments)
        return {**_without_empty_dimensions(asdict(self)), "segments": segments}


def _without_empty_dimensions(values: dict[str, Any]) -> dict[str, Any]:
    if not values["dimensions"]:
        del values["dimensions"]
    return values
