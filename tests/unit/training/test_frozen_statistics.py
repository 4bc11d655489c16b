"""`--cache-features` with `--pooling mean-std`: cached statistics of every hidden state, and views."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.small_encoders import make_encoder
from support.unbroken import Begin

from serdemo.audio.augmentation import AugmentOptions
from serdemo.data.array_cache import CacheOptions
from serdemo.data.dataset import ClipDataset
from serdemo.data.sampling import BatchOptions
from serdemo.data.splits import Split
from serdemo.inference.predictor import Predictor
from serdemo.nn import checkpoint
from serdemo.nn.encoders.mel import SpectralEncoder
from serdemo.nn.model import HeadOptions, Model
from serdemo.nn.pooling import MeanDeviationPooling
from serdemo.runs import training_run
from serdemo.schema.errors import UsageError
from serdemo.schema.types import Utterance
from serdemo.training.events import Finished
from serdemo.training.recipes.cached_clips import CachedClips
from serdemo.training.recipes.frozen_features import (
    FeatureCache,
    StatisticsCache,
    Views,
    cached_features,
    feature_cache,
)
from serdemo.training.recipes.supervised import Supervised

STATISTICS: Mapping[str, Any] = {
    **{"freeze": "all", "cache_features": True, "pooling": "mean-std"},
    **{"layer_pooling": "concat", "keep_layers": 3, "hidden_states": "2,3"},
}
HEADS = HeadOptions(embedding=8, projection=8, pooling="mean-std")
VIEWS = Views(2, BatchOptions(min_crop=0.2, max_crop=0.4), AugmentOptions(speed=0, gain=1))


@pytest.fixture
def statistics(sources: dict[str, Path], tmp_path: Path) -> dict[str, Any]:
    """Options of a run on the statistics of a small Whisper."""
    cache = str(tmp_path / "cache")
    return {**STATISTICS, "encoder": "whisper", "source": str(sources["whisper"]), "cache": cache}


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every clip or view that the encoder encodes."""
    lengths: list[int] = []
    compute = StatisticsCache.compute_many

    def counted(cache: StatisticsCache, samples: Any) -> list[np.ndarray]:
        lengths.extend(map(len, samples))
        return compute(cache, samples)

    monkeypatch.setattr(StatisticsCache, "compute_many", counted)
    return lengths


def make(sources: dict[str, Path], **options: Any) -> Model:
    torch.manual_seed(0)
    encoder = make_encoder(sources, "whisper", freeze="all", **options)
    return Model(encoder, ("angry", "sad"), HEADS).eval()


def open_cache(model: Model, folder: Path, views: Views = VIEWS) -> FeatureCache:
    return feature_cache(model, CacheOptions(cache=str(folder)), views)


@torch.inference_mode()
def test_the_pooling_of_two_frames_gives_the_statistics_of_the_clip(
    sources: dict[str, Path], clips: list[Utterance], tmp_path: Path
) -> None:
    waves = ClipDataset(clips[:5], ("angry", "sad"))
    for options in (
        dict(hidden_states="1,3", layer_pooling="concat", keep_layers=3),
        dict(hidden_states="2", layer_pooling="last"),
        dict(layer_pooling="last"),
    ):
        model = make(sources, **options)
        batch = CachedClips(waves, open_cache(model, tmp_path)).starts(range(5))
        assert batch.frames is not None and batch.frames.shape[1] == 2
        own = waves.starts(range(5))
        pooled = model.pooling(*model.encode_batch(own))
        torch.testing.assert_close(
            model.pooling(*model.encode_batch(batch)), pooled, atol=2e-4, rtol=1e-3
        )


def test_other_states_need_no_further_encoding(
    sources: dict[str, Path], clips: list[Utterance], tmp_path: Path, computed: list[int]
) -> None:
    waves = ClipDataset(clips[:4], ("angry", "sad"))
    for states, layer_pooling in (("2,3", "concat"), ("0", "concat"), ("1,2", "last")):
        model = make(sources, hidden_states=states, layer_pooling=layer_pooling, keep_layers=3)
        model.encoder.layer_weights.data += 1  # type: ignore[operator, union-attr]
        open_cache(model, tmp_path).fill(waves, range(4))
    assert len(computed) == 4
    open_cache(make(sources, keep_layers=2), tmp_path).fill(waves, range(4))
    assert len(computed) == 8


def test_a_clip_is_encoded_alike_in_any_company(
    sources: dict[str, Path], clips: list[Utterance], tmp_path: Path
) -> None:
    waves = ClipDataset(clips[:12], ("angry", "sad"))
    cache = open_cache(make(sources), tmp_path)
    samples = [waves.wave(index)[: 4000 + 731 * index] for index in range(12)]
    alone = [cache.compute(wave) for wave in samples]
    for one, other in zip(alone, cache.compute_many(samples), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4, rtol=1e-4)
    assert alone[0].shape == (2 * 5, 64)


