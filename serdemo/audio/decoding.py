"""Container and codec decoding: an audio file as a stream of blocks.

soundfile reads WAV, FLAC, OGG, Opus, MP3, AIFF and their kin. M4A, WebM, AAC, WMA and every other
format go through the ffmpeg program, if it is installed.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import soundfile
from numpy.typing import NDArray

from serdemo.audio.samples import AudioError

BLOCK_VALUES = 1 << 18  # values in one block, all channels together
FFMPEG_TIMEOUT_S = 120.0

# Self-contained formats only: with playlists among them, a visitor's file could name others.
_FFMPEG_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,ac3,eac3,asf,amr,amrnb,amrwb,caf,avi,flv,"
    "mpeg,mpegts,wv,ape,tta,dsf,mp3,ogg,flac,wav,aiff"
)
_AU_HEADER = struct.Struct(">4s5I")

Block = NDArray[np.float32]
AudioStream = tuple[int, int, Iterator[Block]]


@contextmanager
def open_audio(path: Path) -> Iterator[AudioStream]:
    """Open an audio file; yields its sample rate (Hz), channel count C and blocks (n, C) float32.

    Blocks are read lazily until the data ends; the length in the header is not trusted. Raises
    `AudioError` for a file that cannot be read.
    """
    # soundfile gets an open file, not a path: it would take the extension's word for mp3, whose
    # decoder writes complaints to the terminal.
    with _open(path) as handle:
        try:
            file = soundfile.SoundFile(handle)
        except (soundfile.SoundFileError, TypeError):  # TypeError: headerless .raw
            file = None
        if file is None:
            with _open_ffmpeg(path) as stream:
                yield stream
        else:
            with file:
                yield file.samplerate, file.channels, _soundfile_blocks(file)


def _open(path: Path) -> IO[bytes]:
    try:
        if path.is_dir():
            raise AudioError("is a folder: give an audio file.")
        if not path.exists():
            raise AudioError("was not found: check its name and folder.")
        if not path.is_file():
            raise AudioError("is not an ordinary file: save the sound as a file first.")
        if path.stat().st_size == 0:
            raise AudioError("is empty: record it or copy it again.")
        return path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        reason = getattr(error, "strerror", None) or "its name is not valid"
        raise AudioError(f"cannot be opened ({reason}): check the file.") from error


def _soundfile_blocks(file: soundfile.SoundFile) -> Iterator[Block]:
    step = max(1, BLOCK_VALUES // file.channels)
    while True:
        try:
            block: Block = file.read(step, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise AudioError("is damaged or cut off: save it or copy it again.") from error
        if len(block) == 0:
            return
        yield block


@contextmanager
def _open_ffmpeg(path: Path) -> Iterator[AudioStream]:
    program = shutil.which("ffmpeg")
    if program is None:
        raise AudioError(
            "is not a WAV, FLAC, OGG, MP3 or AIFF file, and other formats need the "
            "ffmpeg program: install ffmpeg or convert the file to WAV."
        )
    # An .au stream carries rate and channel count in a fixed header, so that every format shares
    # the code that mixes, resamples and counts clipped samples.
    command = [program, "-nostdin", "-v", "quiet", "-protocol_whitelist", "file"]
    command += ["-format_whitelist", _FFMPEG_FORMATS, "-i", f"file:{path}", "-map", "0:a:0"]
    command += ["-map_metadata", "-1", "-c:a", "pcm_f32be", "-f", "au", "-"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    timer = threading.Timer(FFMPEG_TIMEOUT_S, process.kill)
    timer.start()
    assert process.stdout is not None
    try:
        rate, channels = _read_au_header(process.stdout)
        yield rate, channels, _au_blocks(process.stdout, channels)
    finally:
        timed_out = not timer.is_alive()
        timer.cancel()
        process.kill()
        process.stdout.close()
        process.wait()
        if timed_out:  # takes precedence over the error that the cut-off stream caused
            raise AudioError(f"took more than {FFMPEG_TIMEOUT_S:g} s to decode: convert it to WAV.")


def _read_au_header(stream: IO[bytes]) -> tuple[int, int]:
    header = stream.read(_AU_HEADER.size)
    if len(header) < _AU_HEADER.size:
        raise AudioError("holds no sound that can be read: give a WAV, FLAC, OGG, MP3 or M4A file.")
    _, offset, _, _, rate, channels = _AU_HEADER.unpack(header)
    stream.read(offset - _AU_HEADER.size)
    return rate, channels


def _au_blocks(stream: IO[bytes], channels: int) -> Iterator[Block]:
    frame = 4 * channels
    size = frame * max(1, BLOCK_VALUES // channels)
    while data := stream.read(size):
        whole = len(data) // frame * frame
        yield np.frombuffer(data[:whole], ">f4").astype(np.float32).reshape(-1, channels)
