"""English plurals."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """A number with its noun in singular or plural: `1 clip`, `40 clips`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def counted_speakers(number: int, *, unseen: bool = False) -> str:
    """A number of speakers, those `unseen` by a model called so; `unknown speakers` for none."""
    if not number:
        return "unknown speakers"
    return counted(number, "unseen speaker" if unseen else "speaker")
