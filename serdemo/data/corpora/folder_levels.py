"""Which level of a corpus's folders names the emotions, and which the speakers.

Levels are counted from 1, the folders that lie in the corpus folder itself. All clips decide
together, as one name alone may be anything: `normal` an emotion or an intensity, `Joy` a person.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from serdemo.data.corpora.emotion_names import emotion_word
from serdemo.data.corpora.folder_words import (
    is_named_speaker,
    is_shared,
    is_speaker_id,
    is_surely_shared,
)
from serdemo.data.corpora.speakers import listed
from serdemo.schema.errors import UsageError

Folders = tuple[str, ...]  # the folders of a clip, from the corpus folder on
EmotionOf = Callable[[str], str | None]  # our emotion for the name of a folder
MOSTLY = 0.5  # share of clips under an emotion word, above which a level is one of emotions


class LevelUnclearError(UsageError):
    """Two levels may be the one of `option` (`emotion_level` or `speaker_level`).

    `choices` holds a description and the number of each level.
    """

    def __init__(self, corpus: str, option: str, names: Mapping[int, Sequence[str]]) -> None:
        kind = option.removesuffix("_level")
        flag = f"--{kind}-level"
        self.option = option
        self.choices = [(f"level {n}: {listed(own)}", n) for n, own in names.items()]
        levels = " or of ".join(f"level {n} ({listed(own)})" for n, own in names.items())
        commands = " or ".join(f"{flag} {n}" for n in names)
        neither = f" ({flag} 0 if neither does)" if kind == "speaker" else ""
        super().__init__(
            f"The {kind}s of {corpus} may be named by the folders of {levels}: say which by"
            f" {commands}{neither}."
        )


def emotion_levels(
    corpus: str, clips: Sequence[Folders], emotion_of: EmotionOf = emotion_word
) -> list[int | None]:
    """The level of each clip's emotion, None where no folder of it names one.

    Among clips that lie equally deep, the levels with several emotions are candidates, or else those
    with one. Where a clip has two candidates, the level counts that names emotions for all of them,
    or for most. Raises LevelUnclearError where that is none or two.
    """
    groups: dict[int, list[int]] = defaultdict(list)
    for place, folders in enumerate(clips):
        groups[len(folders)].append(place)
    result: list[int | None] = [None] * len(clips)
    for places in sorted(groups.values(), key=len, reverse=True):
        known = {level - 1 for level in result if level}
        levels = _emotion_levels(corpus, [clips[place] for place in places], known, emotion_of)
        for place, level in zip(places, levels, strict=True):
            result[place] = level
    return result


def _emotion_levels(
    corpus: str,
    clips: Sequence[Folders],
    known: Collection[int],
    emotion_of: EmotionOf,
) -> list[int | None]:
    """`emotion_levels` of clips that all lie equally deep; `known` are the places of emotions in others."""
    depth = len(clips[0])
    words = [[emotion_of(name) for name in folders] for folders in clips]
    emotions = [{row[n] for row in words if row[n]} for n in range(depth)]
    candidates = [n for n in range(depth) if len(emotions[n]) > 1]
    if not candidates:
        candidates = [n for n in range(depth) if emotions[n]]
        candidates = [n for n in candidates if not all(is_shared(row[n]) for row in clips)] or (
            candidates
        )
    if any(sum(row[n] is not None for n in candidates) > 1 for row in words):
        shares = {n: sum(row[n] is not None for row in words) / len(words) for n in candidates}
        full = [n for n in candidates if shares[n] == 1]
        chosen = full or [n for n in candidates if shares[n] > MOSTLY] or candidates
        chosen = [n for n in chosen if n in known] or chosen
        if len(chosen) > 1:
            names = {n + 1: sorted({folders[n] for folders in clips}) for n in chosen}
            raise LevelUnclearError(corpus, "emotion_level", names)
        candidates = chosen
    return [next((n + 1 for n in candidates if row[n]), None) for row in words]


def speaker_levels(
    corpus: str, clips: Sequence[Folders], emotion: Sequence[int]
) -> list[int | None]:
    """The level of each clip's speaker, None where no folder can name one.

    A level whose names are all of splits, sessions, intensities, formats, genders, languages or
    years names no speaker, nor does one with a single name for all clips, unless it is a speaker's
    id. Raises LevelUnclearError where a clip has two levels left.
    """
    names: dict[int, list[str]] = defaultdict(list)
    for folders, at in zip(clips, emotion, strict=True):
        for level, name in enumerate(folders, start=1):
            if level != at:
                names[level].append(name)
    candidates = [
        level for level, own in sorted(names.items()) if _may_name_speakers(own, len(clips))
    ]

    def own_levels(folders: Folders, at: int, levels: Iterable[int]) -> list[int]:
        inside = [n for n in levels if n != at and n <= len(folders)]
        return [n for n in inside if n in candidates and not is_surely_shared(folders[n - 1])]

    pairs = list(zip(clips, emotion, strict=True))
    if any(len(own_levels(*pair, candidates)) > 1 for pair in pairs):
        ids = [level for level in candidates if all(map(is_named_speaker, names[level]))]
        if len(ids) != 1:
            found = {level: sorted(set(names[level])) for level in candidates}
            raise LevelUnclearError(corpus, "speaker_level", found)
        candidates = ids
    return [next(iter(own_levels(*pair, candidates)), None) for pair in pairs]


def _may_name_speakers(names: Sequence[str], n_clips: int) -> bool:
    if all(map(is_shared, names)):
        return False
    return len(set(names)) > 1 or len(names) < n_clips or is_speaker_id(names[0])
