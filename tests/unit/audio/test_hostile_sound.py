"""Sound made to keep a machine busy, and an ffmpeg program that does not behave."""

from __future__ import annotations

import os
import struct
import sys
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support import bad_audio

from serdemo.audio import ffmpeg, waveform
from serdemo.schema.errors import SerdemoError

ENDLESS = "while True: sys.{stream}.buffer.write(bytes(65536))"
AU = ".snd" + "".join(map(chr, struct.pack(">5I", 24, 0xFFFFFFFF, 6, 48_000, 2)))


def test_a_header_that_promises_gigabytes_allocates_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ffmpeg, "program", lambda: None)
    tone = bad_audio.sine(0.2)
    aiff, w64, caf, au = (bad_audio.encode(tone, kind) for kind in ("AIFF", "W64", "CAF", "AU"))
    files = {
        "a.wav": bad_audio.pcm_header(16_000, 1, 0xFFFFFF00) + bytes(6400),
        "a.aiff": aiff.replace(struct.pack(">I", 3200), b"\xff\xff\xff\x00"),
        "a.w64": w64.replace(struct.pack("<Q", 6424), struct.pack("<Q", 1 << 40)),
        "a.caf": caf.replace(struct.pack(">Q", 6404), struct.pack(">Q", 1 << 40)),
        "a.au": au.replace(struct.pack(">I", 6400), b"\xff\xff\xff\x00"),
    }
    tracemalloc.start()
    for name, content in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        with suppress(SerdemoError):
            assert waveform.decode(path).duration_s < 1.0
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()


@pytest.mark.parametrize("channels", [65, 1000])
def test_many_channels_are_refused(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros((100, channels), np.int16), 16_000)
    with pytest.raises(SerdemoError, match=rf"a\.wav has {channels} channels: save"):
        waveform.decode(path)


@pytest.mark.parametrize("rate", [1, 2**30 - 1])
@pytest.mark.parametrize("channels", [1, 2])
def test_rates_of_no_sound_are_refused(tmp_path: Path, rate: int, channels: int) -> None:
    path = tmp_path / "a.wav"
    samples = np.arange(2000, dtype="<i2") * np.int16(13)
    path.write_bytes(bad_audio.pcm_header(rate, channels, 4000) + samples.tobytes())
    with pytest.raises(SerdemoError, match=r"sample rate of .* convert|no sound that can be read"):
        waveform.decode(waveform.SoundFile(path, limits=waveform.VISITOR))


def test_glued_sounds_count_together(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    stereo = np.stack([bad_audio.sine(3.0), bad_audio.voice(3.0)], 1)
    path.write_bytes(bad_audio.encode(stereo, "FLAC") * 3)
    assert waveform.decode(path).duration_s == 9.0
    with pytest.raises(SerdemoError, match="longer than"):
        waveform.decode(waveform.SoundFile(path, limits=waveform.Limits(seconds=8)))
    with pytest.raises(SerdemoError, match="million samples"):
        waveform.decode(waveform.SoundFile(path, limits=waveform.Limits(values=200_000)))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the program is a script")
@pytest.mark.parametrize(
    ("acts", "words"),
    [
        ("time.sleep(60)", "took more than 1 s"),
        (ENDLESS.format(stream="stderr"), "took more than 1 s"),
        (
            "sys.stderr.write('Stream #0:0: Audio: x')\nif '-map' in sys.argv: time.sleep(60)",
            "took",
        ),
        (
            "sys.stderr.write('Stream #0:0: Audio: x')\nif '-map' in sys.argv:\n"
            f" sys.stdout.buffer.write({AU!r}.encode('latin-1'))\n {ENDLESS.format(stream='stdout')}",
            "longer than 1 hour|took more than",
        ),
        (
            "sys.stderr.write('Stream #0:0: Audio: x')\nif '-map' in sys.argv:\n"
            " sys.stdout.buffer.write(b'.snd' + b'\\xff' * 40)",
            "cannot be decoded by this ffmpeg",
        ),
    ],
    ids=["hangs", "floods", "hangs later", "endless", "nonsense"],
)
def test_a_program_that_does_not_behave_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, acts: str, words: str
) -> None:
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nimport sys, time\n{acts}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(ffmpeg, "FFMPEG_TIMEOUT_S", 1.0)
    monkeypatch.setattr(ffmpeg, "TIMEOUT_SHARE", 0.0)
    film = tmp_path / "film.webm"
    film.write_bytes(b"\x1aE\xdf\xa3" + bytes(100))
    tracemalloc.start()
    began = time.monotonic()
    with pytest.raises(SerdemoError, match=words):
        waveform.decode(waveform.SoundFile(film, limits=waveform.VISITOR))
    assert time.monotonic() - began < 20
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()
