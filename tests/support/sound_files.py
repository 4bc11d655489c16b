"""Kinds of sound file, made from one clip by ffmpeg, by sox and by hand.

Each row is a file name, how it is made, and the pattern of the sentence that belongs to its answer or
takes its place; an empty one for the same answer without a word.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
RATE = 44_100

TELEPHONE = r"telephone quality \(8 kHz\)"
UNREADABLE = r"holds no sound that can be read: give a WAV"
CUT = r"damaged or cut off: (\d+\.\d s of its|the \d+\.\d s)|is cut off before its index"

# Name, arguments of ffmpeg behind the input, pattern.
FFMPEG: list[tuple[str, str, str]] = [
    ("a.mp3", "-c:a libmp3lame -b:a 128k", ""),
    ("vbr-without-header.mp3", "-c:a libmp3lame -q:a 4 -write_xing 0", ""),
    ("vbr.mp3", "-c:a libmp3lame -q:a 4", ""),
    (
        "with-tags.mp3",
        "-c:a libmp3lame -b:a 128k -metadata title=x -id3v2_version 4 -write_id3v1 1",
        "",
    ),
    ("mpeg2.mp3", "-c:a libmp3lame -b:a 64k -ar 22050", ""),
    ("shine.mp3", "-c:a libshine -b:a 128k", ""),
    ("a.mp2", "-c:a mp2 -b:a 192k", ""),
    ("twolame.mp2", "-c:a libtwolame -b:a 192k", ""),
    ("a.m4a", "-c:a aac -b:a 128k", ""),
    ("alac.m4a", "-c:a alac", ""),
    ("a.aac", "-c:a aac -b:a 128k", ""),
    ("latm.loas", "-c:a aac -b:a 128k -f latm", ""),
    ("film.mp4", "{film} -c:v mpeg4 -c:a aac -b:a 128k", ""),
    (
        "fragments.mp4",
        "{film} -c:v mpeg4 -c:a aac -b:a 128k -movflags frag_keyframe+empty_moov",
        "",
    ),
    ("film.mov", "{film} -c:v mpeg4 -c:a pcm_s16le", ""),
    ("film.mkv", "{film} -c:v mpeg4 -c:a libvorbis -b:a 128k", ""),
    ("film.webm", "{film} -c:v libvpx -c:a libopus -b:a 96k", ""),
    ("film.avi", "{film} -c:v mpeg4 -c:a libmp3lame -b:a 128k", ""),
    ("film.flv", "{film} -c:v flv -c:a aac -b:a 128k", ""),
    ("film.mpg", "{film} -c:v mpeg2video -r 25 -c:a mp2 -b:a 192k", ""),
    ("film.ts", "{film} -c:v mpeg2video -r 25 -c:a aac -b:a 128k", ""),
    ("film.wmv", "{film} -c:v wmv2 -c:a wmav2 -b:a 128k", ""),
    ("film.mxf", "{film} -c:v mpeg2video -r 25 -c:a pcm_s16le -ar 48000", ""),
    ("film.ogv", "{film} -c:v libtheora -c:a libvorbis -b:a 128k", ""),
    ("film.nut", "{film} -c:v mpeg4 -c:a pcm_s16le", ""),
    ("a.3gp", "-c:a aac -b:a 128k -f 3gp", ""),
    ("a.mka", "-c:a flac", ""),
    ("a.weba", "-c:a libopus -b:a 96k -f webm", ""),
    ("a.ogg", "-c:a libvorbis -b:a 128k", ""),
    ("native-vorbis.ogg", "-c:a vorbis -strict -2 -ac 2 -b:a 128k", ""),
    ("a.opus", "-c:a libopus -b:a 96k", ""),
    ("flac.oga", "-c:a flac -f ogg", ""),
    ("a.spx", "-c:a libspeex -ar 16000 -b:a 28k", ""),
    ("a.flac", "-c:a flac", ""),
    ("24-bit.flac", "-c:a flac -sample_fmt s32", ""),
    ("a.wv", "-c:a wavpack", ""),
    ("a.tta", "-c:a tta", ""),
    ("a.wma", "-c:a wmav2 -b:a 128k", ""),
    ("old.wma", "-c:a wmav1 -b:a 128k", ""),
    ("a.ac3", "-c:a ac3 -b:a 192k -ar 48000", ""),
    ("a.eac3", "-c:a eac3 -b:a 192k -ar 48000", ""),
    ("a.dts", "-c:a dca -strict -2 -b:a 768k -ar 48000 -ac 2", ""),
    ("a.thd", "-c:a truehd -strict -2 -ar 48000 -ac 2", ""),
    ("a.mlp", "-c:a mlp -strict -2 -ar 48000 -ac 2", ""),
    ("a.caf", "-c:a pcm_s16be", ""),
    ("alac.caf", "-c:a alac", ""),
    ("a.aiff", "-c:a pcm_s16be", ""),
    ("a.au", "-c:a pcm_s16be", ""),
    ("a.w64", "-c:a pcm_s16le", ""),
    ("rf64.wav", "-c:a pcm_s16le -rf64 always", ""),
    ("u8.wav", "-c:a pcm_u8", ""),
    ("24-bit.wav", "-c:a pcm_s24le", ""),
    ("32-bit.wav", "-c:a pcm_s32le", ""),
    ("float.wav", "-c:a pcm_f32le", ""),
    ("double.wav", "-c:a pcm_f64le", ""),
    ("a-law.wav", "-c:a pcm_alaw", ""),
    ("mu-law.wav", "-c:a pcm_mulaw", ""),
    ("adpcm-ms.wav", "-c:a adpcm_ms", ""),
    ("adpcm-ima.wav", "-c:a adpcm_ima_wav", ""),
    ("adpcm-yamaha.wav", "-c:a adpcm_yamaha", ""),
    ("g726.wav", "-c:a g726 -ar 8000 -b:a 32k", TELEPHONE),
    ("gsm.wav", "-c:a libgsm_ms -ar 8000", TELEPHONE),
    ("mp3-inside.wav", "-c:a libmp3lame -b:a 128k", ""),
    ("a.g722", "-c:a g722 -ar 16000", ""),
    ("a.sbc", "-c:a sbc -ar 44100 -b:a 256k", ""),
    ("a.voc", "-c:a pcm_s16le", ""),
    ("ircam.sf", "-c:a pcm_s16le -f ircam", ""),
    ("a.sox", "-c:a pcm_s32le", ""),
    ("a.rso", "-c:a pcm_u8 -ar 16000", ""),
    ("a.adx", "-c:a adpcm_adx", CUT),
    ("8-khz.wav", "-ar 8000", TELEPHONE),
    ("96-khz.wav", "-ar 96000", ""),
    ("stereo.wav", "-ac 2", ""),
    ("5.1.wav", "-ac 6", "third is used: the others are silent"),
    ("5.1.m4a", "-ac 6 -c:a aac -b:a 320k", "third is used: the others are silent"),
    ("stereo.mp3", "-ac 2 -c:a libmp3lame -b:a 160k", ""),
    ("two-tracks.m4a", "{silence} -map 1:a -map 0:a -c:a aac -b:a 128k", "the second is used"),
    ("two-tracks.mkv", "{silence} -map 1:a -map 0:a -c:a flac", "the second is used"),
    (
        "film-without-sound.mp4",
        "{film} -map 1:v -c:v mpeg4",
        "holds no sound that can be read, only pictures",
    ),
]
# Name, arguments of sox behind the input.
SOX: list[tuple[str, str, str]] = [
    ("s.8svx", "-b 8", ""),
    ("s.aifc", "", ""),
    ("s.avr", "", ""),
    ("s.caf", "", ""),
    ("s.fap", "", ""),
    ("s.htk", "-r 16000", ""),
    ("s.mat", "", ""),
    ("s.mat5", "", ""),
    ("s.nist", "", ""),
    ("s.paf", "", ""),
    ("s.pvf", "", ""),
    ("s.sd2", "", UNREADABLE),
    ("s.sds", "", ""),
    ("s.sf", "", ""),
    ("s.snd", "", ""),
    ("s.sph", "", ""),
    ("s.voc", "", ""),
    ("s.w64", "", ""),
    ("s.wv", "", ""),
    ("s.wve", "-r 8000", TELEPHONE),
    ("s.xi", "", ""),
    ("s.amr-nb", "-r 8000", TELEPHONE),
    ("s.amb", "", ""),
    ("s.gsm", "-r 8000", TELEPHONE),
    ("s.smp", "", UNREADABLE),
    ("s.maud", "", ""),
    ("s.hcom", "-r 22050 -b 8", UNREADABLE),
    ("s.prc", "-r 8000", UNREADABLE),
    ("s.sndt", "-b 8", UNREADABLE),
    ("s.txw", "-r 33000", UNREADABLE),
    ("s.dat", "", UNREADABLE),
    ("s.raw", "", UNREADABLE),
    ("s.vox", "-r 8000", UNREADABLE),
]

FILM = "-f lavfi -i testsrc=size=64x48:rate=25:duration=6"
SILENCE = "-f lavfi -i anullsrc=r=44100:cl=mono:d=6"


def by_ffmpeg(clip: Path, target: Path, arguments: str) -> None:
    """Convert the clip by ffmpeg."""
    words = arguments.format(film=FILM, silence=SILENCE).split()
    _run(["ffmpeg", "-v", "error", "-y", "-i", str(clip), *words, str(target)], target.parent)


def by_sox(clip: Path, target: Path, arguments: str) -> None:
    """Convert the clip by sox."""
    _run(["sox", "-V1", str(clip), *arguments.split(), str(target)], target.parent)


def _run(command: list[str], folder: Path) -> None:
    """Run a program in `folder`: sox leaves the resource fork of an SD2 file where it runs."""
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=60
    )
    assert not done.returncode, done.stderr[-300:]


def _with_length(data: bytes, length: int) -> bytes:
    """A WAV file whose header names another number of bytes of sound."""
    place = data.index(b"data") + 4
    return data[:place] + struct.pack("<I", length & 0xFFFFFFFF) + data[place + 4 :]


def _damaged(data: bytes) -> bytes:
    middle = len(data) // 2
    noise = np.random.default_rng(0).integers(0, 256, 300, dtype=np.uint8).tobytes()
    return data[:middle] + noise + data[middle + 300 :]


ID3 = b"ID3\x04\0\0\0\0\x07\x76" + bytes(7 * 128 + 0x76)
AS_IT_IS: Callable[[bytes], bytes] = bytes

# Name, the file above that it is made of ("" for the clip), what is done to its bytes, pattern.
BYTES: list[tuple[str, str, Callable[[bytes], bytes], str]] = [
    ("really-wav.mp3", "", AS_IT_IS, ""),
    ("really-mp3.wav", "vbr.mp3", AS_IT_IS, ""),
    ("really-m4a.ogg", "a.m4a", AS_IT_IS, ""),
    ("really-flac.txt", "a.flac", AS_IT_IS, ""),
    ("really-ogg.m4a", "a.ogg", AS_IT_IS, ""),
    ("length-0.wav", "", lambda data: _with_length(data, 0), ""),
    ("length-most.wav", "", lambda data: _with_length(data, 0xFFFFFFFF), ""),
    ("length-arecord.wav", "", lambda data: _with_length(data, 0x80000000), ""),
    (
        "length-small.wav",
        "",
        lambda data: _with_length(data, 60_000),
        r"names 0\.7 s, but it holds 4",
    ),
    ("length-large.wav", "", lambda data: _with_length(data, 2 * len(data)), CUT),
    ("id3.wav", "", lambda data: ID3 + data, ""),
    ("id3.flac", "a.flac", lambda data: ID3 + data, ""),
    ("id3.ogg", "a.ogg", lambda data: ID3 + data, ""),
    ("id3.opus", "a.opus", lambda data: ID3 + data, ""),
    ("id3.m4a", "a.m4a", lambda data: ID3 + data, ""),
    ("id3.aac", "a.aac", lambda data: ID3 + data, ""),
    ("id3-twice.mp3", "vbr.mp3", lambda data: ID3 + ID3 + data, ""),
    ("cut.m4a", "a.m4a", lambda data: data[: len(data) // 2], CUT),
    *(
        (f"cut.{name}", f"a.{name}", lambda data: data[: len(data) // 2], CUT)
        for name in ("mp3", "ogg", "opus", "flac", "aac", "mka", "weba", "wma")
    ),
    ("cut.wav", "", lambda data: data[: len(data) // 2], CUT),
    *(
        (f"damaged.{name}", f"a.{name}", _damaged, CUT)
        for name in ("mp3", "ogg", "opus", "flac", "aac")
    ),
]

# Name, and whether two or three of the file stand one behind the other.
GLUED = ("", "a.mp3", "vbr-without-header.mp3", "a.ogg", "a.opus", "a.flac", "a.aac", "a.mp2")


def channels(voice: Samples) -> Iterator[tuple[str, Samples, str]]:
    """Name, frames (n, C) and pattern of recordings of a voice (n,) and something else."""
    n = len(voice)
    noise = (0.1 * np.random.default_rng(0).standard_normal(n)).astype(np.float32)
    time = np.arange(n) / RATE
    beat = np.sin(4 * np.pi * time) > 0
    music = sum(0.05 * np.sin(2 * np.pi * f * time) for f in (220, 277, 330, 440)) * beat
    later = np.concatenate([np.zeros(RATE // 50, np.float32), voice[: n - RATE // 50]])
    ambience = [0.1 * noise] * 3
    yield "opposed", np.stack([voice, -voice], 1), "out of phase"
    yield "voice-noise", np.stack([voice, noise], 1), "the second holds no voice"
    yield "noise-voice", np.stack([noise, voice], 1), "the first holds no voice"
    yield "voice-music", np.stack([voice, music], 1), "the second holds no voice"
    yield "silence-voice", np.stack([0 * voice, voice], 1), "the first is silent"
    yield "later", np.stack([voice, later], 1), "the second is the same sound 20 ms later"
    yield "surround", np.stack([music, music, voice, *ambience], 1), "the third is used"
    yield "two-alike", np.stack([voice, voice], 1), ""
    yield "offset", 0.3 * voice + 0.6, ""
    yield "small-offset", voice + np.float32(0.005), ""
    yield "drifting-offset", 0.5 * voice + 0.2 * np.sin(2 * np.pi * 0.2 * time), ""
    yield "offset-on-one", np.stack([0.5 * voice, 0.5 * voice + 0.3], 1), ""
