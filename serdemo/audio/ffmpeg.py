"""Formats that soundfile does not know, decoded by the ffmpeg program."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

from serdemo.audio.samples import BLOCK_VALUES, AudioError, Block, require_channels

# A decoder may take so long, and a share of what the sound it has given lasts; a film of hours passes,
# a file made to keep a server busy does not.
FFMPEG_TIMEOUT_S, TIMEOUT_SHARE = 30.0, 0.2
MAX_MEMORY = 1_500_000_000  # bytes that the program may allocate, where the system can limit it
MAX_LOG = 1 << 16  # bytes of the program's messages that are looked at
MAX_HEADER = 1 << 16  # bytes before the sound that it writes
MAX_TRACKS = 16

# Self-contained formats only: with playlists among them, a visitor's file could name others.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,asf,mpeg,mpegts,mxf,gxf,nut,rm,swf,dv,wtv,"
    "aac,loas,ac3,eac3,dts,truehd,mlp,amr,amrnb,amrwb,caf,wv,ape,tta,tak,dsf,mpc,mpc8,mp3,ogg,flac,"
    "wav,w64,aiff,iff,au,voc,sox,ircam,nistsphere,avr,pvf,xwma,shn,oma,aea,adx,rso,gsm,g722,sbc,"
    "aptx,codec2,spdif,ast"
)
_AU_HEADER = struct.Struct(">4s5I")
_TRACK = re.compile(r"Stream #0:\d+.*?: (Audio|Video)(.*)")
_DURATION = re.compile(r"Duration: (\d+):(\d\d):(\d\d\.\d+)")
_DAMAGE = re.compile(
    r"corrupt|partial file|[Tt]runcat|CRC mismatch|[Ii]nvalid data|ended prematurely"
    r"|exhausted before|[Ee]rror (?:while )?(?:decoding|submitting|reading|parsing)|Header missing"
    r"|damaged|[Ii]nvalid residual|out of range|invalid (?:band|frame)"
)
_NO_INDEX = re.compile(r"moov atom not found")


@dataclass(slots=True)
class Media:
    """A file as ffmpeg sees it: audio tracks, whether it has pictures, seconds by its header."""

    n_tracks: int = 0
    has_video: bool = False
    duration_s: float | None = None


@dataclass(slots=True)
class Decoding:
    """One audio track that is being decoded; `is_damaged` is known once `blocks` are exhausted."""

    rate: int
    channels: int
    blocks: Iterator[Block] = field(init=False)
    is_damaged: bool = False


def program() -> str | None:
    """The ffmpeg program: that of the system, else that of the package imageio-ffmpeg, if any."""
    found = shutil.which("ffmpeg")
    if found is None and find_spec("imageio_ffmpeg") is not None:
        import imageio_ffmpeg  # type: ignore[import-untyped]

        with suppress(RuntimeError):  # the package may come without the program
            found = imageio_ffmpeg.get_ffmpeg_exe()
    return found


def _required() -> str:
    found = program()
    if found is None:
        raise AudioError(
            "is not a WAV, FLAC, OGG, MP3 or AIFF file, and other formats need the ffmpeg program: "
            'run pip install "serdemo[media]", install ffmpeg, or convert the file to WAV.'
        )
    return found


def _input(path: Path, start: int) -> list[str]:
    """Arguments that open the bytes of a file from `start` on, and nothing beside them."""
    command = [_required(), "-nostdin", "-hide_banner", "-nostats"]
    command += ["-protocol_whitelist", "file,subfile", "-format_whitelist", _FORMATS]
    # A tag in front would move the places that an MP4 file's index names.
    source = f"subfile,,start,{start},end,0,,:{path}" if start else f"file:{path}"
    return [*command, "-vn", "-sn", "-dn", "-i", source]


def probe(path: Path, start: int = 0) -> Media:
    """Look at a file's tracks; raises `AudioError` where it holds no sound."""
    with _running(_input(path, start), subprocess.DEVNULL) as (process, messages):
        try:
            process.wait(FFMPEG_TIMEOUT_S)
        except subprocess.TimeoutExpired as problem:
            raise _too_slow() from problem
        log = messages()
    tracks = [match[1] for match in _TRACK.finditer(log)]
    media = Media(tracks.count("Audio"), "Video" in tracks)
    if _NO_INDEX.search(log):
        raise AudioError(
            "is cut off before its index, without which it is lost: save or copy it again."
        )
    if not media.n_tracks:
        if media.has_video:
            raise AudioError(
                "holds no sound that can be read, only pictures: give a recording with a voice."
            )
        raise AudioError("holds no sound that can be read: give a WAV, FLAC, OGG, MP3 or M4A file.")
    match = _DURATION.search(log)
    if match and "may be inaccurate" not in log:
        media.duration_s = 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3])
    return media


