"""What one corpus is: its official file names, labels, licence and size."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from serdemo.schema import Utterance

# What `audio.decode` reads, through soundfile or the ffmpeg program.
AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".m4a", ".webm"}
)


@dataclass(frozen=True, slots=True)
class Label:
    """One emotion of a corpus: what the corpus calls it, what we call it, its official count."""

    native: str
    emotion: str
    clips: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Knowledge about one corpus, and nothing else; no corpus is downloaded for the user.

    `pattern` matches a whole official file stem, in any letter case, and names the groups
    `speaker` and `label`; `labels` is keyed by that label code in upper case. `folders` are the
    folder names, in lower case, under which the corpus is usually unpacked. `clips` and
    `speakers` are the official counts. Speakers that are mere numbers are written
    `speaker_prefix` plus the number padded to `speaker_digits`; with 0 digits they are names.
    `females` and `males` list speakers whose gender the corpus itself states; `folds` maps a
    speaker to its fold in a published speaker-independent benchmark.
    """

    name: str
    title: str
    language: str
    licence: str
    citation: str
    homepage: str
    obtain: str
    folders: frozenset[str]
    clips: int
    speakers: int
    pattern: re.Pattern[str]
    labels: Mapping[str, Label]
    speaker_prefix: str = ""
    speaker_digits: int = 0
    females: frozenset[str] = frozenset()
    males: frozenset[str] = frozenset()
    folds: Mapping[str, str] = field(default_factory=dict)

    @property
    def emotion_counts(self) -> dict[str, int]:
        """Official clips per emotion, in our words."""
        return {label.emotion: label.clips for label in self.labels.values()}

    def normalise_speaker(self, text: str) -> str:
        """The canonical id of a speaker: `Actor_07`, `7` and `07` are all RAVDESS's `07`.

        Text that looks like no speaker of this corpus comes back as it is, only stripped.
        """
        text = text.strip()
        if not self.speaker_digits:
            return text.upper()
        number = re.fullmatch(r"(?:[a-z]+[ _-]*)?0*([0-9]+)", text, re.IGNORECASE)
        return self.speaker_prefix + number[1].zfill(self.speaker_digits) if number else text

    def parse(self, path: Path) -> Utterance | None:
        """Read what the official file name says; None when `path` is not a clip of this corpus."""
        match = self.pattern.fullmatch(path.stem)
        if match is None:
            return None
        label = self.labels[match["label"].upper()]
        speaker = self.normalise_speaker(match["speaker"])
        return Utterance(
            path=path,
            corpus=self.name,
            speaker=speaker,
            emotion=label.emotion,
            native_label=label.native,
            language=self.language,
            gender="f" if speaker in self.females else "m" if speaker in self.males else "",
            fold=self.folds.get(speaker, ""),
        )


def stem_pattern(text: str) -> re.Pattern[str]:
    """Compile the pattern of a file stem; copies of a corpus differ in letter case."""
    return re.compile(text, re.IGNORECASE | re.ASCII)
