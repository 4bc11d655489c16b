"""What a sound file holds, by its bytes: the sounds glued together in it and their true lengths.

Headers lie: streamed WAV files name no length or a wrong one, an MP3 of variable rate without a header
gives decoders nothing but a guess, and decoders read the first of several glued files only. A file is
split into parts here, each with a header that fits its data.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import BinaryIO

from serdemo.audio import mpeg

MAX_PARTS = 10_000
MAX_CHUNKS = 1000  # behind the data of a WAV file
_CHUNK = 1 << 20
_SOON = 0.1  # seconds; a smaller difference between two lengths is not worth a word
# A stream's writer, that cannot know the length, names one close to the largest.
_STREAMED = 0x7F00_0000
_WAVE = re.compile(rb"(?:RIFF|RF64|BW64|RIFX).{4}WAVE", re.DOTALL)
# Formats of a WAV file whose bytes in a second are a true figure: PCM, float, A-law, mu-law.
_EXACT = (1, 3, 6, 7, 0xFFFE)
_FLAC = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_PRINTABLE = re.compile(rb"[ -~]{4}")
# What programs write behind the data without a chunk around it.
_TAGS = (b"TAG", b"APETAGEX", b"ID3", b"LYRICSBEGIN")


@dataclass(frozen=True, slots=True)
class Part:
    """One sound of a file: `pieces` of it, byte strings or (start, stop) in the file.

    `duration_s` is the length that its header names, None where it names none or a guess.
    `is_cut` marks data that ends before its container says. `n_frames` is the length in samples,
    where it was counted.
    """

    pieces: tuple[bytes | tuple[int, int], ...]
    duration_s: float | None = None
    is_cut: bool = False
    n_frames: int | None = None


class PartFile(io.RawIOBase):
    """The pieces of a part as one readable file."""

    def __init__(self, file: BinaryIO, part: Part) -> None:
        self._file, self._pieces = file, part.pieces
        lengths = (p[1] - p[0] if isinstance(p, tuple) else len(p) for p in self._pieces)
        self._starts = list(accumulate(lengths, initial=0))
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._starts[-1]}
        self._position = max(0, base[whence] + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        done = 0
        while done < len(buffer) and self._position < self._starts[-1]:
            number = bisect_right(self._starts, self._position) - 1
            inside = self._position - self._starts[number]
            size = min(len(buffer) - done, self._starts[number + 1] - self._position)
            piece = self._pieces[number]
            if isinstance(piece, tuple):
                self._file.seek(piece[0] + inside)
                data = self._file.read(size)
            else:
                data = piece[inside : inside + size]
            if not data:  # the file has become shorter
                break
            buffer[done : done + len(data)] = data
            done += len(data)
            self._position += len(data)
        return done


def tag_length(file: BinaryIO) -> int:
    """Bytes of the ID3v2 tags in front of a file."""
    start = 0
    while True:
        file.seek(start)
        length = mpeg.id3_length(file.read(10))
        if not length:
            return start
        start += length


def find_parts(file: BinaryIO) -> list[Part]:
    """The parts of a WAV, FLAC, Ogg or MPEG audio file; one part for any other format.

    At most `MAX_PARTS`, so that a hostile file ends.
    """
    start, stop = tag_length(file), file.seek(0, io.SEEK_END)
    file.seek(start)
    head = file.read(12)
    if _WAVE.match(head):
        parts = _wave_parts(file, start, stop)
    elif head[:4] == b"OggS":
        parts = _ogg_parts(file, start, stop)
    elif head[:4] == b"fLaC":
        places = [start, *_find_all(file, _FLAC, start + 1, stop), stop]
        parts = (Part(((a, b),)) for a, b in pairwise(places))
    elif mpeg.is_frame(head):
        parts = (
            Part(sound.pieces, sound.duration_s, sound.is_cut, sound.n_samples)
            for sound in mpeg.sounds(file, start, stop)
        )
    else:
        parts = iter(())
    found = [part for part, _ in zip(parts, range(MAX_PARTS), strict=False)]
    return found or [Part(((start, stop),))]


def _find_all(file: BinaryIO, pattern: re.Pattern[bytes], start: int, stop: int) -> Iterator[int]:
    """Places of a pattern of at most 16 bytes in [start, stop)."""
    overlap = 16
    for first in range(start, stop, _CHUNK):
        file.seek(first)
        data = file.read(min(_CHUNK + overlap, stop - first))
        yield from (first + m.start() for m in pattern.finditer(data) if m.start() < _CHUNK)


def _wave_parts(file: BinaryIO, start: int, stop: int) -> Iterator[Part]:
    """WAV, RF64 and big-endian WAV files, one after another."""
    while start < stop:
        part, start = _wave_part(file, start, stop)
        if part is not None:
            yield part


def _wave_part(file: BinaryIO, start: int, stop: int) -> tuple[Part | None, int]:
    """The WAV file that begins at `start`, and where the next one may begin."""
    file.seek(start)
    header = bytearray(file.read(12))
    order = ">" if header[:4] == b"RIFX" else "<"
    if header[:4] in (b"RF64", b"BW64"):
        header[:4] = b"RIFF"
    length64 = byte_rate = 0
    is_exact = False
    place = start + 12
    while place + 8 <= stop:
        file.seek(place)
        name, size = struct.unpack(f"{order}4sI", file.read(8))
        if name == b"data":
            break
        body = file.read(min(size, 40))
        if name == b"ds64" and len(body) >= 16:
            length64 = struct.unpack("<Q", body[8:16])[0]
            name = b"JUNK"
        if name == b"fmt " and len(body) >= 16:
            code, _, _, byte_rate = struct.unpack(f"{order}HHII", body[:12])
            is_exact = code in _EXACT
        if place + 8 + size > stop or not _PRINTABLE.match(name):
            return None, stop
        file.seek(place + 8)
        header += struct.pack(f"{order}4sI", name, size)
        header += file.read(min(size + size % 2, _CHUNK))
        place += 8 + size + size % 2
        if len(header) > _CHUNK:
            return None, stop
    else:
        return None, stop
    first = place + 8
    is_streamed = size >= _STREAMED and not (size == 0xFFFF_FFFF and 0 < length64 < 1 << 62)
    if size == 0xFFFF_FFFF and not is_streamed:
        size = length64
    last, following = _data_end(file, first, first + size, stop, byte_rate)
    claimed = size / byte_rate if byte_rate and is_exact and size and not is_streamed else None
    length = min(last - first, 0xFFFF_FFFF)
    header += struct.pack(f"{order}4sI", b"data", length)
    header[4:8] = struct.pack(f"{order}I", min(len(header) - 8 + length, 0xFFFF_FFFF))
    pieces = (bytes(header), (first, last))
    is_cut = not is_streamed and first + size > stop
    return Part(pieces, claimed, is_cut), following


def _data_end(
    file: BinaryIO, first: int, claimed: int, stop: int, byte_rate: int
) -> tuple[int, int]:
    """Where data from `first` on truly ends, and where the next file may begin.

    `claimed` is its end by the header. What follows a true end is other chunks, or another file;
    anything else is more sound.
    """
    place = claimed if claimed <= stop else first
    for _ in range(MAX_CHUNKS):
        if claimed > stop or place + 8 > stop:
            break
        file.seek(place)
        head = file.read(12)
        if _WAVE.match(head):
            return claimed, place
        if head[:1] == b"\0" and place % 2 == 1 and _PRINTABLE.match(head[1:5]):
            place += 1  # the padding behind an odd length
            continue
        size = struct.unpack("<I", head[4:8])[0]
        if not _PRINTABLE.match(head[:4]) or place + 8 + size > stop + 1:
            break
        place += 8 + size
    rest = stop - place
    if claimed <= stop:
        file.seek(place)
        tail = file.read(4096)
        few = rest <= max(4096, _SOON * byte_rate)
        if place > claimed or tail.startswith(_TAGS) or (few and claimed > first):
            return claimed, stop
        if claimed > first and not tail.strip(b"\0"):
            return claimed, stop
    following = next(_find_all(file, _WAVE, place, stop), stop)
    return following, following


def _is_intact(file: BinaryIO, head: bytes, table: bytes) -> bool:
    """Whether the checksum of an Ogg page is true, of which the file has passed the segment table.

    It is the CRC-32 of zlib with all bits in the opposite order, without its inversions.
    """
    page = head[:22] + bytes(4) + head[26:] + table + file.read(sum(table))
    checksum = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return checksum == int.from_bytes(head[22:26].translate(_REVERSED), "big")


def _ogg_parts(file: BinaryIO, start: int, stop: int) -> Iterator[Part]:
    """The streams of an Ogg file one after another; those side by side stay together."""
    begin, place, was_first, is_cut = start, start, True, False
    while place + 27 <= stop:
        file.seek(place)
        head = file.read(27)
        if head[:4] != b"OggS":  # damaged: go on at the next page
            place = next(_find_all(file, re.compile(b"OggS\\x00"), place + 1, stop), stop)
            continue
        is_first = bool(head[5] & 2)
        if is_first and not was_first:
            yield Part(((begin, place),), None, is_cut)
            begin, is_cut = place, False
        was_first = is_first
        table = file.read(head[26])
        place += 27 + len(table) + sum(table)
        is_cut = is_cut or place > stop or not _is_intact(file, head, table)
    if begin < stop:
        yield Part(((begin, stop),), None, is_cut or place < stop)
