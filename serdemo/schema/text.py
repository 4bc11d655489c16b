"""English plurals."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """A number with its noun in singular or plural: `1 clip`, `40 clips`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
