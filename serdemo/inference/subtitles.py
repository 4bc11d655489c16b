"""Subtitles: SubRip (SRT) and WebVTT files as cues, and cues as such files."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from serdemo.data.corpora.text_table import read_text
from serdemo.schema.errors import SerdemoError

SUBTITLE_SUFFIXES = frozenset({".srt", ".vtt"})
MAX_CUES = 100_000
ARROW = "-->"

_TIME = r"(?:(\d{1,6}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,9}))?"
_TIMING = re.compile(rf"\s*{_TIME}\s*{ARROW}\s*{_TIME}(?:\s+(.*))?\s*")
_SKIPPED_BLOCK = re.compile(r"(NOTE|STYLE|REGION)(\s|$)")
_TAG = re.compile(r"</?[a-zA-Z0-9][^<>]*>|\{\\[^{}]*\}")  # <i>, <v Ann>, <00:01.000>, {\an8}


@dataclass(frozen=True, slots=True)
class Cue:
    """A stretch of a recording with the words spoken in it, without markup; times in seconds.

    `markup` is the text as the file has it, in the format `kind` (`srt` or `vtt`), empty for a cue
    that comes from no file; `settings` are WebVTT's, such as `align:start`.
    """

    start_s: float
    end_s: float
    text: str
    markup: str = ""
    kind: str = ""
    settings: str = ""


def read_subtitles(path: Path, *, name: str = "") -> list[Cue]:
    """Cues of an SRT or VTT file, by their start; `name` is its name in messages.

    Read as meant: byte order marks, code page 1252, any line ends, hours beyond 99, a missing blank
    line or number, WebVTT's settings and its NOTE, STYLE and REGION blocks. Raises SerdemoError,
    with the line, for times that cannot be read or end before they begin.
    """
    text, _ = read_text(path)
    name = name or path.name
    lines = re.split(r"\r\n|\r|\n", text)
    is_vtt = lines[0].startswith("WEBVTT")
    cues = sorted(_cues(name, lines, is_vtt), key=lambda cue: cue.start_s)
    if not cues:
        raise SerdemoError(
            f"{name} holds no cue with times such as 00:00:01,000 {ARROW} 00:00:02,500: give"
            " subtitles as SRT or WebVTT."
        )
    if len(cues) > MAX_CUES:
        raise SerdemoError(f"{name} holds {len(cues)} cues, more than {MAX_CUES}: split it.")
    return cues


def _cues(name: str, lines: Sequence[str], is_vtt: bool) -> Iterator[Cue]:
    """The cues in the order of the file."""
    timings = [
        (number, timing)
        for number in _timed_lines(lines, is_vtt)
        if (timing := _timing(name, number, lines[number]))
    ]
    stops = [number for number, _ in timings[1:]] + [len(lines)]
    for (number, (start_s, end_s, settings)), stop in zip(timings, stops, strict=False):
        content = list(lines[number + 1 : stop])
        blank = next((i for i, line in enumerate(content) if not line.strip()), None)
        if is_vtt and blank is not None:
            content = content[:blank]  # what follows belongs to no cue, or names the next
        elif stop < len(lines) and content and content[-1].strip().isdecimal():
            content.pop()  # the number of the next cue; SRT in use has blank lines inside of texts
        markup = "\n".join(line.rstrip() for line in content if line.strip())
        kind = "vtt" if is_vtt else "srt"
        yield Cue(start_s, end_s, _plain(markup, is_vtt), markup, kind, settings)


def _timed_lines(lines: Sequence[str], is_vtt: bool) -> Iterator[int]:
    """Indices of the lines that hold times, outside of blocks that are no cues."""
    skipping = is_vtt  # the header
    for number, line in enumerate(lines):
        if not line.strip():
            skipping = False
        elif is_vtt and _SKIPPED_BLOCK.match(line) and not lines[number - 1].strip():
            skipping = True
        elif ARROW in line and (not skipping or _TIMING.fullmatch(line)):
            yield number


def _timing(name: str, number: int, line: str) -> tuple[float, float, str] | None:
    """Start, end and settings of a line of times; None for a line of text with an arrow."""
    match = _TIMING.fullmatch(line)
    if match is None:
        if not re.match(r"\s*-?\d+[:.,]", line):
            return None
        raise SerdemoError(
            f"{name}, line {number + 1}: the times cannot be read; write them as"
            f" 00:00:01,000 {ARROW} 00:00:02,500."
        )
    start_s, end_s = _seconds(*match.groups()[:4]), _seconds(*match.groups()[4:8])
    if end_s < start_s:
        raise SerdemoError(f"{name}, line {number + 1}: the cue ends before it begins; mend it.")
    return start_s, end_s, (match[9] or "").strip()


def _seconds(hours: str | None, minutes: str, seconds: str, fraction: str | None) -> float:
    whole = int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds)
    return round(whole + float(f"0.{fraction or 0}"), 3)


def _plain(markup: str, is_vtt: bool) -> str:
    """The words without tags; of WebVTT also without entities."""
    text = _TAG.sub("", markup)
    return html.unescape(text) if is_vtt else text


def to_srt(cues: Iterable[tuple[Cue, str]]) -> str:
    """An SRT file of cues, each with what stands before its text (may be empty)."""
    blocks = []
    for number, (cue, prefix) in enumerate(cues, 1):
        times = f"{_clock(cue.start_s, ',')} {ARROW} {_clock(cue.end_s, ',')}"
        text = cue.markup if cue.kind == "srt" else cue.text
        blocks.append(f"{number}\n{times}\n{_joined(prefix, text)}\n")
    return "\n".join(blocks)


def to_vtt(cues: Iterable[tuple[Cue, str]]) -> str:
    """A WebVTT file of cues, each with what stands before its text (may be empty)."""
    blocks = ["WEBVTT\n"]
    for cue, prefix in cues:
        times = f"{_clock(cue.start_s, '.')} {ARROW} {_clock(cue.end_s, '.')}"
        settings = f" {cue.settings}" if cue.kind == "vtt" and cue.settings else ""
        text = cue.markup if cue.kind == "vtt" else html.escape(cue.text, quote=False)
        blocks.append(f"{times}{settings}\n{_joined(html.escape(prefix, quote=False), text)}\n")
    return "\n".join(blocks)


def _joined(prefix: str, text: str) -> str:
    """Prefix and text without blank lines, which would end the cue."""
    lines = re.split(r"\r\n|\r|\n", f"{prefix} {text}".strip())
    return "\n".join(line for line in lines if line.strip())


def _clock(seconds: float, mark: str) -> str:
    """Seconds as HH:MM:SS and milliseconds, with `mark` between."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, second = divmod(whole, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}{mark}{milliseconds:03d}"
