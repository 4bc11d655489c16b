"""Every container, width, channel count and rate decodes to the same sound."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support import bad_audio

from serdemo.audio import ffmpeg, waveform
from serdemo.schema.errors import SerdemoError

RATES = (8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000)
NEEDS_FFMPEG = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg program")

FORMATS = [
    *itertools.product(
        ["WAV"],
        ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"],
        (1, 2, 6),
        RATES,
    ),
    *itertools.product(["FLAC", "AIFF"], ["PCM_16", "PCM_24"], (1, 2, 6), RATES),
    *itertools.product(["W64", "AU"], ["PCM_16"], (1, 2), (8_000, 48_000)),
    *itertools.product(["OGG"], ["VORBIS"], (1, 2, 6), RATES),
    *itertools.product(["OGG"], ["OPUS"], (1, 2, 6), (8_000, 16_000, 48_000)),
    *itertools.product(["MP3"], ["MPEG_LAYER_III"], (1, 2), RATES[:5]),
]


# Lossy codecs may take one of six channels for a subwoofer's and remove its 440 Hz: -1.6 dB.
SUBWOOFER_DB = 2.0


def assert_tone(
    samples: np.ndarray, seconds: float, tolerance_s: float, tolerance_db: float = 0.5
) -> None:
    """`samples` at 16 kHz are `seconds` of the 440 Hz tone of amplitude 0.5."""
    assert samples.dtype == np.float32
    assert abs(len(samples) / waveform.SAMPLE_RATE - seconds) <= tolerance_s
    middle = samples[4_000:12_000].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 1 << 17))
    peak_hz = np.argmax(spectrum) * waveform.SAMPLE_RATE / (1 << 17)
    assert peak_hz == pytest.approx(440.0, abs=1.0)
    level_db = 20 * np.log10(np.sqrt(np.mean(middle**2)) / (0.5 / np.sqrt(2)))
    assert level_db == pytest.approx(0, abs=tolerance_db)


@pytest.mark.parametrize(("container", "subtype", "channels", "rate"), FORMATS)
def test_every_format_decodes_to_the_same_tone(
    tmp_path: Path, container: str, subtype: str, channels: int, rate: int
) -> None:
    tone = np.repeat(bad_audio.sine(1.0, rate)[:, None], channels, axis=1)
    path = tmp_path / f"tone.{container.lower()}"
    path.write_bytes(bad_audio.encode(tone, container, subtype, rate))
    clip = waveform.decode(path)
    lossy = subtype in ("OPUS", "MPEG_LAYER_III")
    subwoofer = channels == 6 and subtype in ("VORBIS", "OPUS")
    assert_tone(clip.samples, 1.0, 0.06 if lossy else 0.002, SUBWOOFER_DB if subwoofer else 0.5)
    assert clip.channels == channels
    assert clip.source_rate == soundfile.info(str(path)).samplerate
    assert clip.name == path.name
    assert clip.clipped < 0.001


@pytest.mark.slow
@NEEDS_FFMPEG
@pytest.mark.parametrize(
    ("name", "codec", "rate", "channels"),
    [
        ("tone.m4a", "aac", 44_100, 2),
        ("tone.mp4", "aac", 48_000, 6),
        ("tone.webm", "libopus", 48_000, 1),
        ("tone.aac", "aac", 22_050, 1),
        ("tone.wma", "wmav2", 44_100, 2),
        ("-odd 名.mkv", "pcm_s16le", 96_000, 1),
    ],
)
def test_other_formats_go_through_ffmpeg(
    tmp_path: Path, name: str, codec: str, rate: int, channels: int
) -> None:
    source = tmp_path / "source.wav"
    tone = np.repeat(bad_audio.sine(1.0, rate)[:, None], channels, axis=1)
    source.write_bytes(bad_audio.wav(tone, rate))
    path = tmp_path / name
    command = ["ffmpeg", "-v", "error", "-i", str(source), "-c:a", codec, f"file:{path}"]
    if subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).returncode:
        pytest.skip(f"this ffmpeg cannot write {codec}")
    clip = waveform.decode(path)
    assert_tone(clip.samples, 1.0, 0.13, SUBWOOFER_DB if channels == 6 else 0.5)
    assert (clip.source_rate, clip.channels) == (rate, channels)


@pytest.mark.slow
@NEEDS_FFMPEG
def test_a_video_without_sound_and_a_slow_decoding_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent_film = tmp_path / "film.mp4"
    source = ["-f", "lavfi", "-i", "color=size=32x32:duration=1", "-c:v", "mpeg4"]
    subprocess.run(["ffmpeg", "-v", "error", *source, str(silent_film)], check=True)
    with pytest.raises(SerdemoError, match=r"film\.mp4 holds no sound that can be read"):
        waveform.decode(silent_film)
    monkeypatch.setattr(ffmpeg, "FFMPEG_TIMEOUT_S", 0.0)
    with pytest.raises(SerdemoError, match=r"film\.mp4 took more than 0 s to decode: convert"):
        waveform.decode(silent_film)


@pytest.mark.parametrize("name", ["voice.m4a", "voice.webm"])
def test_without_ffmpeg_the_sentence_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    path = tmp_path / name
    path.write_bytes(b"\x00\x00\x00\x18ftypM4A " + bytes(500))
    with pytest.raises(
        SerdemoError, match=rf'^{name} is not a WAV.*pip install "serdemo\[media\]"'
    ):
        waveform.decode(path)
