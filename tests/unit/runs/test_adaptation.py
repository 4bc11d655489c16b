"""One voice, from clips to a checkpoint: what is heard, the run, the command line, the bench."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from scipy.special import softmax
from support.command import EXAMPLES, here

from serdemo.audio import waveform
from serdemo.audio.waveform import SAMPLE_RATE
from serdemo.data.corpora import class_folders
from serdemo.evaluation.predictions import PredictionSet
from serdemo.experiments import adaptation as personal_bench
from serdemo.inference.novelty import measure_novelty
from serdemo.inference.predictor import Predictor
from serdemo.nn import checkpoint, description
from serdemo.runs.adaptation import features
from serdemo.runs.adaptation import run as personal_run
from serdemo.runs.adaptation.gain import GainEstimate
from serdemo.runs.crossval import PREDICTIONS, PROTOCOL
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import write_json
from serdemo.schema.types import Utterance
from serdemo.training.events import (
    EVENTS,
    STOP_FILE,
    EpochEnd,
    Failed,
    Finished,
    Started,
    Step,
    Stopped,
    read,
)

VOICES = {"angry": "english-quick-high.flac", "sad": "german-slow-low.flac"}


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`EMOTION/N.wav`: six takes each of two emotions, an emotion being another voice."""
    root = tmp_path_factory.mktemp("voice") / "recordings"
    for emotion, name in VOICES.items():
        samples = waveform.decode(EXAMPLES / name).samples
        (root / emotion).mkdir(parents=True)
        for take in range(6):
            start = round(take * 0.25 * SAMPLE_RATE)
            part = samples[start : start + round((1.5 + 0.1 * take) * SAMPLE_RATE)]
            soundfile.write(root / emotion / f"{take}.wav", part, SAMPLE_RATE)
    return root


@pytest.fixture(scope="session")
def predictor(tiny_checkpoint: Path) -> Predictor:
    return Predictor(tiny_checkpoint, device="cpu")


@pytest.fixture
def taught(recordings: Path, tiny_checkpoint: Path, tmp_path: Path) -> Callable[..., list[Any]]:
    """A function that carries out a run in `tmp_path / my-voice`."""

    def run(clips: list[Utterance] | None = None, **more: Any) -> list[Any]:
        values = {"init_from": str(tiny_checkpoint), "device": "cpu", **more.pop("values", {})}
        clips = class_folders.read(recordings) if clips is None else clips
        return list(personal_run.train(values, clips, tmp_path / "my-voice", **more))

    return run


# What is heard


@pytest.mark.parametrize("seconds", [0.8, 2.0, 5.0, 9.0])
def test_a_clip_is_answered_as_the_predictor_answers_it(
    predictor: Predictor, seconds: float
) -> None:
    samples = np.tile(waveform.decode(EXAMPLES / VOICES["sad"]).samples, 4)
    clip = waveform.from_array(samples[: round(seconds * SAMPLE_RATE)], SAMPLE_RATE)
    (found,) = features.extract_features(predictor, [clip])
    expected = list(predictor.predict(clip).probabilities.values())
    np.testing.assert_allclose(
        found.probabilities(features.head_of(predictor)), expected, atol=1e-5
    )
    assert found.has_speech
    assert found.weights.sum() == pytest.approx(1.0)
    assert found.views.shape == (1 + len(features.SPEEDS), predictor.model.options.embedding)
    assert np.abs(np.diff(found.views, axis=0)).max() > 1e-3  # the ways differ


def test_a_classifier_of_two_layers_is_taught_its_last(
    predictor: Predictor, tmp_path: Path
) -> None:
    described = predictor.description
    options = {**described.head_options, "classifier_width": 5}
    fresh = checkpoint.build(replace(described, head_options=options))
    checkpoint.save(tmp_path / "two", fresh, replace(described, head_options=options))
    two = Predictor(tmp_path / "two", device="cpu")
    clip = waveform.decode(EXAMPLES / VOICES["angry"])
    (found,) = features.extract_features(two, [clip])
    assert found.windows.shape[1] == 5
    expected = list(two.predict(clip).probabilities.values())
    np.testing.assert_allclose(found.probabilities(features.head_of(two)), expected, atol=1e-5)


