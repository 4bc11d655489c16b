"""Any sound file as a stream of blocks: soundfile where it can, else the ffmpeg program.

soundfile reads WAV, FLAC, OGG, Opus, MP3, AIFF and their kin; m4a, webm, aac, wma and whatever
else holds sound goes through ffmpeg, where that is installed.
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

from serdemo.schema.errors import SerdemoError

BLOCK_VALUES = 1 << 18  # values in one block, all channels together
FFMPEG_TIMEOUT_S = 120.0

# Self-contained formats only: with playlists among them, a visitor's file could name others.
_FFMPEG_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,ac3,eac3,asf,amr,amrnb,amrwb,caf,avi,flv,"
    "mpeg,mpegts,wv,ape,tta,dsf,mp3,ogg,flac,wav,aiff"
)
_AU_HEADER = struct.Struct(">4s5I")

Block = NDArray[np.float32]
Sound = tuple[int, int, Iterator[Block]]


@contextmanager
def open_audio(path: Path, name: str) -> Iterator[Sound]:
    """Open a sound file; yields its sample rate (Hz), channel count C and blocks (n, C) float32.

    Blocks are read as they are asked for, until the data ends, whatever the header claims.
    Raises `SerdemoError`, in which the file is called `name`, for what cannot be read.
    """
    # soundfile gets an open file, not a path: by its extension alone, it would try mp3 decoding
    # on anything, and that complains on the terminal.
    with _open(path, name) as handle:
        try:
            file = soundfile.SoundFile(handle)
        except (soundfile.SoundFileError, TypeError):  # TypeError: headerless .raw
            file = None
        if file is None:
            with _open_ffmpeg(path, name) as sound:
                yield sound
        else:
            with file:
                yield file.samplerate, file.channels, _soundfile_blocks(file, name)


def _open(path: Path, name: str) -> IO[bytes]:
    try:
        if path.is_dir():
            raise SerdemoError(f"{name} is a folder: give an audio file.")
        if not path.exists():
            raise SerdemoError(f"{name} was not found: check its name and folder.")
        if not path.is_file():
            raise SerdemoError(f"{name} is not an ordinary file: save the sound as a file first.")
        if path.stat().st_size == 0:
            raise SerdemoError(f"{name} is empty: record it or copy it again.")
        return path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        reason = getattr(error, "strerror", None) or "its name is not valid"
        raise SerdemoError(f"{name} cannot be opened ({reason}): check the file.") from error


def _soundfile_blocks(file: soundfile.SoundFile, name: str) -> Iterator[Block]:
    step = max(1, BLOCK_VALUES // file.channels)
    while True:
        try:
            block: Block = file.read(step, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise SerdemoError(
                f"{name} is damaged or cut off: save it or copy it again."
            ) from error
        if len(block) == 0:
            return
        yield block


@contextmanager
def _open_ffmpeg(path: Path, name: str) -> Iterator[Sound]:
    program = shutil.which("ffmpeg")
    if program is None:
        raise SerdemoError(
            f"{name} is not a WAV, FLAC, OGG, MP3 or AIFF file, and other formats need the "
            "ffmpeg program: install ffmpeg or convert the file to WAV."
        )
    # An .au stream carries rate and channel count in a fixed header, so that mixing, resampling
    # and the count of clipped samples are the same code for every format.
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
        rate, channels = _read_au_header(process.stdout, name)
        yield rate, channels, _au_blocks(process.stdout, channels)
    finally:
        late = not timer.is_alive()
        timer.cancel()
        process.kill()
        process.stdout.close()
        process.wait()
        if late:  # whatever else the cut-off stream led to
            raise SerdemoError(
                f"{name} took more than {FFMPEG_TIMEOUT_S:g} s to decode: convert it to WAV."
            )


def _read_au_header(stream: IO[bytes], name: str) -> tuple[int, int]:
    header = stream.read(_AU_HEADER.size)
    if len(header) < _AU_HEADER.size:
        raise SerdemoError(
            f"{name} holds no sound that can be read: give a WAV, FLAC, OGG, MP3 or M4A file."
        )
    _, offset, _, _, rate, channels = _AU_HEADER.unpack(header)
    stream.read(offset - _AU_HEADER.size)
    return rate, channels


def _au_blocks(stream: IO[bytes], channels: int) -> Iterator[Block]:
    frame = 4 * channels
    size = frame * max(1, BLOCK_VALUES // channels)
    while data := stream.read(size):
        whole = len(data) // frame * frame
        yield np.frombuffer(data[:whole], ">f4").astype(np.float32).reshape(-1, channels)
