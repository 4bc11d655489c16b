"""Inputs for an engine without coverage: a sound one with pieces replaced, doubled, moved or cut out."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as some

MAX_EDITS, MAX_PIECE = 6, 64
# Numbers at which sizes and counts overflow, in the widths and orders that files use.
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF, 1 << 40, (1 << 64) - 1)
HOSTILE = tuple(
    dict.fromkeys(
        (number & (1 << 8 * width) - 1).to_bytes(width, order)
        for number in NUMBERS
        for width in (1, 2, 4, 8)
        for order in ("little", "big")
    )
)
WORDS = (
    b"[" * 64,
    b'{"a":' * 16,
    b"../",
    b"/etc/passwd",
    b"\0",
    b"\n",
    b'"',
    b"9" * 32,
    b"1e999",
    b"NaN",
)
PIECES = some.one_of(
    some.sampled_from(HOSTILE), some.sampled_from(WORDS), some.binary(max_size=MAX_PIECE)
)
# Place (a share of the input), kind, length, piece.
EDIT = some.tuples(
    some.floats(0, 1), some.sampled_from("roinsd"), some.integers(0, 4 * MAX_PIECE), PIECES
)


def mutated(seeds: Sequence[bytes]) -> some.SearchStrategy[bytes]:
    """Strategy of inputs made from `seeds`, the seeds themselves among them."""
    edits = some.lists(EDIT, max_size=MAX_EDITS)
    return some.builds(_edited, some.sampled_from(list(seeds)), edits)


def _edited(data: bytes, edits: Sequence[tuple[float, str, int, bytes]]) -> bytes:
    for share, kind, length, piece in edits:
        place = round(share * len(data))
        match kind:
            case "r" | "o":  # overwritten
                data = data[:place] + piece + data[place + len(piece) :]
            case "i":  # inserted
                data = data[:place] + piece + data[place:]
            case "n":  # without a stretch
                data = data[:place] + data[place + length :]
            case "s":  # cut short
                data = data[:place] if length < MAX_PIECE else data
            case _:  # a stretch twice
                data = data[:place] + data[place : place + length] + data[place:]
    return data
