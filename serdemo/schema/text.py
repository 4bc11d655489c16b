"""English words for numbers."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """A number of things, such as `1 clip` or `40 clips`."""
    return f"{number} {what}{'' if number == 1 else 's'}"
