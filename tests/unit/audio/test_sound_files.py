"""A hundred and more kinds of sound file give the answer of the plain WAV, or a sentence.

The kinds are the tables of `support.sound_files`.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support import sound_files as kinds

from serdemo.audio import waveform
from serdemo.inference.predictor import Predictor
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Prediction

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg program"),
]
COMPACT = Path(__file__).parents[3] / "checkpoints" / "compact"
WITHIN = 0.05


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(COMPACT, device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kinds")


@pytest.fixture(scope="module")
def clip(data_root: Path, folder: Path) -> Path:
    """Four seconds of sad German, at which the model is sure."""
    target = folder / "clip.wav"
    source = data_root / "emodb" / "12b01Ta.ogg"
    kinds.by_ffmpeg(source, target, f"-ac 1 -ar {kinds.RATE} -bitexact -map_metadata -1")
    return target


@pytest.fixture(scope="module")
def expected(predictor: Predictor, clip: Path) -> Prediction:
    answer = predictor.predict(clip)
    assert answer.confidence > 0.8 and not answer.warnings
    return answer


def check(predictor: Predictor, path: Path, expected: Prediction, pattern: str) -> None:
    """The same answer, with a sentence only where there is a pattern; or that sentence alone."""
    (answer,) = predictor.predict_many([path])
    if isinstance(answer, SerdemoError):
        assert pattern and re.search(pattern, str(answer)), answer
        return
    sentences = " ".join(answer.warnings)
    assert bool(sentences) == bool(pattern) and re.search(pattern, sentences), sentences
    if "could be read" in sentences or "telephone" in sentences:
        return  # what is missing, in length or in band, may change the answer
    assert answer.label == expected.label
    difference = answer.probabilities[expected.label] - expected.confidence
    assert abs(difference) <= WITHIN, difference


@pytest.mark.parametrize(("name", "arguments", "pattern"), kinds.FFMPEG)
def test_what_ffmpeg_writes(
    predictor: Predictor, clip: Path, expected: Prediction, name: str, arguments: str, pattern: str
) -> None:
    target = clip.parent / name
    kinds.by_ffmpeg(clip, target, arguments)
    check(predictor, target, expected, pattern)


@pytest.mark.skipif(shutil.which("sox") is None, reason="no sox program")
@pytest.mark.parametrize(("name", "arguments", "pattern"), kinds.SOX)
def test_what_sox_writes(
    predictor: Predictor, clip: Path, expected: Prediction, name: str, arguments: str, pattern: str
) -> None:
    target = clip.parent / name
    kinds.by_sox(clip, target, arguments)
    check(predictor, target, expected, pattern)


def made(clip: Path, name: str) -> Path:
    """A file of the table `FFMPEG`, or the clip for an empty name."""
    target = clip.parent / name
    if name and not target.exists():
        kinds.by_ffmpeg(clip, target, {row[0]: row[1] for row in kinds.FFMPEG}[name])
    return target if name else clip


@pytest.mark.parametrize(("name", "source", "change", "pattern"), kinds.BYTES)
def test_bytes_that_are_not_what_they_seem(
    predictor: Predictor, clip: Path, expected: Prediction, name, source, change, pattern
) -> None:
    target = clip.parent / name
    target.write_bytes(change(made(clip, source).read_bytes()))
    check(predictor, target, expected, pattern)


@pytest.mark.parametrize("name", kinds.GLUED)
def test_files_one_behind_the_other_are_all_read(clip: Path, name: str) -> None:
    source = made(clip, name)
    once = waveform.decode(source).duration_s
    target = clip.parent / f"three-{source.name}"
    target.write_bytes(3 * source.read_bytes())
    thrice = waveform.decode(target)
    assert thrice.duration_s == pytest.approx(3 * once, abs=0.1)
    assert thrice.notes == ()


def test_channels_and_offsets(
    predictor: Predictor, clip: Path, expected: Prediction, subtests: pytest.Subtests
) -> None:
    voice, rate = soundfile.read(clip, dtype="float32")
    for name, frames, pattern in kinds.channels(voice):
        with subtests.test(name):
            target = clip.parent / f"{name}.wav"
            soundfile.write(target, np.asarray(frames), rate, "FLOAT")
            check(predictor, target, expected, pattern)
