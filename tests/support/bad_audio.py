"""Bad and odd recordings for the tests, each with the pattern its sentence must match.

`make_refused` writes what no one can answer; `make_warned` what is answered with a warning.
"""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 16_000
Samples = NDArray[np.float32]
Cases = dict[str, tuple[Path, str]]

# What says so depends on whether the ffmpeg program is there to try.
UNREADABLE = r"holds no sound that can be read: give|need the ffmpeg program: install"


def make(folder: Path) -> Cases:
    """Write every case, refused or warned about, into `folder`."""
    return make_refused(folder) | make_warned(folder)


def make_refused(folder: Path) -> Cases:
    """Write what must end in a sentence matching the pattern, and in no answer."""
    tone = sine(2.0)
    noise = np.random.default_rng(0).integers(0, 256, 20_000, dtype=np.uint8).tobytes()
    flac, ogg = encode(tone, "FLAC"), encode(tone, "OGG")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.wav", wav(tone))
    (folder / "neighbour.wav").write_bytes(wav(tone))
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nneighbour.wav\n#EXT-X-ENDLIST\n"
    with_nan, with_inf = tone.copy(), tone.copy()
    with_nan[5000], with_inf[-1] = np.nan, np.inf
    contents: dict[str, tuple[bytes, str]] = {
        "empty.wav": (b"", "is empty: record it"),
        "no-samples.wav": (wav(tone[:0]), "holds no sound: record it"),
        "picture.wav": (b"\x89PNG\r\n\x1a\n" + noise, UNREADABLE),
        "photo.ogg": (b"\xff\xd8\xff\xe0\x00\x10JFIF" + noise, UNREADABLE),
        "text.mp3": (b"This is not music.\n" * 900, UNREADABLE),
        "text.wav": (b"hello", UNREADABLE),
        "page.wav": (b"<!doctype html><title>404</title>" * 40, UNREADABLE),
        "noise.mp3": (noise, UNREADABLE),
        "noise.raw": (noise, UNREADABLE),
        "zeros.wav": (bytes(5000), UNREADABLE),
        "archive.ogg": (archive.getvalue(), UNREADABLE),
        "garbage.webm": (b"\x1aE\xdf\xa3" + noise, UNREADABLE),
        "header-only.m4a": (
            b"\x00\x00\x00\x18ftypM4A \x00\x00\x02\x00isomiso2",
            f"{UNREADABLE}|before its index",
        ),
        "playlist.m3u8": (playlist, UNREADABLE),
        "list.wav": (b"ffconcat version 1.0\nfile neighbour.wav\n", UNREADABLE),
        "header-cut.wav": (wav(tone)[:20], UNREADABLE),
        "rate-0.wav": (pcm_header(0, 1, 64_000) + bytes(64_000), UNREADABLE),
        "channels-0.wav": (pcm_header(RATE, 0, 64_000) + bytes(64_000), UNREADABLE),
        "cut.flac": (flac[:90], "is damaged or cut off: save it"),
        "header-only.flac": (flac[:42], "is damaged or cut off: save it"),
        "cut.ogg": (ogg[:4200], "holds no sound: record it"),
        "1-khz.wav": (wav(tone, 1_000), "sample rate of 1000 Hz: convert it"),
        "500-khz.wav": (wav(tone, 500_000), "sample rate of 500000 Hz: convert it"),
        "nan.wav": (wav(with_nan, subtype="FLOAT"), "samples that are not numbers: export"),
        "inf.wav": (wav(with_inf, subtype="FLOAT"), "samples that are not numbers: export"),
        "huge.wav": (wav(tone * np.float64(1e300), subtype="DOUBLE"), "not numbers: export"),
        "integers-as-floats.wav": (
            wav(tone * 32_767, subtype="FLOAT"),
            r"samples 16384 times beyond full scale: export",
        ),
    }
    (folder / "folder.wav").mkdir(exist_ok=True)
    cases = {
        "folder.wav": (folder / "folder.wav", "is a folder: give an audio file"),
        "missing.wav": (folder / "missing.wav", "was not found: check"),
        "long-name": (folder / ("n" * 300 + ".wav"), "cannot be opened|was not found"),
    }
    return cases | _write(folder, contents)


