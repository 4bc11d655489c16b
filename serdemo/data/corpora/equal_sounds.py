"""Equal sounds under several names, found by size, length and a few samples before all are compared."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from serdemo.data.corpora.corpus import Note
from serdemo.data.corpora.speakers import listed
from serdemo.schema.errors import UsageError
from serdemo.schema.types import Utterance

MIN_BYTES = 1024  # of a file, below which it hardly holds a sound
BLOCK = 4096  # bytes, or samples, from the middle that are compared before all of them

LOSSLESS = frozenset({".wav", ".flac", ".aiff", ".aif", ".au", ".caf", ".w64", ".rf64"})

Key = Callable[[Path], Hashable]  # of a file, None where it has none


def mark_equal_sounds(
    clips: Sequence[Utterance], official: Callable[[Utterance], bool], note: Note
) -> list[Utterance]:
    """The clips, with the same `sound` for those that hold equal samples, which `note` takes.

    Equal files are found in any format, equal samples in different files where nothing is lost by the
    format; not where all are of known corpora (`official`), as their lengths take long to read. Raises UsageError where equal sounds have two emotions, unless all are of known corpora.
    """
    paths = [clip.path for clip in clips]
    groups = _equal(paths, _size, _middle_bytes, _digest)
    if not all(map(official, clips)):
        lossless = [path for path in paths if path.suffix.lower() in LOSSLESS]
        groups += _equal(lossless, _length, _middle_samples, _sample_digest)
    if not groups:
        return list(clips)
    sounds: dict[Path, str] = {}
    for group in groups:  # a file may be in one group of each kind
        sound = next((sounds[path] for path in group if path in sounds), str(group[0]))
        sounds |= dict.fromkeys(group, sound)
    by_sound: dict[str, list[Utterance]] = defaultdict(list)
    for clip in clips:
        if clip.path in sounds:
            by_sound[sounds[clip.path]].append(clip)
    for same in by_sound.values():
        if not all(map(official, same)):
            _refuse_two_emotions(same)
    pairs = [
        " and ".join(f"{_name(clip)} of {clip.speaker_key}" for clip in same)
        for same in by_sound.values()
    ]
    note(f"Equal sounds: {listed(pairs, '; ')}.")
    return [replace(clip, sound=sounds.get(clip.path, "")) for clip in clips]


def _name(clip: Utterance) -> str:
    """The clip's folder and file name."""
    return "/".join(clip.path.parts[-2:])


def _refuse_two_emotions(same: Sequence[Utterance]) -> None:
    first, *others = [clip for clip in same if clip.emotion] or same
    for other in others:
        if other.emotion and other.emotion != first.emotion:
            raise UsageError(
                f"{_name(first)} and {_name(other)} are the same sound, the one labelled"
                f" {first.emotion}, the other {other.emotion}: correct one label, or leave one out."
            )


def _equal(paths: Iterable[Path], *keys: Key) -> list[list[Path]]:
    """Groups of two or more paths that agree in all keys; each key is read only where those before do."""
    groups = [list(paths)]
    for key in keys:
        groups = [part for group in groups for part in _parted(group, key)]
    return groups


def _parted(group: Iterable[Path], key: Key) -> list[list[Path]]:
    parts: dict[Hashable, list[Path]] = defaultdict(list)
    for path in group:
        try:
            value = key(path)
        except (OSError, RuntimeError):  # soundfile's error is a RuntimeError
            continue
        if value is not None:
            parts[value].append(path)
    return [part for part in parts.values() if len(part) > 1]


def _size(path: Path) -> int | None:
    size = path.stat().st_size
    return size if size >= MIN_BYTES else None


def _middle_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(os.fstat(file.fileno()).st_size // 2)
        return file.read(BLOCK)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _length(path: Path) -> tuple[int, int] | None:
    """Number of frames and rate, None where there is no frame."""
    import soundfile

    with soundfile.SoundFile(path) as sound:
        return (sound.frames, sound.samplerate) if sound.frames > 0 else None


def _middle_samples(path: Path) -> bytes:
    """Samples from the middle of the first channel, as 16-bit integers."""
    import soundfile

    with soundfile.SoundFile(path) as sound:
        sound.seek(max(0, (sound.frames - BLOCK) // 2))
        block = sound.read(BLOCK, dtype="int16", always_2d=True)
    return bytes(block[:, 0].tobytes())


def _sample_digest(path: Path) -> bytes:
    """Digest of all samples of the first channel, as 16-bit integers."""
    import soundfile

    digest = hashlib.sha256()
    with soundfile.SoundFile(path) as sound:
        for block in sound.blocks(1 << 20, dtype="int16", always_2d=True):
            digest.update(block[:, 0].tobytes())
    return digest.digest()
