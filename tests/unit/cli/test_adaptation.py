"""Adaptation to a speaker on the command line: `predict --same-speaker`, `evaluate --adapt`, `listen`."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import bad_audio
from support.command import here

from serdemo.audio import waveform
from serdemo.cli.views.live import picture
from serdemo.data.corpora import load
from serdemo.evaluation.scoring import evaluate
from serdemo.inference.live_session import LiveState
from serdemo.inference.predictor import Predictor
from serdemo.inference.same_speaker import predict_same_speaker
from serdemo.inference.speaker_adaptation import estimate_offset
from serdemo.inference.speaker_prior import measure_speaker_prior, require_prior
from serdemo.nn.description import write_description
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Prediction


@pytest.fixture(scope="module")
def adaptive(
    tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path, corpus_root: Path
) -> Path:
    """The tiny checkpoint with a speaker prior."""
    folder = tmp_path_factory.mktemp("adaptive") / "tiny"
    shutil.copytree(tiny_checkpoint, folder)
    model = Predictor(folder, device="cpu")
    prior = measure_speaker_prior(model, load(str(corpus_root)))
    prior["offset_scale"] /= 4  # so that every voice is unlike those before
    write_description(folder, replace(model.description, speaker_prior=prior))
    return folder


def voices(tmp_path: Path) -> list[Path]:
    """Three recordings of one voice, the last long enough for several windows."""
    paths = []
    for number, seconds in enumerate((2.0, 3.0, 8.0)):
        paths.append(tmp_path / f"{number}.wav")
        paths[-1].write_bytes(bad_audio.wav(bad_audio.voice(seconds)))
    return paths


def test_every_recording_is_scored_less_the_offset_of_all(adaptive: Path, tmp_path: Path) -> None:
    predictor, paths = Predictor(adaptive, device="cpu"), voices(tmp_path)
    found = predict_same_speaker(predictor, paths)
    outputs = predictor.score_clips([waveform.decode(path) for path in paths], segments=True)
    rows = np.array([output.embedding for output in outputs])
    assert 9 < found.speech_s < 13
    seconds = [2.0, 3.0, 8.0]  # nearly: the pauses do not count
    offset = estimate_offset(require_prior(predictor), rows, seconds)
    for prediction, output in zip(found.predictions, outputs, strict=True):
        assert isinstance(prediction, Prediction)
        probabilities = list(prediction.probabilities.values())
        adapted = predictor.classify(output.embedding[None] - offset)[0]
        assert probabilities == pytest.approx(list(adapted), abs=0.05)
        assert np.abs(probabilities - output.probabilities).max() > 1e-3
    assert found == predict_same_speaker(predictor, paths)
    plain = list(predictor.predict_many(paths))
    for prediction, before in zip(found.predictions, plain, strict=True):
        assert isinstance(prediction, Prediction) and isinstance(before, Prediction)
        assert [s.end_s for s in prediction.segments] == [s.end_s for s in before.segments]
        assert (prediction.file, prediction.warnings) == (before.file, before.warnings)


def test_the_command_takes_recordings_of_one_person(adaptive: Path, tmp_path: Path) -> None:
    paths = voices(tmp_path)
    line = ("predict", *paths, "--checkpoint", adaptive, "--json")
    plain, adapted = here(*line), here(*line, "--same-speaker")
    assert adapted.code == 0 and "Used to this voice by" in adapted.err
    assert [row["file"] for row in adapted.json()] == [str(path) for path in paths]
    assert plain.json() != adapted.json()
    ran = here(*line, tmp_path / "none.wav", "--same-speaker")
    assert ran.code == 1 and json.loads(ran.out) == adapted.json()


def test_what_cannot_be_adapted_is_refused(
    adaptive: Path, tiny_checkpoint: Path, tmp_path: Path, corpus_root: Path
) -> None:
    one, *_ = voices(tmp_path)
    ran = here("predict", one, "--same-speaker", "--checkpoint", adaptive)
    assert ran.code == 2 and "One recording tells nothing of a person" in ran.err
    ran = here("predict", one, one, "--same-speaker", "--checkpoint", tiny_checkpoint)
    assert ran.code == 1 and "tiny cannot get used to a voice" in ran.err
    ran = here("evaluate", tiny_checkpoint, "--corpus", corpus_root, "--adapt", 3)
    assert ran.code == 1 and "tiny cannot get used to a voice" in ran.err
    model = Predictor(tiny_checkpoint, device="cpu")
    model.description = replace(model.description, neutral=[0.0] * 8)
    with pytest.raises(SerdemoError, match="by neutral speech only"):
        predict_same_speaker(model, [one, one])
    with pytest.raises(UsageError, match="two or more"):
        predict_same_speaker(Predictor(adaptive, device="cpu"), [])


def test_evaluate_gives_the_gain_of_every_corpus(adaptive: Path, corpus_root: Path) -> None:
    model, clips = Predictor(adaptive, device="cpu"), load(str(corpus_root))
    shifted = [replace(u, corpus="other") for u in clips[::2]]
    report = evaluate(model, "both", [*clips, *shifted], adapt=2)
    assert report.scores == evaluate(model, "both", [*clips, *shifted]).scores
    for part in (report, *report.by_corpus):
        assert part.adapted is not None and part.adapted.clips == 2
        assert part.adapted.difference == pytest.approx(part.adapted.uar - part.scores.uar)
        low, high = part.adapted.ci95
        assert low <= part.adapted.difference <= high
    alone = evaluate(
        model, "one", [replace(u, speaker=str(n)) for n, u in enumerate(clips)], adapt=2
    )
    assert alone.adapted is not None and alone.adapted.difference == 0  # nobody has other clips
    line = ("evaluate", adaptive, "--corpus", corpus_root, "--speakers", "all", "--adapt", 2)
    figures = json.loads(here(*line, "--json").out)["adapted"]
    assert set(figures) == {"clips", "uar", "difference", "ci95"}
    assert "used to each speaker by 2 other clips: UAR" in here(*line).out
    assert "adapted" not in here(*line[:-2], "--json").json()


def test_listen_shows_the_seconds_it_is_used_to_a_voice_by() -> None:
    assert "used to your voice: 41 s" in picture("voice", LiveState(adapted_s=40.6)).plain
    assert "used to your voice" not in picture("voice", LiveState()).plain
