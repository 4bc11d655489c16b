"""What one corpus is: its official file names, labels, licence and size."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from serdemo.schema.types import Utterance

# What `audio.decode` reads, through soundfile or the ffmpeg program.
AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".m4a", ".webm"}
)

Annotations = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Label:
    """One emotion of a corpus: what the corpus calls it, what we call it, its official count."""

    native: str
    emotion: str
    clips: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Knowledge about one corpus, and nothing else; no corpus is downloaded for the user.

    `pattern` (see `stem_pattern`) matches an official file name and names the groups `speaker`,
    `label` and, where the name or a folder says it, `fold`. Where labels lie in files of their
    own, `annotate` reads all of them below a folder: lower-case file stem -> the same fields (also
    `gender`), which then count before those of the name. `labels` is keyed by the label code in
    upper case; clips of other codes are no clips of the corpus.

    `folders` are the folder names, in lower case, under which the corpus is usually unpacked.
    `clips` and `speakers` are the official counts, 0 where they differ by release. Speakers that
    are mere numbers are written `speaker_prefix` plus the number padded to `speaker_digits`; with
    0 digits they are names, some of them misspelt (`speaker_aliases`). `females` and `males` list
    speakers whose gender the corpus itself states, `languages` what each speaks where that differs;
    `folds` maps a speaker to its fold in a published speaker-independent benchmark. `protocol` says
    how to test on it.
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
        """Official clips per emotion, in our words."""
        counts: Counter[str] = Counter()
        for label in self.labels.values():
            counts[label.emotion] += label.clips
        return dict(counts)

    def annotations(self, folders: Iterable[Path]) -> dict[str, Mapping[str, str]]:
        """What the label files below all these folders say, empty where the names say it all."""
        return {stem: fields for top in folders for stem, fields in self.annotate(top).items()}

    def listed(self, folders: Iterable[Path]) -> tuple[int, int, dict[str, int]]:
        """Clips, speakers and clips per emotion that the label files list, with audio or not."""
        known = [
            fields
            for fields in self.annotations(folders).values()
            if fields["label"].upper() in self.labels
        ]
        counts = Counter(self.labels[fields["label"].upper()].emotion for fields in known)
        return len(known), len({fields["speaker"] for fields in known}), dict(counts)

    def normalise_speaker(self, text: str) -> str:
        """The canonical id of a speaker: `Actor_07`, `7` and `07` are all RAVDESS's `07`.

        Text that looks like no speaker of this corpus comes back as it is, only stripped.
        """
        text = text.strip()
        if not self.speaker_digits:
            return self.speaker_aliases.get(text.upper(), text.upper())
        number = re.fullmatch(r"(?:[a-z]+[ _-]*)?0*([0-9]+)", text, re.IGNORECASE)
        return self.speaker_prefix + number[1].zfill(self.speaker_digits) if number else text

    def parse(self, path: Path, annotations: Annotations | None = None) -> Utterance | None:
        """Read what the official name (and `annotations`) say; None when `path` is no clip of this."""
        match = self.pattern.fullmatch((path.parent / path.stem).as_posix())
        if match is None:
            return None
        said = {**match.groupdict(), **(annotations or {}).get(path.stem.lower(), {})}
        label = self.labels.get((said.get("label") or "").upper())
        if label is None:
            return None
        speaker = self.normalise_speaker(said["speaker"])
        by_speaker = "f" if speaker in self.females else "m" if speaker in self.males else ""
        return Utterance(
            path=path,
            corpus=self.name,
            speaker=speaker,
            emotion=label.emotion,
            native_label=label.native,
            language=self.languages.get(speaker, self.language),
            gender=said.get("gender") or by_speaker,
            fold=said.get("fold") or self.folds.get(speaker, ""),
        )


def stem_pattern(text: str) -> re.Pattern[str]:
    """Compile the pattern of a file stem, or of the last folders and the stem (`angry/201`).

    Copies of a corpus differ in letter case, so that does not count.
    """
    return re.compile(f"(?:.*/)?(?:{text})", re.IGNORECASE | re.ASCII | re.DOTALL)
