"""Container and codec decoding: an audio file as parts, each a stream of blocks.

soundfile reads WAV, FLAC, OGG, Opus, MP3, AIFF and their kin. M4A, WebM, AAC, WMA, films and every
other format go through the ffmpeg program, if it is installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import soundfile

from serdemo.audio import ffmpeg
from serdemo.audio.containers import Part, PartFile, find_parts, tag_length
from serdemo.audio.samples import BLOCK_VALUES, MAX_SECONDS, AudioError, Block

# Sound that a header names and the file lacks, or the other way round, is worth a word from here on.
_LITTLE_S, _LITTLE = 0.2, 0.02


@dataclass(slots=True, eq=False)
class Sound:
    """Sound of one rate (Hz) and channel count C: `blocks` (n, C) float32, made lazily."""

    rate: int
    channels: int
    blocks: Iterator[Block]


@dataclass(slots=True, eq=False)
class AudioFile:
    """A file that is being decoded: its `sounds`, one after the other; most files hold one.

    `n_tracks` is the number of audio tracks of a film. `duration_s` is the length that the header
    names, None where it names none. `notes` are sentences about what could not be read, complete
    once the sounds are exhausted.
    """

    sounds: Iterator[Sound]
    n_tracks: int = 1
    duration_s: float | None = None
    notes: list[str] = field(default_factory=list)


@contextmanager
def open_audio(path: Path, track: int = 0) -> Iterator[AudioFile]:
    """Open an audio file, or an audio `track` of a film.

    Blocks are read lazily until the data ends; the length in the header is not trusted. Raises
    `AudioError` for a file that cannot be read.
    """
    # soundfile gets an open file, not a path: it would take the extension's word for mp3, whose
    # decoder writes complaints to the terminal.
    with _open(path) as handle:
        parts = find_parts(handle)
        if first := _open_part(handle, parts[0]):
            yield _by_soundfile(path, handle, parts, first)
            return
        start = tag_length(handle)
    media = ffmpeg.probe(path, start)
    with ffmpeg.open_track(path, track, start) as decoding:
        audio = AudioFile(iter(()), media.n_tracks, media.duration_s)
        blocks = _film_blocks(decoding, audio, parts)
        audio.sounds = iter([Sound(decoding.rate, decoding.channels, blocks)])
        yield audio


def _open(path: Path) -> BinaryIO:
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


def _open_part(handle: BinaryIO, part: Part) -> soundfile.SoundFile | None:
    try:
        return soundfile.SoundFile(PartFile(handle, part))
    except soundfile.SoundFileError:
        return None


def _by_soundfile(
    path: Path, handle: BinaryIO, parts: list[Part], first: soundfile.SoundFile
) -> AudioFile:
    """A file of parts that soundfile reads."""
    known = [part.duration_s for part in parts if part.duration_s is not None]
    if (
        parts[0].duration_s is None
        and len(parts) == 1
        and 0 < first.frames < MAX_SECONDS * first.samplerate
    ):
        known = [first.frames / first.samplerate]
    audio = AudioFile(iter(()), duration_s=sum(known) if len(known) == len(parts) else None)

    def sounds() -> Iterator[Sound]:
        for number, part in enumerate(parts):
            file = first if number == 0 else _open_part(handle, part)
            if file is None:
                audio.notes.append(
                    "What follows in the file cannot be read: save it again, or copy it again."
                )
                return
            with file:
                reader = _Reader(path, part, file, alone=len(parts) == 1)
                yield Sound(file.samplerate, file.channels, reader.blocks(audio.notes))

    audio.sounds = sounds()
    return audio


class _Reader:
    """The blocks of a part of a file, and the notes about what was missing in it."""

    def __init__(self, path: Path, part: Part, file: soundfile.SoundFile, *, alone: bool) -> None:
        self._path, self._part, self._file, self._alone = path, part, file, alone
        self._n_frames = 0

    def blocks(self, notes: list[str]) -> Iterator[Block]:
        """Decode; append sentences to `notes` at the end."""
        is_damaged = self._part.is_cut
        try:
            for block in self._decoded():
                self._n_frames += len(block)
                yield block
        except (soundfile.SoundFileError, RuntimeError) as error:
            is_damaged = True
            yield from self._rescued(error)
        seconds = self._n_frames / self._file.samplerate
        claimed = self._part.duration_s
        if claimed is None and 0 < self._file.frames < MAX_SECONDS * self._file.samplerate:
            claimed = self._file.frames / self._file.samplerate
        notes.extend(describe_length(seconds, claimed, is_damaged))

    def _decoded(self) -> Iterator[Block]:
        step = max(1, BLOCK_VALUES // self._file.channels)
        while True:
            block: Block = self._file.read(step, dtype="float32", always_2d=True)
            if len(block) == 0:
                return
            yield block

    def _rescued(self, error: Exception) -> Iterator[Block]:
        """What ffmpeg reads behind the place at which soundfile gives up."""
        if self._alone and ffmpeg.program() is not None:
            try:
                with ffmpeg.open_track(self._path) as decoding:
                    if decoding.channels == self._file.channels:
                        yield from self._after(decoding.blocks)
            except AudioError:
                pass
        if not self._n_frames:
            raise AudioError("is damaged or cut off: save it or copy it again.") from error

    def _after(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Blocks of the same file without the frames that were read already."""
        skip = self._n_frames
        for block in blocks:
            rest = block[skip:]
            skip = max(0, skip - len(block))
            if len(rest):
                self._n_frames += len(rest)
                yield rest


def _film_blocks(decoding: ffmpeg.Decoding, audio: AudioFile, parts: list[Part]) -> Iterator[Block]:
    n_frames = 0
    for block in decoding.blocks:
        n_frames += len(block)
        yield block
    if parts[0].n_frames is not None:  # the file's own frames were counted
        decoding.is_damaged = any(part.is_cut for part in parts)
        claims = [part.duration_s for part in parts if part.duration_s is not None]
        audio.duration_s = sum(claims) if len(claims) == len(parts) else None
    if decoding.is_damaged:
        audio.notes.extend(describe_length(n_frames / decoding.rate, audio.duration_s, True))


def describe_length(seconds: float, claimed: float | None, is_damaged: bool) -> Iterator[str]:
    """A sentence where the `seconds` that were read are not what a file's header claims."""
    difference = 0.0 if claimed is None else seconds - claimed
    is_little = abs(difference) <= max(_LITTLE_S, _LITTLE * (claimed or 0.0))
    if claimed is not None and not is_little and difference < 0:
        yield (
            f"The file is damaged or cut off: {seconds:.1f} s of its {claimed:.1f} s could be read, "
            "so save it or copy it again."
        )
    elif is_damaged and seconds:
        yield (
            f"The file is damaged or cut off: the {seconds:.1f} s that could be read are answered, "
            "so save it or copy it again."
        )
    elif claimed is not None and not is_little:
        yield (
            f"The file's header names {claimed:.1f} s, but it holds {seconds:.1f} s, "
            "which are all answered."
        )
