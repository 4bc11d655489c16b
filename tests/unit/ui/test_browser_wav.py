"""WAV files that hold more or less than their header says, read in browsers as by the package."""

from __future__ import annotations

import base64
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bad_audio import RATE, pcm_header, sine, wav
from support.node import run_module

from serdemo.audio import waveform
from serdemo.audio.decoding import open_audio

DECODE = """
const { decodePcm, waveHeader } = await import("./ui/browser/pcm_file.js");
done(given.map((path) => {
  const bytes = readFileSync(path);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const { channels, notes } = decodePcm(view, waveHeader(view));
  return { notes, sound: Buffer.from(channels[0].buffer).toString("base64") };
}));
"""
A, B = wav(sine(1.0)), wav(sine(0.5, frequency=220.0))
LIST = b"LIST" + struct.pack("<I", 8) + b"INFOabcd"
FILES = {
    "glued.wav": A + B + A,
    "glued behind a chunk.wav": A + LIST + B,
    "glued, odd.wav": wav(sine(0.50001), subtype="PCM_U8")
    + b"\0"
    + wav(sine(0.3), subtype="PCM_U8"),
    "glued to a stream.wav": pcm_header(RATE, 1, 0xFFFFFFFF) + A[44:] + B,
    "glued to a cut one.wav": A[:20_000] + B,
    "half named.wav": pcm_header(RATE, 1, 16_000) + A[44:],
    "none named.wav": pcm_header(RATE, 1, 0) + A[44:],
    "more named.wav": pcm_header(RATE, 1, 64_000) + A[44:],
    "chunk behind.wav": A + LIST,
    "tag behind.wav": A + b"TAG" + bytes(range(125)),
    "zeros behind.wav": A + bytes(10_000),
}


def by_package(path: Path) -> Any:
    with open_audio(path) as audio:
        blocks = [block[:, 0] for sound in audio.sounds for block in sound.blocks]
    return np.concatenate(blocks), waveform.decode(path).notes


@pytest.mark.slow
def test_all_that_a_wav_file_holds_is_read_as_by_the_package(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in FILES]
    for path, content in zip(paths, FILES.values(), strict=True):
        path.write_bytes(content)
    for path, found in zip(
        paths, run_module(tmp_path, DECODE, [str(path) for path in paths]), strict=True
    ):
        samples, notes = by_package(path)
        heard = np.frombuffer(base64.b64decode(found["sound"]), "<f4")
        assert np.array_equal(heard, samples), (path.name, len(heard), len(samples))
        assert found["notes"] == list(notes), path.name


@pytest.mark.slow
def test_what_follows_in_another_format_is_left_out_and_the_reader_is_warned(
    tmp_path: Path,
) -> None:
    path = tmp_path / "glued.wav"
    path.write_bytes(A + wav(sine(1.0, rate=8_000), 8_000))
    (found,) = run_module(tmp_path, DECODE, [str(path)])
    assert found["notes"] == [
        "What follows in the file cannot be read: save it again, or copy it again."
    ]
    assert len(base64.b64decode(found["sound"])) == 4 * RATE
