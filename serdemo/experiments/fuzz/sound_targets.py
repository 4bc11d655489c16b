"""Targets that take sound: soundfile's formats, those of the ffmpeg program, and subtitles."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from unittest.mock import patch

import numpy as np
import soundfile

from serdemo.audio import ffmpeg, waveform
from serdemo.audio.waveform import SoundFile
from serdemo.experiments.fuzz.target import Target, put
from serdemo.inference.subtitles import read_subtitles, to_srt, to_vtt

# Container, subtype and channels of what soundfile reads.
FORMATS = (
    ("WAV", "PCM_16", 1),
    ("WAV", "PCM_U8", 2),
    ("WAV", "FLOAT", 1),
    ("WAV", "IMA_ADPCM", 1),
    ("WAVEX", "PCM_24", 3),
    ("RF64", "PCM_16", 1),
    ("W64", "PCM_16", 1),
    ("AIFF", "PCM_16", 2),
    ("AU", "PCM_16", 1),
    ("CAF", "ALAC_16", 1),
    ("FLAC", "PCM_16", 2),
    ("OGG", "VORBIS", 1),
    ("OGG", "OPUS", 1),
    ("MP3", "MPEG_LAYER_III", 1),
    ("VOC", "PCM_16", 1),
    ("NIST", "PCM_16", 1),
    ("SVX", "PCM_16", 1),
    ("PAF", "PCM_16", 1),
    ("MAT5", "PCM_16", 1),
    ("SDS", "PCM_16", 1),
    ("AVR", "PCM_16", 1),
    ("HTK", "PCM_16", 1),
    ("IRCAM", "PCM_16", 1),
    ("PVF", "PCM_16", 1),
    ("XI", "DPCM_16", 1),
    ("WVE", "ALAW", 1),
    ("MPC2K", "PCM_16", 1),
)
# Format and codec of what ffmpeg alone reads.
FILMS = (("mov", "aac"), ("webm", "libopus"), ("adts", "aac"), ("asf", "wmav2"), ("avi", "mp2"))
RATE = 8_000


class Decoder(Target):
    """Sound that soundfile reads, decoded as the page decodes a visitor's file."""

    def seeds(self) -> list[bytes]:
        """A quarter of a second in each format, two sounds glued together, and lying headers."""
        files = [file for form in FORMATS if (file := _encoded(*form))]
        wav, mp3 = sound(), _encoded("MP3", "MPEG_LAYER_III", 1)
        lying = [file[:4] + b"\xff\xff\xff\xff" + file[8:] for file in files[:7]]
        return [*files, wav + wav, mp3 + mp3, b"ID3\4" + bytes(6) + mp3, bytes(400), *lying]

    def read(self, data: bytes, folder: Path) -> None:
        """Decode."""
        with patch.object(ffmpeg, "program", lambda: None):
            waveform.decode(SoundFile(put(data, folder / "sound.bin"), None, waveform.VISITOR))


class Ffmpeg(Target):
    """Sound that the ffmpeg program reads; every input is a process or two."""

    def seeds(self) -> list[bytes]:
        """A quarter of a second in several films; silence of no format where ffmpeg is missing."""
        return [bytes(100), *filter(None, (_film(*form) for form in FILMS))]

    def read(self, data: bytes, folder: Path) -> None:
        """Decode."""
        waveform.decode(SoundFile(put(data, folder / "film.bin"), None, waveform.VISITOR))


class Subtitles(Target):
    """SRT and WebVTT, read and written back."""

    def seeds(self) -> list[bytes]:
        """Both formats, with markup, blocks and code pages."""
        return [
            b"1\n00:00:01,000 --> 00:00:02,500\n<i>Hello</i> {\\an8}there\n\n2\n00:03 --> 00:04\nyes\n",
            b"WEBVTT\n\nNOTE a\n\nSTYLE\nb\n\nid\n00:01.000 --> 00:02.000 align:start\n<v Ann>Hi &amp; on\n",
            "\ufeff1\r\n00:00:01,5 --> 99:59:59,999\r\n¿Qué?\r\n".encode("utf-16"),
            b"1\n" + b"9" * 5000 + b":00:01,000 --> 00:00:02,500\nHello\n",
            b"00:01 --> 00:02\n" + b"<" * 5000,
        ]

    def read(self, data: bytes, folder: Path) -> None:
        """Read the cues and write them in both formats."""
        cues = [(cue, "[angry]") for cue in read_subtitles(put(data, folder / "talk.srt"))]
        to_srt(cues)
        to_vtt(cues)


def sound(hertz: float = 220.0) -> bytes:
    """A WAV file of a quarter of a second."""
    return _encoded(*FORMATS[0], hertz)


def _encoded(container: str, subtype: str, channels: int, hertz: float = 220.0) -> bytes:
    """A file of a format, b"" where this libsndfile does not write it."""
    buffer = io.BytesIO()
    wave = 0.5 * np.sin(2 * np.pi * hertz / RATE * np.arange(RATE // 4))
    tone = np.outer(wave, np.ones(channels)).astype(np.float32)
    try:
        soundfile.write(buffer, tone, RATE, subtype, format=container)
    except (soundfile.SoundFileError, ValueError, TypeError):
        return b""
    return buffer.getvalue()


def _film(container: str, codec: str) -> bytes:
    """A file that ffmpeg writes, b"" where it cannot."""
    program = ffmpeg.program()
    if program is None:
        return b""
    command = [program, "-nostdin", "-v", "quiet", "-i", "-", "-c:a", codec, "-f", container]
    command += ["-movflags", "frag_keyframe+empty_moov"] if container == "mov" else []
    return subprocess.run([*command, "-"], input=sound(), capture_output=True, timeout=20).stdout
