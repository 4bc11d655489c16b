"""`--hear-once`: a frozen encoder hears each clip once, and training goes on from its frames."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.command import here
from support.unbroken import Begin

from serdemo.audio import waveform
from serdemo.data.array_cache import CacheOptions
from serdemo.data.dataset import ClipDataset
from serdemo.data.splits import Split
from serdemo.evaluation.predictions import PredictionSet
from serdemo.inference.predictor import Predictor
from serdemo.nn import checkpoint, checkpoint_files
from serdemo.nn.encoders.mel import SpectralEncoder
from serdemo.nn.model import HeadOptions, Model
from serdemo.runs import crossval, estimate, training_run
from serdemo.runs.estimate import time_dry_run
from serdemo.schema.errors import UsageError
from serdemo.schema.files import read_json
from serdemo.schema.types import Utterance
from serdemo.training.events import EpochEnd, Finished, Step
from serdemo.training.recipes.cached_clips import CachedClips
from serdemo.training.recipes.cross_corpus import CrossCorpus
from serdemo.training.recipes.frozen_features import FrameCache
from serdemo.training.recipes.speaker_clusters import SpeakerClusters
from serdemo.training.recipes.supervised import Supervised

FROZEN: Mapping[str, Any] = {"freeze": "all", "layer_pooling": "last", "cache_features": True}


@pytest.fixture
def frozen(sources: dict[str, Path], tmp_path: Path) -> dict[str, Any]:
    """Options of a run on the frames of a small HuBERT."""
    cache = str(tmp_path / "cache")
    return {**FROZEN, "encoder": "hubert", "source": str(sources["hubert"]), "cache": cache}


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every clip that the encoder hears."""
    lengths: list[int] = []
    compute = FrameCache.compute

    def counted(frames: FrameCache, samples: np.ndarray) -> np.ndarray:
        lengths.append(len(samples))
        return compute(frames, samples)

    monkeypatch.setattr(FrameCache, "compute", counted)
    return lengths


def test_a_clip_is_heard_once(
    begin_two: Begin, frozen: dict[str, Any], two_split: Split, computed: list[int], tmp_path: Path
) -> None:
    events = list(begin_two(tmp_path / "run", **frozen, epochs=3, contrast_epochs=2))
    assert isinstance(events[-1], Finished)
    assert sum(isinstance(e, EpochEnd) for e in events) == 5
    silence = 160_000  # by which each stage learns how many frames a second has
    clips = [length for length in computed if length != silence]
    assert len(clips) == len(two_split.train) + len(two_split.valid) == 24
    list(begin_two(tmp_path / "again", **frozen, epochs=1, contrast_epochs=0))
    assert [length for length in computed if length != silence] == clips


def test_what_was_heard_is_scored_without_hearing_it_again(
    frozen: dict[str, Any],
    tiny_values: dict[str, Any],
    split: Split,
    computed: list[int],
    tmp_path: Path,
) -> None:
    values = {**tiny_values, **frozen}
    for _ in training_run.train("supervised", values, split, tmp_path / "run"):
        pass
    assert len(split.test) > 0
    everyone = len(split.train) + len(split.valid) + len(split.test)
    assert len([n for n in computed if n != 160_000]) == everyone
    crossval.save_predictions("supervised", values, split, tmp_path / "run")
    assert len([n for n in computed if n != 160_000]) == everyone
    predictions = PredictionSet.from_json(read_json(tmp_path / "run" / crossval.PREDICTIONS))
    plain = Predictor(tmp_path / "run" / "checkpoint", device="cpu")
    for file, row in zip(predictions.files, predictions.probabilities, strict=True):
        answer = plain.predict(file).probabilities
        assert [answer[label] for label in predictions.labels] == pytest.approx(row, abs=1e-3)


@pytest.mark.parametrize("gain", [1.0, 0.013, 1e-5, 0.0])
def test_a_sound_is_the_same_however_it_is_held(
    gain: float, clips: list[Utterance], tmp_path: Path
) -> None:
    model = Model(SpectralEncoder("mfcc"), ("angry", "happy"), HeadOptions())
    frames = FrameCache(model, CacheOptions(cache=str(tmp_path)))
    wave = gain * waveform.decode(clips[0].path).samples
    stored, scale = waveform.to_scaled_int16(wave)
    frames.of_samples(wave)
    frames.of_samples(stored * np.float32(scale))
    assert frames.n_computed == 1
    frames.of_samples(wave[:-1])
    frames.of_samples(wave * 1.01 + (0.0 if gain else 0.5))
    assert frames.n_computed == 3


def test_frames_are_those_of_the_clip_alone(
    begin_two: Begin, frozen: dict[str, Any], clips: list[Utterance], tmp_path: Path
) -> None:
    list(begin_two(tmp_path / "run", **frozen, epochs=1, contrast_epochs=0))
    model, _ = checkpoint.load(tmp_path / "run" / "checkpoint")
    known = ClipDataset(clips[:3], model.labels)
    cached = CachedClips(known, FrameCache(model, CacheOptions(cache=str(tmp_path / "other"))))
    rate = cached.cache.rows_per_s
    assert rate == pytest.approx(50, abs=0.5)
    batch = cached.starts([0, 1, 2])
    assert batch.frames is not None
    assert batch.frames.shape == (3, int(batch.lengths.max()), 24)
    assert batch.wave.shape == (3, 0)
    for index in range(3):
        wave = torch.from_numpy(known.wave(index))[None]
        with torch.inference_mode():
            alone = model.logits(wave, torch.tensor([wave.shape[1]]))[0]
            together = model.classify(model.embed_batch(batch))[index]
        assert torch.allclose(alone, together, atol=2e-3)  # half precision
    assert np.array_equal(cached.wave(0), known.wave(0))
    assert batch.span[0, 1] == pytest.approx(known.seconds(0), abs=0.03)
    (drawn,) = cached.batches([[(1, 0.2, 7), (2, 9.0, 8)]], 0, known)
    assert drawn.lengths.tolist() == [10, batch.lengths[2]]
    start, end = drawn.span[0].tolist()
    at = round(start * rate)
    assert end - start == pytest.approx(0.2, abs=0.01)
    assert drawn.frames is not None
    assert np.array_equal(drawn.frames[0, :10].numpy(), cached.features(1)[at : at + 10])