@contextmanager
def open_track(path: Path, track: int = 0, start: int = 0) -> Iterator[Decoding]:
    """Decode an audio track, by its number, of the bytes from `start` on."""
    # An .au stream carries rate and channel count in a fixed header, so that every format shares
    # the code that mixes, resamples and counts clipped samples.
    command = [*_input(path, start), "-v", "warning", "-map", f"0:a:{track}", "-map_metadata", "-1"]
    command += ["-c:a", "pcm_f32be", "-f", "au", "-"]
    with _running(command, subprocess.PIPE) as (process, messages):
        assert process.stdout is not None
        reader = _Reader(process, process.stdout)
        header = reader.read(_AU_HEADER.size)
        if len(header) < _AU_HEADER.size:
            raise AudioError(
                "holds no sound that can be read: give a WAV, FLAC, OGG, MP3 or M4A file."
            )
        _, offset, _, _, rate, channels = _AU_HEADER.unpack(header)
        if not (_AU_HEADER.size <= offset <= MAX_HEADER and rate):
            raise AudioError("cannot be decoded by this ffmpeg program: convert it to WAV.")
        require_channels(channels)
        reader.read(offset - _AU_HEADER.size)
        decoding = Decoding(rate, channels)
        decoding.blocks = _blocks(reader, decoding, messages)
        yield decoding


@contextmanager
def _running(
    command: list[str], stdout: int
) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], str]]]:
    """Run the program within bounds, and end it at the end; with a function that gives the last of
    what it says once it is done."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    if limit := getattr(resource, "prlimit", None):
        with suppress(OSError):  # it has ended already
            limit(process.pid, resource.RLIMIT_DATA, (MAX_MEMORY, MAX_MEMORY))
    log = bytearray()
    listener = threading.Thread(target=_drain, args=(process.stderr, log), daemon=True)
    listener.start()

    def messages() -> str:
        listener.join(FFMPEG_TIMEOUT_S)
        return log.decode("utf-8", "replace")

    try:
        yield process, messages
    finally:
        process.kill()
        process.wait()
        listener.join(FFMPEG_TIMEOUT_S)
        for stream in filter(None, (process.stdout, process.stderr)):
            stream.close()


class _Reader:
    """Reading of the program's output, which ends it when it has taken too long."""

    def __init__(self, process: subprocess.Popen[bytes], stream: IO[bytes]) -> None:
        self._process, self._stream = process, stream
        self.left_s = FFMPEG_TIMEOUT_S

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end; raises `AudioError` when the time is over."""
        over = threading.Event()

        def stop() -> None:
            over.set()
            self._process.kill()

        timer = threading.Timer(self.left_s, stop)
        timer.daemon = True
        began = time.monotonic()
        timer.start()
        try:
            data = self._stream.read(size)
        finally:
            timer.cancel()
        self.left_s -= time.monotonic() - began
        if over.is_set() or self.left_s <= 0:
            raise _too_slow()
        return data


def _too_slow() -> AudioError:
    return AudioError(f"took more than {FFMPEG_TIMEOUT_S:g} s to decode: convert it to WAV.")


def _blocks(reader: _Reader, decoding: Decoding, messages: Callable[[], str]) -> Iterator[Block]:
    frame = 4 * decoding.channels
    size = frame * max(1, BLOCK_VALUES // decoding.channels)
    while data := reader.read(size):
        whole = len(data) // frame * frame
        reader.left_s += TIMEOUT_SHARE * whole / frame / decoding.rate
        block: np.ndarray[Any, Any] = np.frombuffer(data[:whole], ">f4").astype(np.float32)
        yield block.reshape(-1, decoding.channels)
    decoding.is_damaged = bool(_DAMAGE.search(messages()))


def _drain(stream: IO[bytes], log: bytearray) -> None:
    """Read messages to their end, so that the program never waits, and keep the last of them."""
    with suppress(ValueError, OSError):
        while data := stream.read1(MAX_LOG):  # type: ignore[attr-defined]
            log += data
            del log[:-MAX_LOG]