def test_a_clip_does_not_depend_on_those_heard_with_it(predictor: Predictor) -> None:
    clips = [waveform.decode(EXAMPLES / name) for name in sorted(VOICES.values())]
    together = list(features.extract_features(predictor, clips))
    for clip, found in zip(clips, together, strict=True):
        (alone,) = features.extract_features(predictor, [clip])
        np.testing.assert_allclose(found.views, alone.views, atol=1e-4)


def test_silence_is_no_voice(predictor: Predictor) -> None:
    (found,) = features.extract_features(
        predictor, [waveform.from_array(np.zeros(SAMPLE_RATE), SAMPLE_RATE)]
    )
    assert not found.has_speech


# The run


def test_a_run_leaves_what_every_run_leaves(
    taught: Callable[..., list[Any]], tmp_path: Path, tiny_checkpoint: Path, recordings: Path
) -> None:
    command = "serdemo train personal --corpus x --run runs/my-voice"
    events = taught(command=command)
    run, model = tmp_path / "my-voice", tmp_path / "my-voice" / "checkpoint"
    assert [type(event) for event in events[:2]] == [Started, Step]
    assert isinstance(events[-1], Finished)
    ended = next(event for event in events if isinstance(event, EpochEnd))
    assert sum(map(sum, ended.confusion)) == 12
    assert events == list(read(run / EVENTS)) == list(read(model / EVENTS))
    assert events[0].steps == events[-1].step == 13
    config = json.loads((run / "config.json").read_text())
    assert config["recipe"] == "personal" and config["command"] == command

    described, start = (
        description.read_description(model),
        description.read_description(tiny_checkpoint),
    )
    told = described.metrics["voice"]
    assert described.name == "my-voice" and described.recipe == "personal"
    assert described.trained_on == {**start.trained_on, "recordings": ["unknown"]}
    assert told["start"] == "tiny" and told["clips"] == {"angry": 6, "sad": 6}
    assert told["heads"] == 6 and told["n"] == 12  # one clip of each emotion is held out
    assert told["left_out_uar"] == ended.metrics["left_out_uar"]
    assert "test" not in described.metrics  # the figures of another model
    card = (model / "README.md").read_text()
    low, high = told["gain_ci95"]
    verdict = GainEstimate(told["gain"], low, high).verdict
    assert verdict in card and f"{told['left_out_uar']:.1%} after" in card
    assert events[-1].note == verdict
    assert "6 angry, 6 sad" in card and str(tmp_path) not in card

    before, after = checkpoint.load(tiny_checkpoint)[0], checkpoint.load(model)[0]
    changed = {
        name
        for name, value in after.state_dict().items()
        if not value.equal(before.state_dict()[name].half().float())
    }
    assert changed <= {"classifier.weight", "classifier.bias"}
    predictor = Predictor(model, device="cpu")
    answers = [predictor.predict(u.path).label for u in class_folders.read(recordings)]
    assert answers.count("angry") and answers.count("sad")


@pytest.mark.parametrize("calibrated_for_strangers", [False, True])
def test_the_model_that_is_saved_answers_as_it_was_taught(
    predictor: Predictor, recordings: Path, tmp_path: Path, calibrated_for_strangers: bool
) -> None:
    if calibrated_for_strangers:  # of which the adapted model keeps nothing
        folder = shutil.copytree(predictor.folder, tmp_path / "calibrated")
        size = predictor.description.head_options["embedding"]
        novelty = measure_novelty(np.full((2, size), 9.0, np.float32), ["a", "a"], slope=2.0)
        start = description.read_description(folder)
        description.write_description(folder, replace(start, novelty=novelty))
        predictor = Predictor(folder, device="cpu")
    clips = class_folders.read(recordings)
    heard = list(features.extract_features(predictor, [waveform.decode(u.path) for u in clips]))
    truth = [predictor.labels.index(u.emotion) for u in clips]
    lesson = features.adapt(predictor, heard, truth)
    features.save(predictor, lesson, clips, tmp_path / "me" / "checkpoint")
    saved = Predictor(tmp_path / "me" / "checkpoint", device="cpu")
    for clip, one in zip(clips, heard, strict=True):
        found = list(saved.predict(clip.path).probabilities.values())
        np.testing.assert_allclose(found, one.probabilities(lesson.adapted.head), atol=5e-3)
    assert lesson.adapted.before.shape == (12, 3)
    np.testing.assert_allclose(
        softmax(lesson.adapted.before, axis=1)[0],
        softmax(features.head_of(predictor).logits(heard[0].views[:1])[0]),
    )


