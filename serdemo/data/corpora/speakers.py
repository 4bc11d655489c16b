"""One form of a speaker's name, whatever folder, table or dataset it is from."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from serdemo.data.corpora.corpus import Note
from serdemo.schema.errors import UsageError
from serdemo.schema.text import counted
from serdemo.schema.types import UNKNOWN_SPEAKER, Utterance

NAMELESS = frozenset(
    {"", UNKNOWN_SPEAKER, "unk", "nan", "none", "null", "nil", "n/a", "#n/a", "<na>", "undefined"}
)
MAX_NAMED = 3  # names or pairs of names that a sentence lists

SETTLE = "name their folders' level by --speaker-level, or give a CSV file with a column speaker"


def speaker_form(text: str) -> str:
    """The one form of a name: composed Unicode (NFC), case folded, single spaces, none at its ends.

    An empty name, one of marks alone (`-`, `?`) and words such as `nan`, `none` and `n/a` are
    `unknown`.
    """
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    form = " ".join(folded.split())
    if form in NAMELESS or not any(letter.isalnum() for letter in form):
        return UNKNOWN_SPEAKER
    return form


def look_alike(name: str) -> str:
    """What names of one number share: `7`, `07` and `7.0` give `7`, `spk07` and `spk7` `spk7`."""
    match = re.fullmatch(r"([^\d.]*)0*(\d+)(?:\.0+)?", name)
    return match[1] + match[2] if match else name


def refuse_look_alikes(corpus: str, names: Iterable[str]) -> None:
    """Raise UsageError where two names of a corpus differ in zeros of their number alone."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        groups[look_alike(name)].append(name)
    for alike in groups.values():
        if len(alike) > 1:
            raise UsageError(
                f"The speakers {' and '.join(alike)} of {corpus} may be one person: write them alike,"
                f" or name them apart (such as a{alike[0]} and b{alike[1]}) if they are not."
            )


def tell_merged(names: Iterable[str], note: Note) -> None:
    """Pass a note on names, as they are written, that are taken for one speaker."""
    groups: dict[str, set[str]] = defaultdict(set)
    for name in names:
        groups[speaker_form(name)].add(name)
    merged = [
        f"{', '.join(map(repr, sorted(written)))} as {form}"
        for form, written in sorted(groups.items())
        if len(written) > 1 and form != UNKNOWN_SPEAKER
    ]
    if merged:
        note(f"Taken for one speaker: {listed(merged, '; ')}.")


def tell_unknown(clips: Sequence[Utterance], note: Note) -> None:
    """Pass a note on each corpus with clips whose speaker is unknown."""
    for corpus in sorted({clip.corpus for clip in clips if not clip.speaker_known}):
        own = [clip for clip in clips if clip.corpus == corpus]
        count = sum(not clip.speaker_known for clip in own)
        share = "" if count == len(own) else f"{count} of {counted(len(own), 'clip')}, "
        note(
            f"The speakers of {corpus} are unknown ({share}so nothing here is known to hold for other"
            f" voices): {SETTLE}."
        )


def require_known(clips: Iterable[Utterance], purpose: str) -> None:
    """Raise UsageError where it is unknown who speaks in a clip; `purpose` is what cannot be done."""
    corpora = sorted({clip.corpus for clip in clips if not clip.speaker_known})
    if corpora:
        raise UsageError(f"The speakers of {listed(corpora)} are unknown, so {purpose}: {SETTLE}.")


def listed(names: Collection[str], separator: str = ", ") -> str:
    """The first names, and how many more there are."""
    shown = separator.join(list(names)[:MAX_NAMED])
    more = len(names) - MAX_NAMED
    return f"{shown} and {more} more" if more > 0 else shown
