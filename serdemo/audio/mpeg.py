"""Frames of MPEG audio (MP3): where they are and how many, since no header can be relied on."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

_RATES = (44_100, 48_000, 32_000)
# kbit/s by index 1 to 14: MPEG-1 layers I, II and III, then MPEG-2 layer I, and its layers II and III.
_BITRATES = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SYNC = re.compile(rb"\xff[\xe2-\xff]")
_SEARCH = 1 << 16


class Frame(NamedTuple):
    """Header of a frame: its kind (version, layer, rate in Hz), bytes, samples and channels."""

    kind: tuple[int, int, int]
    length: int
    samples: int
    channels: int


@dataclass(slots=True)
class Sound:
    """One sound of an MPEG audio file; see `containers.Part` for the fields that it has too."""

    pieces: tuple[bytes | tuple[int, int], ...]
    duration_s: float | None
    is_cut: bool
    n_samples: int


@dataclass(slots=True)
class _Run:
    """Frames of one kind that follow each other, but for what is damaged between them."""

    frame: Frame
    header: bytes  # of the first frame
    spans: list[tuple[int, int]]
    n_frames: int = 0
    claimed: int | None = None  # frames, by an information frame at its beginning
    info: int = 0  # bytes of that frame
    is_cut: bool = False

    def add(self, place: int, length: int) -> None:
        first, last = self.spans[-1]
        if last == place:
            self.spans[-1] = first, place + length
        else:
            self.spans.append((place, place + length))
        self.n_frames += 1


def id3_length(head: bytes) -> int:
    """Bytes of the ID3v2 tag that begins with `head` (10 bytes or more), 0 for none."""
    if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 127 or head[3] > 9:
        return 0
    size = 10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    return size + 10 * bool(head[5] & 16)


def parse_frame(head: bytes) -> Frame | None:
    """The frame that begins with `head` (4 bytes or more), None where none does."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return None
    hertz = _RATES[rate] >> (0, 0, 1, 0)[version] if version else _RATES[rate] >> 2
    bits = 1000 * _BITRATES[version == 3, layer][bitrate - 1]
    padding = head[2] >> 1 & 1
    if layer == 1:
        length, samples = (12 * bits // hertz + padding) * 4, 384
    else:
        samples = 576 if layer == 3 and version != 3 else 1152
        length = samples // 8 * bits // hertz + padding
    channels = 1 if head[3] >> 6 == 3 else 2
    return Frame((version, layer, hertz), length, samples, channels)


def is_frame(head: bytes) -> bool:
    """Whether a file that begins with `head` (4 bytes or more) is MPEG audio."""
    return parse_frame(head) is not None


def sounds(file: BinaryIO, start: int, stop: int) -> Iterator[Sound]:
    """The sounds in bytes [start, stop) of a file.

    Frames of another kind, and a frame with information about those that follow (Xing, Info, VBRI),
    begin a new sound.
    """
    run: _Run | None = None
    place = start
    while place + 4 <= stop:
        file.seek(place)
        head = file.read(192)
        frame = parse_frame(head)
        if frame is None or not _is_followed(file, place + frame.length, stop, frame):
            if place + 10 <= stop and (tag := id3_length(head)):
                place += tag
                continue
            place = _next_frame(file, place + 1, stop, run.frame if run else None)
            continue
        if place + frame.length > stop:
            if run is not None:
                run.is_cut = True
            break
        claimed = _claimed_frames(head, frame)
        if run is None or frame.kind != run.frame.kind or claimed is not None:
            if run is not None:
                yield _sound(run)
            run = _Run(frame, head[:4], [(place, place)], claimed=claimed)
            run.info = frame.length if claimed is not None else 0
        run.add(place, frame.length)
        place += frame.length
    if run is not None:
        yield _sound(run)


def _is_followed(file: BinaryIO, place: int, stop: int, frame: Frame) -> bool:
    """Whether a frame, a tag or the end of the file is at `place`, behind a frame."""
    if place + 4 > stop:
        return True
    file.seek(place)
    head = file.read(10)
    following = parse_frame(head)
    if following is not None:
        return True
    return head[:3] in (b"ID3", b"TAG") or head[:8] == b"APETAGEX"


def _next_frame(file: BinaryIO, place: int, stop: int, like: Frame | None) -> int:
    """Where the next frame begins that is like a given one and has another behind it."""
    while place + 4 <= stop:
        file.seek(place)
        data = file.read(_SEARCH + 4)
        for match in _SYNC.finditer(data[: _SEARCH + 1]):
            frame = parse_frame(data[match.start() : match.start() + 4])
            if frame is None or (like is not None and frame.kind != like.kind):
                continue
            found = place + match.start()
            file.seek(found + frame.length)
            following = parse_frame(file.read(4))
            if following is not None and following.kind == frame.kind:
                return found
        place += _SEARCH
    return stop


def _claimed_frames(head: bytes, frame: Frame) -> int | None:
    """Frames that an information frame names, 0 where it names none; None for a frame of sound."""
    if frame.kind[1] != 3:
        return None
    if head[36:40] == b"VBRI":
        return int(struct.unpack(">I", head[50:54])[0])
    wide = frame.kind[0] == 3
    offset = 4 + ((32 if wide else 17) if frame.channels == 2 else (17 if wide else 9))
    if head[offset : offset + 4] not in (b"Xing", b"Info"):
        return None
    flags, count = struct.unpack(">II", head[offset + 4 : offset + 12])
    return count if flags & 1 else 0


def _sound(run: _Run) -> Sound:
    """A run with an information frame that is true: its own, or a new one."""
    seconds = run.frame.samples / run.frame.kind[2]
    n_frames = run.n_frames - bool(run.info)
    duration_s = run.claimed * seconds if run.claimed else None
    spans: list[bytes | tuple[int, int]] = list(run.spans)
    is_true = run.info and run.claimed == n_frames and len(run.spans) == 1
    if not is_true and run.frame.kind[1] == 3:
        if run.info:
            first, last = run.spans[0]
            spans[0] = first + run.info, last
        spans.insert(0, _information(run, n_frames))
    is_cut = run.is_cut or bool(run.claimed and run.claimed > n_frames)
    return Sound(tuple(spans), duration_s, is_cut, n_frames * run.frame.samples)


def _information(run: _Run, n_frames: int) -> bytes:
    """A Xing frame that names the number of frames, in the shape of the first frame."""
    header = bytes([run.header[0], run.header[1] | 1, *run.header[2:4]])
    wide = run.frame.kind[0] == 3
    offset = 4 + ((32 if wide else 17) if run.frame.channels == 2 else (17 if wide else 9))
    length = parse_frame(header)
    assert length is not None
    body = header + bytes(offset - 4) + b"Xing" + struct.pack(">II", 1, n_frames)
    return body.ljust(length.length, b"\0")