def make_warned(folder: Path) -> Cases:
    """Write what must be answered, with a warning matching the pattern among its warnings."""
    rng = np.random.default_rng(0)
    speech = voice(4.0)
    noise = rng.standard_normal(len(speech)).astype(np.float32)
    long = np.tile(voice(20.0, rate=8_000), 31)
    contents: dict[str, tuple[bytes, str]] = {
        "silent.wav": (wav(np.zeros(3 * RATE)), "is silent: check"),
        "hiss.wav": (wav(noise * 1e-4), "is silent: check"),
        "one-sample.wav": (wav(speech[20_000:20_001] + 0.1), "only 0.0 s long: give"),
        "short.wav": (wav(speech[16_000:24_000]), "only 0.5 s long: give"),
        "lying.wav": (pcm_header(RATE, 1, 0xFFFFFF00) + b"\x00\x10" * 100, "only 0.0 s long"),
        "one-word.wav": (
            wav(np.concatenate([np.zeros(RATE), speech[16_000:18_800], np.zeros(RATE)])),
            "s of clear speech was found: give",
        ),
        "clipped.wav": (wav(np.clip(speech * 20, -1, 1)), r"is clipped \(\d+\.\d% .*: turn"),
        "quiet.wav": (wav(speech * 0.003), r"is very quiet \(-\d\d dBFS\): turn"),
        "noisy.wav": (wav(speech + noise * float(speech.std())), "as loud as the voice: record"),
        "only-noise.wav": (wav(noise * 0.1), "No speech was found: record"),
        "only-a-tone.wav": (wav(sine(3.0)), "No speech was found: record"),
        "telephone.wav": (wav(voice(4.0, rate=8_000), 8_000), r"telephone quality \(8 kHz\)"),
        "long.flac": (encode(long, "FLAC", rate=8_000), "10 minutes long .*: look"),
    }
    return _write(folder, contents)


def _write(folder: Path, contents: dict[str, tuple[bytes, str]]) -> Cases:
    cases: Cases = {}
    for name, (data, pattern) in contents.items():
        (folder / name).write_bytes(data)
        cases[name] = (folder / name, pattern)
    return cases


def sine(seconds: float, rate: int = RATE, frequency: float = 440.0) -> Samples:
    """A tone (N,) of amplitude 0.5."""
    time = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def voice(seconds: float, rate: int = RATE) -> Samples:
    """Something like a voice (N,), peak 0.5: gliding harmonics under three moving formants.

    It pauses for half a second in every two, and a speech detector takes it for speech.
    """
    time = np.arange(round(seconds * rate)) / rate
    pitch = 140 * (1 + 0.2 * np.sin(4.4 * time) + 0.03 * np.sin(31.4 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    formants = (
        (1.0, 500 + 250 * np.sin(13.2 * time), 80.0),
        (0.6, 1500 + 600 * np.sin(8.2 * time + 1), 120.0),
        (0.3, 2600 + 0 * time, 160.0),
    )
    sound = np.zeros(len(time))
    for harmonic in range(1, 25):
        frequency = 140.0 * harmonic
        gain = sum(a / (1 + ((frequency - centre) / width) ** 2) for a, centre, width in formants)
        sound += gain * np.sin(harmonic * phase) / harmonic**0.3
    sound *= np.clip(1.5 * np.abs(np.sin(4 * np.pi * time)), 0, 1) * (time % 2 < 1.5)
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


def encode(
    samples: NDArray[np.floating], container: str, subtype: str | None = None, rate: int = RATE
) -> bytes:
    """The bytes of `samples` (N,) or (N, C) in a container soundfile can write."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=container, subtype=subtype)
    return buffer.getvalue()


def wav(samples: NDArray[np.floating], rate: int = RATE, subtype: str = "PCM_16") -> bytes:
    """The bytes of a WAV file."""
    return encode(samples, "WAV", subtype, rate)


def pcm_header(rate: int, channels: int, data_bytes: int) -> bytes:
    """A 16-bit WAV header that claims `data_bytes` of sound, whatever follows it."""
    form = struct.pack("<IHHIIHH", 16, 1, channels, rate, 2 * rate * channels, 2 * channels, 16)
    size = struct.pack("<I", min(data_bytes + 36, 0xFFFFFFFF))
    return b"RIFF" + size + b"WAVEfmt " + form + b"data" + struct.pack("<I", data_bytes)
