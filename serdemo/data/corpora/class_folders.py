"""Corpora as folders of clips, with emotions as folder names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from serdemo.data.corpora.corpus import AUDIO_SUFFIXES
from serdemo.data.corpora.emotion_names import emotion_word
from serdemo.schema.types import Utterance

UNKNOWN = "unknown"


def audio_files(root: Path) -> Iterator[Path]:
    """All files under `root` with a known audio suffix, sorted; hidden ones are left out."""
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if path.suffix.lower() in AUDIO_SUFFIXES and not name.startswith("."):
                yield path


def read(root: Path) -> list[Utterance]:
    """Read `root/angry/x.wav`, `root/speaker/angry/x.wav` or `root/angry/speaker/x.wav`.

    The class is the nearest folder above the clip whose name is an emotion (`emotion_word`). The
    speaker is the folder between class and clip, else the one above the class, else `unknown`. All
    clips of an `unknown` speaker count as one person's, so that no split takes them for different
    speakers. Clips outside a class folder are left out.
    """
    utterances = []
    for path in audio_files(root):
        folders = path.relative_to(root).parts[:-1]
        for place in reversed(range(len(folders))):
            if emotion := emotion_word(folders[place]):
                speakers = (*folders[place + 1 : place + 2], *reversed(folders[:place]), UNKNOWN)
                utterances.append(
                    Utterance(path, root.resolve().name, speakers[0], emotion, folders[place])
                )
                break
    return utterances
