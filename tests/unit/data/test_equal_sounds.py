"""Equal sounds under several names, labels and speakers, and how they are kept in one part of a split."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serdemo.data.corpora import load_many
from serdemo.data.splits import ClipSplit, Split, parse_split
from serdemo.schema.errors import SerdemoError, UsageError

RATE = 16_000


def sound(path: Path, seed: int, seconds: float = 0.5, **kwargs: str) -> Path:
    """A file of noise that depends on `seed` alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(-9000, 9000, round(seconds * RATE), dtype=np.int16)
    soundfile.write(path, noise, RATE, **kwargs)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two speakers with two clips each, all of other samples and of one length."""
    for number, name in enumerate(("anna/angry/1", "anna/sad/2", "ben/angry/3", "ben/sad/4")):
        sound(tmp_path / "set" / f"{name}.wav", number)
    return tmp_path / "set"


def test_other_samples_of_one_length_are_no_equal_sounds(folder: Path) -> None:
    notes: list[str] = []
    assert {clip.sound for clip in load_many(str(folder), note=notes.append)} == {""}
    assert notes == []


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".aiff", "-24.wav"])
def test_a_copy_in_any_lossless_file_is_found(folder: Path, suffix: str) -> None:
    subtype = {"subtype": "PCM_24"} if "24" in suffix else {}
    sound(folder / "ben" / "angry" / f"copy{suffix}", 0, **subtype)
    notes: list[str] = []
    clips = load_many(str(folder), note=notes.append)
    marked = [clip for clip in clips if clip.sound]
    assert {clip.path.name for clip in marked} == {"1.wav", f"copy{suffix}"}
    assert len({clip.sound for clip in marked}) == 1
    assert notes == [f"Equal sounds: angry/1.wav of set/anna and angry/copy{suffix} of set/ben."]


def test_a_copy_of_any_file_is_found(folder: Path) -> None:
    first = sound(folder / "anna" / "angry" / "5.ogg", 5, seconds=3.0)
    shutil.copy(first, folder / "anna" / "angry" / "6.ogg")
    marked = [clip.path.name for clip in load_many(str(folder)) if clip.sound]
    assert marked == ["5.ogg", "6.ogg"]


def test_two_labels_of_one_sound_are_refused(folder: Path) -> None:
    sound(folder / "anna" / "sad" / "copy.flac", 0)
    with pytest.raises(
        UsageError, match=r"angry/1.wav and sad/copy.flac are the same sound, the one"
    ):
        load_many(str(folder))


def test_one_sound_of_two_speakers_is_refused_across_a_split(folder: Path) -> None:
    sound(folder / "ben" / "angry" / "copy.flac", 0)
    clips = load_many(str(folder))
    by_speaker = {name: [c for c in clips if c.speaker == name] for name in ("anna", "ben")}
    with pytest.raises(
        SerdemoError, match=r"copy.flac of set/ben in test is the same sound as 1.wav"
    ):
        Split(train=tuple(by_speaker["anna"]), test=tuple(by_speaker["ben"]))
    assert len(Split(train=tuple(clips)).train) == 5


def test_clips_of_unknown_speakers_are_dealt_out_one_by_one_with_equal_sounds_together(
    tmp_path: Path,
) -> None:
    for number in range(20):
        emotion = ("angry", "sad")[number % 2]
        sound(tmp_path / "set" / "train" / emotion / f"{number}.wav", number // 4 * 4 + number % 2)
    clips = load_many(str(tmp_path / "set"))
    split = parse_split(clips, valid="0.2", test="0.2")
    assert isinstance(split, ClipSplit) and not split.speaker_independent
    assert {part: len(own) for part, own in split.parts.items()} == {
        "train": 12,
        "valid": 4,
        "test": 4,
    }
    assert {clip.emotion for clip in split.test} == {"angry", "sad"}
