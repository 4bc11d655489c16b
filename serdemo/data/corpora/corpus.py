"""Description of a corpus: official file names, labels, licence and size."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from serdemo.schema.types import Utterance

# Formats that `waveform.decode` reads, through soundfile or the ffmpeg program: sound and films.
AUDIO_SUFFIXES = frozenset(
    {
        *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".au"),
        *(".caf", ".w64", ".rf64", ".m4a", ".m4b", ".aac", ".wma", ".amr", ".ac3", ".mka", ".mp2"),
        *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wmv", ".flv", ".mpg", ".mpeg"),
        *(".ogv", ".3gp", ".mts"),
    }
)

Annotations = Mapping[str, Mapping[str, str]]
Note = Callable[[str], object]  # takes a sentence on what a reader found, for the user


def ignore(sentence: str) -> None:
    """A `Note` that drops its sentence."""


@dataclass(frozen=True, slots=True)
class Label:
    """An emotion of a corpus: its native label, our label, and its official number of clips."""

    native: str
    emotion: str
    clips: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Description of one corpus; no corpus is downloaded for the user.

    `pattern` (see `stem_pattern`) matches an official file name, with the groups `speaker`, `label`
    and, if the name or a folder has it, `fold`. Where labels lie in separate files, `annotate`
    reads all of them below a folder: lower-case file stem -> the same fields (and `gender`), which
    take precedence over the name. `labels` is keyed by label code in upper case; clips with other
    codes are ignored.

    `folders` are the usual folder names of the unpacked corpus, in lower case. `clips` and
    `speakers` are the official counts, 0 where they differ by release. Numeric speaker ids are
    `speaker_prefix` plus the number padded to `speaker_digits`; with 0 digits ids are names, some
    of them misspelt (`speaker_aliases`). `females` and `males` list speakers whose gender the corpus
    states, `languages` maps speakers to their language where they differ, `folds` speakers to their
    fold in a published speaker-independent benchmark. `protocol` describes the usual test.
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
    speaker_aliases: Mapping[str, str] = field(default_factory=dict)
    females: frozenset[str] = frozenset()
    males: frozenset[str] = frozenset()
    languages: Mapping[str, str] = field(default_factory=dict)
    folds: Mapping[str, str] = field(default_factory=dict)
    annotate: Callable[[Path], Annotations] = lambda top: {}
    protocol: str = "leave one speaker out (--by speaker)"

    @property
    def emotion_counts(self) -> dict[str, int]:
        """Official number of clips by our emotion labels."""
        counts: Counter[str] = Counter()
        for label in self.labels.values():
            counts[label.emotion] += label.clips
        return dict(counts)

    def annotations(self, folders: Iterable[Path]) -> dict[str, Mapping[str, str]]:
        """Fields from the label files below `folders` by file stem; empty if there are no such files."""
        return {stem: fields for top in folders for stem, fields in self.annotate(top).items()}

    def listed(self, folders: Iterable[Path]) -> tuple[int, int, dict[str, int]]:
        """Numbers of clips, of speakers and of clips per emotion in the label files, audio or not."""
        known = [
            fields
            for fields in self.annotations(folders).values()
            if fields["label"].upper() in self.labels
        ]
        counts = Counter(self.labels[fields["label"].upper()].emotion for fields in known)
        return len(known), len({fields["speaker"] for fields in known}), dict(counts)

    def normalise_speaker(self, text: str) -> str:
        """The canonical id of a speaker: `Actor_07`, `7` and `07` are all RAVDESS's `07`.

        Text that does not look like a speaker of this corpus is only stripped.
        """
        text = text.strip()
        if not self.speaker_digits:
            return self.speaker_aliases.get(text.upper(), text.upper())
        number = re.fullmatch(r"(?:[a-z]+[ _-]*)?0*([0-9]+)", text, re.IGNORECASE)
        return self.speaker_prefix + number[1].zfill(self.speaker_digits) if number else text

    def parse(self, path: Path, annotations: Annotations | None = None) -> Utterance | None:
        """Utterance from an official file name and `annotations`; None for a file that is no clip."""
        match = self.pattern.fullmatch((path.parent / path.stem).as_posix())
        if match is None:
            return None
        fields = {**match.groupdict(), **(annotations or {}).get(path.stem.lower(), {})}
        label = self.labels.get((fields.get("label") or "").upper())
        if label is None:
            return None
        speaker = self.normalise_speaker(fields["speaker"])
        by_speaker = "f" if speaker in self.females else "m" if speaker in self.males else ""
        return Utterance(
            path=path,
            corpus=self.name,
            speaker=speaker,
            emotion=label.emotion,
            native_label=label.native,
            language=self.languages.get(speaker, self.language),
            gender=fields.get("gender") or by_speaker,
            fold=fields.get("fold") or self.folds.get(speaker, ""),
        )


def stem_pattern(text: str) -> re.Pattern[str]:
    """Compile the pattern of a file stem, or of the last folders and the stem (`angry/201`).

    Letter case is ignored, as copies of a corpus differ in it.
    """
    return re.compile(f"(?:.*/)?(?:{text})", re.IGNORECASE | re.ASCII | re.DOTALL)
