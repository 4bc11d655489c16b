"""Recordings as 16 kHz mono float32 clips, and the windows that a model scores.

Decoding works block by block: a long file at a high rate needs no more memory than its 16 kHz mono
result plus one block, and nothing is allocated by the length that a header claims.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serdemo.audio import ffmpeg
from serdemo.audio.channels import (
    MIN_SPEECH_S,
    SOUND_DB,
    ChannelAnalysis,
    Mix,
    StreamMixer,
    ordinal,
)
from serdemo.audio.decoding import AudioFile, Sound, open_audio
from serdemo.audio.samples import (
    BLOCK_VALUES,
    AudioError,
    Block,
    as_frames,
    require_channels,
    to_frames,
)
from serdemo.audio.samples import MAX_RATE as MAX_RATE
from serdemo.audio.samples import MIN_RATE as MIN_RATE
from serdemo.audio.samples import OWN as OWN
from serdemo.audio.samples import SAMPLE_RATE as SAMPLE_RATE
from serdemo.audio.samples import VISITOR as VISITOR
from serdemo.audio.samples import Limits as Limits
from serdemo.audio.samples import Resampler as Resampler
from serdemo.audio.samples import Samples as Samples
from serdemo.audio.samples import validate_samples as validate_samples
from serdemo.schema.remote_files import local_copy
from serdemo.schema.text import counted

WINDOW_S = 3.0
HOP_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A decoded recording: mono float32 `samples` (N,) at 16 kHz, nominally in [-1, 1].

    `source_rate` (Hz) and `channels` are those of the file. `clipped` is the share in [0, 1] of
    source samples at full scale, counted before down-mixing and resampling. `notes` are sentences
    about the file: what of it could not be read, which of its channels or tracks was used.
    """

    samples: Samples
    name: str
    source_rate: int
    channels: int
    clipped: float
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class SoundFile:
    """A file to decode: its `name` in messages (default: the file's base name), and how much sound it may
    hold."""

    path: str | Path
    name: str | None = None
    limits: Limits = OWN


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file to fetch and decode, by an address such as `s3://bucket/clip.wav`."""

    address: str


@dataclass(slots=True, eq=False)
class Recording:
    """A recording that is being decoded: `pieces` of mono float32 (n,) at 16 kHz, made lazily.

    `source_rate` (Hz) and `channels` are those of the file, `duration_s` is the length that its
    header names, if any. `clipped` and `notes` (see `Clip`) are complete once `pieces` are exhausted.
    """

    name: str
    source_rate: int
    channels: int
    duration_s: float | None
    pieces: Iterator[Samples] = field(init=False)
    clipped: float = 0.0
    notes: tuple[str, ...] = ()

    def head(self, seconds: float) -> Clip | None:
        """The recording as a clip if it is no longer than so many seconds.

        None for a longer one, whose pieces, from the first on, can still be read.
        """
        taken: list[Samples] = []
        n_samples = 0
        for piece in self.pieces:
            taken.append(piece)
            n_samples += len(piece)
            if n_samples > seconds * SAMPLE_RATE:
                self.pieces = chain(taken, self.pieces)
                return None
        self.pieces = iter(taken)
        return self.collect()

    def collect(self) -> Clip:
        """The whole recording as a clip."""
        result = bytearray()  # grows in place, where joining pieces would need twice the memory
        for piece in self.pieces:
            result += piece.tobytes()
        samples = np.frombuffer(result, dtype=np.float32)
        return Clip(samples, self.name, self.source_rate, self.channels, self.clipped, self.notes)


@contextmanager
def open_recording(
    source: str | Path | SoundFile | RemoteFile,
    *,
    name: str | None = None,
    high_pass: bool = True,
) -> Iterator[Recording]:
    """Open a recording in any format that soundfile, or else the ffmpeg program, reads.

    `name` is its name in messages (default: the source's); without `high_pass` its pieces hold
    what lies below a voice too, as models of others expect. Raises `AudioError`, here or
    while its pieces are read, for a file that cannot be read as sound or holds too much of it, and
    SerdemoError for one that cannot be fetched.
    """
    if isinstance(source, RemoteFile):
        with local_copy(source.address) as path:
            copy = SoundFile(path, name or source.address)
            with open_recording(copy, high_pass=high_pass) as recording:
                yield recording
        return
    file = source if isinstance(source, SoundFile) else SoundFile(source)
    path, limits = Path(file.path), file.limits
    name = name or file.name or path.name
    with _named(name):
        track, mixes, notes = _analyse(lambda track: open_audio(path, track), limits)
        with open_audio(path, track) as audio:
            yield _recording(name, audio, mixes, notes, limits, high_pass)


def decode(source: str | Path | SoundFile, *, name: str | None = None) -> Clip:
    """Decode a recording at once; `name` and errors as for `open_recording`."""
    with open_recording(source, name=name) as recording:
        return recording.collect()


def from_array(samples: NDArray[Any], rate: int, name: str = "The recording") -> Clip:
    """Make a clip of samples (N,) or (N, C) at `rate` Hz; raises the errors of `decode`.

    Floats are taken as they are, integers of 8, 16 or 32 bits are divided by their full range.
    """
    with _named(name):
        frames, rate = as_frames(samples), int(rate)
        channels = frames.shape[1]

        @contextmanager
        def opened(track: int = 0) -> Iterator[AudioFile]:
            step = max(1, BLOCK_VALUES // channels)
            blocks = (frames[i : i + step] for i in range(0, len(frames), step))
            yield AudioFile(iter([Sound(rate, channels, blocks)]))

        _, mixes, notes = _analyse(opened, OWN)
        with opened() as audio:
            return _recording(name, audio, mixes, notes, OWN).collect()


def to_int16(samples: Samples) -> NDArray[np.int16]:
    """16-bit little-endian PCM of samples (N,) in [-1, 1]; values beyond are clipped."""
    return np.round(np.clip(samples, -1, 1) * 32_767).astype("<i2")


def to_scaled_int16(samples: Samples) -> tuple[NDArray[np.int16], float]:
    """Samples (N,) as int16 at full resolution, and the scale to multiply them by.

    The peak of the samples becomes the largest integer, so that quiet clips lose no precision.
    """
    scale = float(np.abs(samples).max(initial=0.0)) / 32_767 or 1.0
    return (samples / scale).round().astype(np.int16), scale


def windows(
    n_samples: int, *, window_s: float = WINDOW_S, hop_s: float = HOP_S
) -> list[tuple[int, int]]:
    """Overlapping windows over `n_samples` at 16 kHz, as (start, stop) sample numbers.

    A clip no longer than one window is a single window of its own length. A longer clip has
    full-length windows only, the last aligned to the end, so that every sample is covered.
    """
    size, hop = round(window_s * SAMPLE_RATE), round(hop_s * SAMPLE_RATE)
    if n_samples <= size:
        return [(0, n_samples)]
    starts = list(range(0, n_samples - size + 1, hop))
    if starts[-1] + size < n_samples:
        starts.append(n_samples - size)
    return [(start, start + size) for start in starts]


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Let errors begin with the name of the recording."""
    try:
        yield
    except AudioError as problem:
        raise AudioError(problem.predicate, name) from problem


def _analyse(
    opened: Callable[[int], AbstractContextManager[AudioFile]], limits: Limits
) -> tuple[int, list[Mix], list[str]]:
    """The track to use, the down-mixes of its sounds, and a note where another track was left out.

    Reads a file through where it has several channels, and for each of several tracks.
    """
    with opened(0) as audio:
        n_tracks = min(audio.n_tracks, ffmpeg.MAX_TRACKS)
        first = next(audio.sounds, None)
        if n_tracks == 1 and (first is None or first.channels == 1):
            return 0, [], []
    tracks = []
    budget = _Budget(limits)
    for track in range(n_tracks):
        budget.begin_track()
        with opened(track) as audio:
            tracks.append([_analysed(sound, budget, n_tracks > 1) for sound in audio.sounds])
    track = 0
    if n_tracks > 1:
        speech = [sum(sound.speech_s for sound in sounds) for sounds in tracks]
        level = [max((sound.level_db for sound in sounds), default=-120.0) for sounds in tracks]
        if max(speech) >= MIN_SPEECH_S:
            track = next(i for i in range(n_tracks) if speech[i] >= 0.5 * max(speech))
        else:
            track = next(i for i in range(n_tracks) if level[i] >= max(level) + SOUND_DB)
    notes = []
    if track:
        notes = [f"Of the {n_tracks} tracks the {ordinal(track)} is used: it holds the voice."]
    return track, [sound.decide() for sound in tracks[track]], notes


class _Budget:
    """What is left of the sound that a file may hold, over all its tracks."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._left_s, self._left_values = limits, 0.0, limits.values
        self.begin_track()

    def begin_track(self) -> None:
        """Begin a track, each of which may be as long as a file."""
        self._left_s = self._limits.seconds + 1e-6

    def spend(self, block: Block, rate: int) -> None:
        """Count a block (n, C); raises `AudioError` where there is too much sound."""
        self._left_s -= len(block) / rate
        self._left_values -= block.size
        if self._left_s < 0:
            hours = counted(self._limits.seconds // 3600, "hour")
            raise AudioError(f"is longer than {hours}: cut it into shorter files.")
        if self._left_values < 0:
            raise AudioError(
                f"holds more than {self._limits.values / 1e6:.0f} million samples: save it as mono, or"
                " cut it into shorter files."
            )


def _analysed(sound: Sound, budget: _Budget, always: bool) -> ChannelAnalysis:
    require_channels(sound.channels)
    analysis = ChannelAnalysis(sound.rate, sound.channels, always=always)
    for frames, _ in _checked(sound, budget):
        analysis.push(frames)
    return analysis


def _checked(sound: Sound, budget: _Budget) -> Iterator[tuple[Block, int]]:
    """The blocks of a sound as frames (n, C), each with its number of values at full scale."""
    for block in sound.blocks:
        budget.spend(block, sound.rate)
        yield to_frames(block)


def _recording(
    name: str,
    audio: AudioFile,
    mixes: list[Mix],
    notes: list[str],
    limits: Limits,
    high_pass: bool = True,
) -> Recording:
    first = next(audio.sounds, None)
    if first is None:
        raise AudioError("holds no sound: record it or save it again.")
    recording = Recording(name, first.rate, first.channels, audio.duration_s)
    audio.sounds = chain([first], audio.sounds)
    recording.pieces = _pieces(recording, audio, mixes, notes, _Budget(limits), high_pass)
    return recording


def _pieces(
    recording: Recording,
    audio: AudioFile,
    mixes: list[Mix],
    notes: list[str],
    budget: _Budget,
    high_pass: bool,
) -> Iterator[Samples]:
    """Check, down-mix and resample the sounds of a file as they come."""
    n_samples = n_values = n_clipped = 0
    for sound, mix in zip_longest(audio.sounds, mixes):
        if sound is None:
            break
        # That a later sound has more channels than the first was not looked for.
        mixer = StreamMixer(sound.rate, sound.channels) if mix is None else mix
        resampler = Resampler(sound.rate, high_pass=high_pass)
        for frames, clipped in _checked(sound, budget):
            n_clipped, n_values = n_clipped + clipped, n_values + frames.size
            piece = resampler.push(mixer.apply(frames))
            n_samples += len(piece)
            yield piece
        piece = resampler.finish()
        n_samples += len(piece)
        yield piece
        if mixer.note and mixer.note not in notes:
            notes.append(mixer.note)
    if not n_samples:
        raise AudioError("holds no sound: record it or save it again.")
    recording.clipped = n_clipped / n_values
    recording.notes = (*notes, *audio.notes)