@pytest.mark.slow
def test_eight_clips_are_learnt_by_heart(
    begin_two: Begin, frozen: dict[str, Any], two: list[Utterance], tmp_path: Path
) -> None:
    eight = tuple(u for u in two if u.emotion != "happy" and u.speaker in ("cleo", "dora"))
    assert len(eight) == 8
    options = dict(epochs=200, contrast_epochs=20, learning_rate=1e-2, smoothing=0.0, ema_decay=0.5)
    events = list(begin_two(tmp_path / "run", of=Split(train=eight), **{**frozen, **options}))
    assert [e.loss for e in events if isinstance(e, Step)][-1] < 0.1
    predictor = Predictor(tmp_path / "run" / "checkpoint", device="cpu")
    assert all(predictor.predict(u.path).label == u.emotion for u in eight)


def test_clusters_are_found_in_the_sound(
    frozen: dict[str, Any],
    tiny_values: dict[str, Any],
    tiny_checkpoint: Path,
    split: Split,
    computed: list[int],
    tmp_path: Path,
) -> None:
    own = {
        "cluster_epochs": 2,
        "k": 2,
        "clips_per_speaker": 4,
        "embeddings": str(tiny_checkpoint),
    }
    values = {**tiny_values, **frozen, **own}
    events = list(training_run.train("speaker_clusters", values, split, tmp_path / "run"))
    assert isinstance(events[-1], Finished)
    assert sum(isinstance(e, Step) for e in events) == 2 * 3 + 2 * 3
    everyone = len(split.train) + len(split.valid) + len(split.test)
    assert len([n for n in computed if n != 160_000]) == everyone


def test_the_encoder_stays_as_it_was(
    frozen: dict[str, Any], tiny_values: dict[str, Any], split: Split, tmp_path: Path
) -> None:
    values = {**tiny_values, **frozen}
    for _ in training_run.train("supervised", values, split, tmp_path / "run"):
        pass
    model, description = checkpoint.load(tmp_path / "run" / "checkpoint")
    fresh = Supervised.from_values(
        {k: v for k, v in values.items() if k not in ("device", "precision")}
    )
    initial = checkpoint.build(fresh.describe(split))
    fresh.init_weights(initial)
    own, first = model.encoder.state_dict(), initial.encoder.state_dict()
    assert all(torch.equal(own[name].half(), first[name].half()) for name in first)
    assert description.options["cache_features"] is True


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"freeze": "lower-half"}, "of which nothing is trained"),
        ({"layer_pooling": "weighted"}, "of which nothing is trained"),
        ({"lora_rank": 2}, "of which nothing is trained"),
        ({"encoder": "compact", "source": ""}, "of which nothing is trained"),
        ({"pooling": "cnn"}, "recipe ssl_cnn"),
    ],
)
def test_where_it_cannot_be_it_is_refused(
    frozen: dict[str, Any], split: Split, changed: dict[str, Any], message: str
) -> None:
    kinds = (Supervised, CrossCorpus, SpeakerClusters)
    for kind in kinds:
        with pytest.raises(UsageError, match=message):
            kind.from_values({**frozen, **changed}).describe(split)


def test_what_was_never_trained_may_be_heard_once(split: Split, tmp_path: Path) -> None:
    values = {"encoder": "mfcc", "cache_features": True, "cache": str(tmp_path)}
    assert Supervised.from_values(values).describe(split).encoder == "mfcc"


@pytest.mark.slow
def test_only_the_first_pass_is_slow(
    frozen: dict[str, Any],
    tiny_values: dict[str, Any],
    split: Split,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compute = FrameCache.compute

    def slow(frames: FrameCache, samples: np.ndarray) -> np.ndarray:
        time.sleep(0.05)
        return compute(frames, samples)

    monkeypatch.setattr(FrameCache, "compute", slow)
    took = time_dry_run("supervised", {**tiny_values, **frozen}, split)
    (stage,) = took.stages
    assert stage.first_pass_s > 0.02 > stage.train_s
    one, many = (
        estimate.estimate_duration(
            "supervised", {**tiny_values, **frozen, "epochs": n}, split, time_dry_run
        )
        for n in (1, 9)
    )
    assert many.training < 9 * one.training


def test_from_the_command_line(
    sources: dict[str, Path], corpus_root: Path, tiny_values: dict[str, Any], tmp_path: Path
) -> None:
    flags = ["--encoder", "hubert", "--source", str(sources["hubert"]), "--freeze", "all"]
    flags += ["--mix", "last", "--hear-once", "--cache", str(tmp_path / "cache"), "--epochs", "2"]
    flags += ["--workers", "0", "--valid", "simple/cleo", "--test", "simple/dora"]
    run = tmp_path / "run"
    arguments = ["train", "supervised", "--corpus", str(corpus_root), "--run", str(run), *flags]
    done = here(*arguments)
    assert done.code == 0, done.err
    assert (run / "checkpoint" / checkpoint_files.WEIGHTS).exists()
    assert next((tmp_path / "cache").glob("frames-*/*.f16.npy")).stat().st_size > 0