def test_views_are_crops_that_depend_on_clip_and_number_alone(
    sources: dict[str, Path], clips: list[Utterance], tmp_path: Path, computed: list[int]
) -> None:
    model = make(sources, hidden_states="3", layer_pooling="concat")
    one, two = (ClipDataset(part, ("angry", "sad")) for part in (clips[:4], clips[3:0:-1]))
    cache = open_cache(model, tmp_path / "a")
    cache.fill(one, range(4), 2)
    assert len(computed) == 12
    cut = [length for length in computed if length <= 0.4 * 16000]
    assert len(cut) >= 8 and min(cut) >= 0.2 * 16000
    other = open_cache(model, tmp_path / "b")
    for number in range(3):
        mine, theirs = cache.of_clip(one, 3, number), other.of_clip(two, 0, number)
        np.testing.assert_allclose(mine, theirs, atol=1e-4, rtol=1e-4)
    plain, first, second = (cache.of_clip(one, 3, number) for number in range(3))
    assert not np.allclose(plain, first) and not np.allclose(first, second)
    del computed[:]
    changed = Views(2, VIEWS.crops, AugmentOptions(speed=0, gain=1, noise=1))
    open_cache(model, tmp_path / "a", changed).fill(one, range(4), 2)
    assert len(computed) == 8  # the clips as they are stay


def test_a_batch_draws_among_the_views(
    sources: dict[str, Path], clips: list[Utterance], tmp_path: Path, computed: list[int]
) -> None:
    model = make(sources, hidden_states="3", layer_pooling="concat")
    cached = CachedClips(ClipDataset(clips[:3], ("angry", "sad")), open_cache(model, tmp_path))
    plan = [[(0, 1.0, seed) for seed in range(40)]]
    (batch,) = cached.batches(plan, 0, ClipDataset((), ("angry",)))
    assert batch.frames is not None and batch.frames.shape[:2] == (40, 2)
    assert len({float(row.sum()) for row in batch.frames}) == 3
    assert len(computed) == 9  # those that the plan lacks, too: later epochs find them
    (again,) = cached.batches(plan, 0, ClipDataset((), ("angry",)))
    assert again.frames is not None and torch.equal(batch.frames, again.frames)


def test_spectral_frames_have_statistics_too(clips: list[Utterance], tmp_path: Path) -> None:
    model = Model(SpectralEncoder("mfcc"), ("angry", "sad"), HEADS).eval()
    cached = CachedClips(ClipDataset(clips[:2], ("angry", "sad")), open_cache(model, tmp_path))
    batch = cached.starts([0, 1])
    assert batch.frames is not None and batch.frames.shape == (2, 2, 40)


def test_a_run_on_statistics_answers_as_its_checkpoint_does(
    statistics: dict[str, Any],
    tiny_values: dict[str, Any],
    split: Split,
    tmp_path: Path,
    computed: list[int],
) -> None:
    values = {**tiny_values, **statistics, "views": 2, "epochs": 2}
    events = list(training_run.train("supervised", values, split, tmp_path / "run"))
    assert isinstance(events[-1], Finished)
    n_clips = 3 * len(split.train) + len(split.valid) + len(split.test)
    assert len(computed) == n_clips
    folder = tmp_path / "run" / "checkpoint"
    model, description = checkpoint.load(folder)
    assert isinstance(model.pooling, MeanDeviationPooling) and model.pooling.is_standardised
    pooled = ClipDataset(split.train, model.labels)
    with torch.inference_mode():
        rows = model.pooling(*model.encode_batch(pooled.starts(range(len(pooled)))))
    assert rows.mean().abs() < 0.3 and 0.5 < rows.std() < 1.5
    plain = Predictor(folder, device="cpu").probabilities([pooled.wave(0)])
    cache = CacheOptions(cache=statistics["cache"])
    cached = Predictor(folder, device="cpu", feature_fn=partial(cached_features, options=cache))
    answer = cached.probabilities([pooled.wave(0)])
    np.testing.assert_allclose(plain, answer, atol=1e-2)  # the weights saved are rounded
    list(
        training_run.train(
            "supervised", {**values, "hidden_states": "1", "seed": 1}, split, tmp_path / "two"
        )
    )
    assert len(computed) == n_clips
    assert description.encoder_options["hidden_states"] == "2,3"


def test_both_stages_of_contrast_train_on_statistics(
    begin_two: Begin,
    statistics: dict[str, Any],
    two_split: Split,
    tmp_path: Path,
    computed: list[int],
) -> None:
    options = {**statistics, "views": 1, "epochs": 2, "contrast_epochs": 2}
    events = list(begin_two(tmp_path / "run", **options))
    assert isinstance(events[-1], Finished)
    assert len(computed) == 2 * len(two_split.train) + len(two_split.valid)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"layer_pooling": "weighted"}, "of which nothing is trained"),
        ({"pooling": "mean", "views": 1}, "--views needs --pooling mean-std"),
        ({"hidden_states": "4"}, "above the last of 3"),
    ],
)
def test_where_it_cannot_be_it_is_refused(
    statistics: dict[str, Any], split: Split, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        Supervised.from_values({**statistics, **changed}).describe(split)