def test_a_run_that_is_stopped_says_so_and_begins_again(
    taught: Callable[..., list[Any]], tmp_path: Path
) -> None:
    events = taught(stop_after=0.0)
    assert isinstance(events[-1], Stopped) and "nothing" not in events[-1].reason
    assert not (tmp_path / "my-voice" / "checkpoint").exists()
    with pytest.raises(UsageError, match="already holds a run"):
        taught()
    (tmp_path / "my-voice" / STOP_FILE).touch()
    os.utime(tmp_path / "my-voice" / STOP_FILE, (1e9, 1e9))  # of an earlier process
    assert isinstance(taught(resume=True)[-1], Finished)
    assert isinstance(taught(resume=True)[-1], Finished)  # taught anew, in the same place
    assert isinstance(taught(resume=True, stop_reason=lambda: "asked to stop")[-1], Stopped)
    assert (tmp_path / "my-voice" / "checkpoint" / "model.json").exists()


@pytest.mark.slow
def test_clips_that_cannot_teach_are_left_out_and_named(
    taught: Callable[..., list[Any]], recordings: Path, tmp_path: Path
) -> None:
    clips = class_folders.read(recordings)
    broken, mute = tmp_path / "broken.wav", tmp_path / "mute.wav"
    broken.write_bytes(b"no sound")
    soundfile.write(mute, np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    more = [
        replace(clips[0], path=broken),
        replace(clips[0], path=mute),
        replace(clips[0], emotion="boredom"),
        replace(clips[0], emotion="happy"),
    ]
    note = taught([*clips, *more])[-1].note
    for words in (
        "broken.wav",
        "No speech was found in mute.wav",
        "The model knows no boredom",
        "Only one clip of happy was given",
    ):
        assert words in note
    described = description.read_description(tmp_path / "my-voice" / "checkpoint")
    assert described.metrics["voice"]["clips"] == {"angry": 6, "sad": 6}


def test_an_emotion_left_with_one_clip_that_is_heard_is_left_out(
    taught: Callable[..., list[Any]], recordings: Path, tmp_path: Path
) -> None:
    clips = class_folders.read(recordings)
    mute = tmp_path / "mute.wav"
    soundfile.write(mute, np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    happy = [replace(clips[0], emotion="happy", path=path) for path in (clips[0].path, mute)]
    ended = taught([*happy, *clips])[-1]
    assert isinstance(ended, Finished)
    assert "Only one clip of happy could be heard, so it was left out." in ended.note
    described = description.read_description(tmp_path / "my-voice" / "checkpoint")
    assert described.metrics["voice"]["clips"] == {"angry": 6, "sad": 6}


def test_what_cannot_be_taught_is_one_sentence(
    taught: Callable[..., list[Any]], recordings: Path, tmp_path: Path
) -> None:
    clips = class_folders.read(recordings)
    two = [*clips, *(replace(u, speaker="other") for u in clips)]
    for wrong, values, words in (
        (clips[:1], {}, "two clips each of two emotions"),
        (clips[:6], {}, "two clips each of two emotions"),
        ([], {}, "two clips each of two emotions"),
        (two, {}, "of 2 speakers .* name one of them with --speaker"),
        (clips, {"speaker": "nobody"}, "no speaker 'nobody'"),
        (clips, {"init_from": "nowhere"}, "nowhere"),
        (clips, {"depth": 3}, "no option 'depth'"),
    ):
        with pytest.raises(SerdemoError, match=words) as told:
            taught(wrong, values=values)
        assert "\n" not in str(told.value)
    assert not (tmp_path / "my-voice").exists()
    assert isinstance(taught(two, values={"speaker": "other"})[-1], Finished)


def test_what_goes_wrong_inside_is_the_last_event(
    taught: Callable[..., list[Any]], recordings: Path, tmp_path: Path
) -> None:
    mute = tmp_path / "mute.wav"
    soundfile.write(mute, np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    with pytest.raises(SerdemoError, match="two clips each of two emotions"):
        taught([replace(u, path=mute) for u in class_folders.read(recordings)])
    *_, last = read(tmp_path / "my-voice" / EVENTS)
    assert isinstance(last, Failed) and "No speech was found in mute.wav" in last.message


# The command line and the bench


def test_the_command_line(recordings: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    run = tmp_path / "me"
    told = ("train", "personal", "--corpus", recordings, "--start", tiny_checkpoint, "--run", run)
    done = here(*told, "--device", "cpu")
    assert done.code == 0, done.err
    assert "n other clips of this voice" in " ".join(done.err.split())
    answer = here("predict", recordings, "--checkpoint", run / "checkpoint", "--json").json()
    assert len(answer) == 12 and set(answer[0]["probabilities"]) == {"angry", "happy", "sad"}
    again = here(*told)
    assert again.code == 2 and "already holds a run" in again.err
    assert here("crossval", "personal", "--by", "speaker", "--corpus", "x").code == 2
    assert "personal" in here("train", "--help").out


def test_the_bench_measures_before_and_after(
    recordings: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    bench = ("bench", "personal", "--corpus", recordings, "--checkpoint", tiny_checkpoint)
    told = here(*bench, "--shots", 3, "--draws", 4, "--threads", 1, "--json").json()
    assert told["draws"] == 4 and told["shots"] == 3 and told["checkpoint"] == "tiny"
    (one,) = told["speakers"]
    assert one["speaker"] == "recordings/unknown" and one["clips"] == 12
    assert told["gain"] == pytest.approx(one["uar"] - one["uar_before"])
    for between in ("gain_p025_p975", "gain_ci95"):
        assert told[between][0] <= told["gain"] <= told[between][1]
    assert told["estimated_gain"] == pytest.approx(one["estimated_gain"])
    assert told["coverage"] in (0, 0.25, 0.5, 0.75, 1) and told["denied"] in (0, 0.25, 0.5, 0.75, 1)
    assert 0 < told["seconds"] <= told["most_seconds"] < 60
    shown = here(*bench, "--shots", 3, "--draws", 4, "--threads", 1)
    assert f"gain {100 * told['gain']:+.1f} points" in shown.out
    few = here(*bench[:3], tmp_path / "few", *bench[4:])
    assert few.code == 2 and "There is no corpus" in few.err


def test_the_bench_reads_models_that_left_a_corpus_out(
    recordings: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    clips, start = class_folders.read(recordings), description.read_description(tiny_checkpoint)
    corpora = {"x": clips, "y": clips[:1]}  # y has too few clips
    for corpus, own in corpora.items():
        fold = tmp_path / "run" / f"1-unseen-{corpus}" / "seed-0"
        shutil.copytree(tiny_checkpoint, fold / "checkpoint")
        predictions = PredictionSet(
            start.labels,
            files=tuple(u.path.as_posix() for u in own),
            corpora=(corpus,) * len(own),
            speakers=(f"{corpus}/1",) * len(own),
            truth=tuple(u.emotion for u in own),
            probabilities=((0.4, 0.3, 0.3),) * len(own),
        )
        write_json(fold / PREDICTIONS, predictions.to_json())
    bench = ("bench", "personal", "--left-out", tmp_path / "run", "--draws", 2, "--max-clips", 4)
    wrong = here(*bench)
    assert wrong.code == 2 and "holds no cross-validation" in wrong.err
    write_json(tmp_path / "run" / PROTOCOL, {"by": "one-corpus-out"})
    shown = here(*bench, "--threads", 1)
    assert "Mean of 1 models: gain" in shown.out and "y: No speaker here has four" in shown.err
    (only,) = here(*bench, "--threads", 1, "--json").json()
    assert only["corpora"] == ["x"]
    assert only["speakers"][0]["speaker"] == "x/1" and only["speakers"][0]["clips"] == 8


def test_a_speaker_with_too_few_clips_is_not_measured(
    predictor: Predictor, recordings: Path
) -> None:
    clips = class_folders.read(recordings)
    few = [u for u in clips if u.path.stem in "012"]
    with pytest.raises(SerdemoError, match="four clips each of two emotions"):
        personal_bench.measure(predictor, few, draws=2)


def test_the_interval_is_over_speakers_and_draws() -> None:
    same = np.full((4, 5), 0.1)
    assert personal_bench.interval(same) == pytest.approx((0.1, 0.1))
    by_speaker = np.repeat([[0.0], [0.2]], 5, axis=1)
    assert personal_bench.interval(by_speaker) == pytest.approx((0.0, 0.2))
    by_draw = np.tile([0.0, 0.2], (30, 1))
    low, high = personal_bench.interval(by_draw)
    assert 0.07 < low < 0.1 < high < 0.13
