"""Subtitles as people and programs write them, and as they are written here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from serdemo.inference.subtitles import Cue, read_subtitles, to_srt, to_vtt
from serdemo.schema.errors import SerdemoError


def read(folder: Path, text: str | bytes, name: str = "talk.srt") -> list[tuple[float, float, str]]:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [(cue.start_s, cue.end_s, cue.text) for cue in read_subtitles(path)]


PLAIN = "1\n00:00:01,000 --> 00:00:02,500\nHello\nworld\n\n2\n00:00:03,000 --> 00:00:04,000\nBye\n"
CUES = [(1.0, 2.5, "Hello\nworld"), (3.0, 4.0, "Bye")]


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode(),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r").encode(),
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        PLAIN.replace("world\n\n", "world\n").encode(),  # no blank line
        PLAIN.replace("1\n00", "00").replace("2\n00", "00").encode(),  # no numbers
        PLAIN.replace(",", ".").encode(),
        PLAIN.replace("00:00:0", "00:0").encode(),  # no hours
        PLAIN.replace("00:00:0", "0:0:").encode(),
        PLAIN.replace("2,500", "2,5").encode(),
        PLAIN.replace(" --> ", "-->").encode(),
        PLAIN.replace("2,500", "2,500  X1:40 X2:600 Y1:20 Y2:50").encode(),
        PLAIN.replace("Hello", "<i>Hello</i>")
        .replace("Bye", r"{\an8}<font color=red>Bye</font>")
        .encode(),
        PLAIN.replace("Hello\n", "Hello\n\n").encode(),  # a blank line inside of a text
        (PLAIN[PLAIN.index("2\n00:00:03") :] + "\n" + PLAIN[: PLAIN.index("2\n00:00:03")]).encode(),
        b"\n\n" + PLAIN.encode() + b"\n\n\n",
    ],
)
def test_srt_is_read_as_it_is_meant(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path, content) == CUES


def test_webvtt_blocks_settings_names_and_entities(tmp_path: Path) -> None:
    text = (
        "WEBVTT - a title\nKind: captions\n\nSTYLE\n::cue(b) { color: red }\n\nREGION\nid:fred\n\n"
        "NOTE times such as 00:01\nmay be --> here\n\nintro\n00:01.000 --> 00:02.500 align:start line:0%\n"
        "<v.loud Ann>Hello\nworld</v>\n\nNOTE one line\n\n00:00:03.000 --> 00:00:04.000\nFish &amp; <c>chips</c>\n"
    )
    assert read(tmp_path, text, "talk.vtt") == [
        (1.0, 2.5, "Hello\nworld"),
        (3.0, 4.0, "Fish & chips"),
    ]
    assert read_subtitles(tmp_path / "talk.vtt")[0].settings == "align:start line:0%"


def test_a_cue_of_one_line_and_of_a_number_alone(tmp_path: Path) -> None:
    text = "WEBVTT\n\n1\n00:01.000 --> 00:02.000\nHello\n\n2\n00:02.000 --> 00:03.000\n42\n"
    assert read(tmp_path, text, "talk.vtt") == [(1, 2, "Hello"), (2, 3, "42")]
    srt = "1\n00:00:01,000 --> 00:00:02,000\n42\n\n2\n00:00:02,000 --> 00:00:03,000\n\n"
    assert read(tmp_path, srt) == [(1, 2, "42"), (2, 3, "")]


def test_long_hours_code_page_and_an_arrow_in_a_text(tmp_path: Path) -> None:
    text = "1\n123:00:01,000 --> 123:00:02,000\nCafé -> bar --> home\n"
    assert read(tmp_path, text.encode("cp1252")) == [(442_801, 442_802, "Café -> bar --> home")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1\n00:00:02,000 --> 00:00:01,000\nx\n", "line 2: the cue ends before it begins"),
        ("\n1\n00:00:02,x --> 00:00:03,000\nx\n", "line 3: the times cannot be read"),
        ("1\n-00:00:02,000 --> 00:00:03,000\nx\n", "line 2: the times cannot be read"),
        ("Hello", "holds no cue"),
        ("", "holds no cue"),
        ("WEBVTT\n", "holds no cue"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(SerdemoError, match=words):
        read(tmp_path, text)


def test_what_is_written_follows_the_formats_and_is_read_back(tmp_path: Path) -> None:
    cues = [
        (Cue(0.0004, 1.9996, "a < b & c\n\nd"), "[angry]"),
        (Cue(3599.9995, 360_000.25, "שלום"), ""),
        (Cue(360_001, 360_002, ""), "[sad?]"),
    ]
    srt, vtt = to_srt(cues), to_vtt(cues)
    blocks = srt.rstrip("\n").split("\n\n")
    assert [block.split("\n")[0] for block in blocks] == ["1", "2", "3"]
    times = re.findall(r"^(\d{2,}:\d\d:\d\d,\d{3}) --> (\d{2,}:\d\d:\d\d,\d{3})$", srt, re.M)
    assert times == [
        ("00:00:00,000", "00:00:02,000"),
        ("01:00:00,000", "100:00:00,250"),
        ("100:00:01,000", "100:00:02,000"),
    ]
    assert vtt.startswith(
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\n[angry] a &lt; b &amp; c\nd\n\n"
    )
    texts = ["[angry] a < b & c\nd", "שלום", "[sad?]"]
    assert [cue[2] for cue in read(tmp_path, srt)] == texts
    assert [cue[2] for cue in read(tmp_path, vtt, "talk.vtt")] == texts


def test_markup_and_settings_stay_in_their_own_format(tmp_path: Path) -> None:
    (tmp_path / "a.vtt").write_text("WEBVTT\n\n00:01.000 --> 00:02.000 line:0\n<i>A</i> &amp; b\n")
    cues = [(cue, "[sad]") for cue in read_subtitles(tmp_path / "a.vtt")]
    assert "00:00:02.000 line:0\n[sad] <i>A</i> &amp; b\n" in to_vtt(cues)
    assert to_srt(cues) == "1\n00:00:01,000 --> 00:00:02,000\n[sad] A & b\n"


@pytest.mark.parametrize("hours", ["9" * 400, "9" * 5000])
def test_hours_beyond_measure_are_no_times(tmp_path: Path, hours: str) -> None:
    with pytest.raises(SerdemoError, match=r"talk\.srt, line 2: the times cannot be read"):
        read(tmp_path, f"1\n{hours}:00:01,000 --> {hours}:00:02,500\nHello\n")
