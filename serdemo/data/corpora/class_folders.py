"""Corpora as folders of clips, with emotions as folder names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from serdemo.data.corpora import folder_words
from serdemo.data.corpora.corpus import AUDIO_SUFFIXES
from serdemo.data.corpora.emotion_names import emotion_word
from serdemo.data.corpora.folder_levels import EmotionOf, Folders, emotion_levels, speaker_levels
from serdemo.data.corpora.speakers import listed
from serdemo.schema.errors import UsageError
from serdemo.schema.types import UNKNOWN_SPEAKER, Utterance


def audio_files(root: Path, excluded: frozenset[str] = frozenset()) -> Iterator[Path]:
    """All files under `root` with a known audio suffix, sorted; hidden ones are left out, and folders
    directly in `root` that have one of the `excluded` names, given in lower case."""
    for folder, subfolders, names in os.walk(root):
        here = excluded if folder == str(root) else frozenset()
        subfolders[:] = sorted(
            name for name in subfolders if not name.startswith(".") and name.lower() not in here
        )
        for name in sorted(names):
            path = Path(folder, name)
            if path.suffix.lower() in AUDIO_SUFFIXES and not name.startswith("."):
                yield path


@dataclass(frozen=True, slots=True)
class Levels:
    """Levels that name emotions and speakers, None where the folders decide themselves.

    Level 1 are the folders in the corpus folder; as level of the speakers, 0 means that none is.
    """

    emotion: int | None = None
    speaker: int | None = None


def read(
    root: Path,
    files: Sequence[Path] | None = None,
    levels: Levels = Levels(),
    emotion_of: EmotionOf = emotion_word,
) -> list[Utterance]:
    """The clips among `files` (default: all audio files under `root`) that lie in a class folder.

    The class is a folder whose name is an emotion (by `emotion_of`), the speaker another folder above
    or below it, `unknown` where none can be; `folder_levels` says which. Clips outside a class folder
    are left out (`describe_left_out`). Raises LevelUnclearError where two levels can name the one or the other,
    UsageError where a level given holds no emotion or no folder.
    """
    paths = list(audio_files(root) if files is None else files)
    folders = [path.relative_to(root).parts[:-1] for path in paths]
    corpus = root.resolve().name
    found = _emotions(corpus, folders, levels.emotion, emotion_of)
    labelled = [(path, own, at) for path, own, at in zip(paths, folders, found, strict=True) if at]
    speakers = _speakers(
        corpus, [own for _, own, _ in labelled], [at for *_, at in labelled], levels.speaker
    )
    return [
        Utterance(
            path,
            corpus,
            own[speaker - 1] if speaker else UNKNOWN_SPEAKER,
            emotion_of(own[at - 1]) or "",
            own[at - 1],
            gender=next(filter(None, map(folder_words.gender, own)), ""),
        )
        for (path, own, at), speaker in zip(labelled, speakers, strict=True)
    ]


def _emotions(
    corpus: str, clips: Sequence[Folders], level: int | None, emotion_of: EmotionOf
) -> list[int | None]:
    if level is None:
        return emotion_levels(corpus, clips, emotion_of)
    found = [
        level if 0 < level <= len(own) and emotion_of(own[level - 1]) else None for own in clips
    ]
    if clips and not any(found):
        raise UsageError(f"No folder of level {level} in {corpus} is named after an emotion.")
    return found


def _speakers(
    corpus: str, clips: Sequence[Folders], emotion: Sequence[int], level: int | None
) -> list[int | None]:
    if level is None:
        return speaker_levels(corpus, clips, emotion)
    pairs = zip(clips, emotion, strict=True)
    found = [level if level != at and 0 < level <= len(own) else None for own, at in pairs]
    if level and clips and not any(found):
        raise UsageError(f"No folder of level {level} in {corpus} can be a speaker's.")
    return found


def describe_left_out(root: Path, files: Sequence[Path], clips: Sequence[Utterance]) -> str:
    """Where `files` lie that are none of the `clips` of a folder.

    As in `10 in folders that name no emotion ('bored stiff', 'other'), 2 outside any class folder`.
    """
    levels = Counter(
        path.relative_to(root).parts.index(clip.native_label)
        for clip in clips
        if (path := clip.path)
    )
    level = levels.most_common(1)[0][0] if levels else 0
    folders: Counter[str] = Counter()
    for path in files:
        own = path.relative_to(root).parts[:-1]
        folders[own[level] if level < len(own) else ""] += 1
    loose = folders.pop("", 0)
    names = listed([repr(name) for name, _ in folders.most_common()])
    parts = [f"{folders.total()} in folders that name no emotion ({names})"] if folders else []
    return ", ".join([*parts, *([f"{loose} outside any class folder"] if loose else [])])
