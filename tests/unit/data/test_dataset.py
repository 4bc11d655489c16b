"""Clips in memory, balanced sampling, crops and batches, with workers and without."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from serdemo.audio import waveform
from serdemo.audio.augmentation import AugmentOptions
from serdemo.data.dataset import Batch, ClipDataset, collate
from serdemo.data.loader import scoring_batches, training_batches
from serdemo.data.sampling import BatchOptions, crop, sample_epoch, sampling_weights
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Utterance

LABELS = ("angry", "happy")
ROUGH = AugmentOptions(speed=1.0, noise=1.0, reverberation=1.0, bandlimit=1.0, gain=1.0)


def utterance(
    name: str, emotion: str = "angry", corpus: str = "x", speaker: str = "1"
) -> Utterance:
    return Utterance(Path(name), corpus, speaker, emotion, emotion)


@pytest.fixture(scope="module")
def some_clips(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    made = []
    for number, emotion in enumerate(("angry", "happy", "bored", "angry", "happy", "happy")):
        path = folder / f"{number}.wav"
        wave = 0.3 * rng.standard_normal(4000 - 500 * number)
        soundfile.write(path, wave, 16_000, subtype="FLOAT")
        made.append(utterance(str(path), emotion, "yx"[number % 2], str(number // 2)))
    return made


def test_padding() -> None:
    wave, lengths = collate([np.ones(3, np.float32), np.full(5, 2, np.float32)])
    assert lengths.tolist() == [3, 5]
    assert wave.tolist() == [[1, 1, 1, 0, 0], [2, 2, 2, 2, 2]]
    assert wave.dtype == torch.float32


def test_clips_know_who_says_what(some_clips: list[Utterance]) -> None:
    clips = ClipDataset(some_clips, LABELS, 1.0)
    assert len(clips) == 6
    assert clips.emotion.tolist() == [0, 1, -1, 0, 1, 1]
    assert clips.corpus.tolist() == [1, 0, 1, 0, 1, 0]  # x, y in sorted order
    assert clips.speaker.tolist() == [3, 0, 4, 1, 5, 2]  # x/0 x/1 x/2 y/0 y/1 y/2
    batch = clips.batch([4, 2], [clips.wave(4), clips.wave(2)])
    assert len(batch) == 2
    assert batch.lengths.tolist() == [2000, 3000]
    assert batch.emotion.tolist() == [1, -1]
    assert batch.index.tolist() == [4, 2]
    moved = batch.to(torch.device("cpu"))
    assert torch.equal(moved.wave, batch.wave)
    assert torch.equal(moved.speaker, batch.speaker)


@pytest.mark.parametrize("n_stored", [0, 1, 3, 6])
def test_the_memory_bound_changes_nothing_but_memory(
    some_clips: list[Utterance], n_stored: int
) -> None:
    sizes = [4000 - 500 * number for number in range(6)]
    clips = ClipDataset(some_clips, LABELS, (sum(sizes[:n_stored]) + 0.5) / 5e8)
    assert len(clips.ends) - 1 == n_stored
    assert len(clips.samples) == sum(sizes[:n_stored])
    for index, known in enumerate(some_clips):
        exact = waveform.decode(known.path).samples
        wave = clips.wave(index)
        assert wave.dtype == np.float32
        assert np.abs(wave - exact).max() <= np.abs(exact).max() / 65_000


@pytest.mark.parametrize("peak", [1e-5, 0.02, 1.0, 1.4, 20.0])
def test_samples_survive_storage_whatever_their_level(peak: float, tmp_path: Path) -> None:
    wave = np.sin(np.arange(2000) / 9).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", peak * wave / np.abs(wave).max(), 16_000, subtype="FLOAT")
    clips = ClipDataset([utterance(str(tmp_path / "a.wav"))], LABELS, 1.0)
    expected = waveform.decode(tmp_path / "a.wav").samples
    np.testing.assert_allclose(clips.wave(0), expected, atol=np.abs(expected).max() / 60_000)


def test_clips_known_to_be_too_many_are_not_decoded(some_clips: list[Utterance]) -> None:
    long = [replace(single, duration_s=0.25) for single in some_clips]
    missing = replace(long[-1], path=Path("missing.wav"))
    clips = ClipDataset([*long, missing], LABELS, 6 * 4000 / 5e8)  # room for six quarter seconds
    assert len(clips.ends) - 1 == 6


def test_a_clip_that_cannot_be_read_is_told_at_once(some_clips: list[Utterance]) -> None:
    with pytest.raises(SerdemoError, match=r"missing\.wav was not found"):
        ClipDataset([*some_clips, utterance("missing.wav")], LABELS, 1.0)


def test_no_clips_at_all() -> None:
    clips = ClipDataset([], LABELS, 1.0)
    assert len(clips) == 0
    assert list(scoring_batches(clips, 4)) == []


UNEVEN = [
    *[utterance(f"{n}", "angry", "big") for n in range(3)],
    utterance("3", "angry", "small"),
    *[utterance(f"{n}", "happy", "big") for n in (4, 5)],
]


@pytest.mark.parametrize(
    ("balance", "big_share"), [(0.0, 3 / 4), (0.5, 3**0.5 / (3**0.5 + 1)), (1.0, 1 / 2)]
)
def test_weights_by_hand(balance: float, big_share: float) -> None:
    expected = [big_share / 6] * 3 + [(1 - big_share) / 2] + [1 / 4] * 2
    weights = sampling_weights(UNEVEN, balance)
    np.testing.assert_allclose(weights, expected)
    assert weights.sum() == pytest.approx(1.0)


def test_an_epoch_is_a_pure_function_of_seed_and_number() -> None:
    weights = sampling_weights(UNEVEN, 0.5)
    options = BatchOptions(batch_size=2)
    once = sample_epoch(weights, options, 3, 5)
    np.random.default_rng().random(10)
    assert sample_epoch(weights, options, 3, 5) == once
    assert sample_epoch(weights, options, 3, 6) != once
    assert sample_epoch(weights, options, 4, 5) != once


def test_draws_keep_to_the_weights_with_the_least_repetition() -> None:
    rng = np.random.default_rng(0)
    weights = rng.random(97) ** 3
    weights /= weights.sum()
    options = BatchOptions(batch_size=8, min_crop=1.0, max_crop=2.0)
    total: Counter[int] = Counter()
    for epoch in range(40):
        plan = sample_epoch(weights, options, 0, epoch)
        assert len(plan) == math.ceil(97 / 8)
        assert {len(part) for part in plan} <= {7, 8}
        counts = Counter(index for part in plan for index, _, _ in part)
        assert counts.total() == 97
        for index, weight in enumerate(weights):
            expected = 97 * weight
            assert np.floor(expected - 1e-9) <= counts[index] <= np.ceil(expected + 1e-9)
        total += counts
        for part in plan:  # one crop for a batch, one seed for each clip
            assert len({seconds for _, seconds, _ in part}) == 1
            assert 1.0 <= part[0][1] <= 2.0
            assert len({seed for _, _, seed in part}) == len(part)
    shares = np.array([total[index] for index in range(97)]) / total.total()
    np.testing.assert_allclose(shares, weights, atol=0.003)


def test_even_weights_take_every_clip_once() -> None:
    plan = sample_epoch(np.full(10, 0.1), BatchOptions(batch_size=4), 0, 0)
    assert sorted(index for part in plan for index, _, _ in part) == list(range(10))
    single = sample_epoch(np.ones(1), BatchOptions(batch_size=4), 0, 0)
    assert [index for part in single for index, _, _ in part] == [0]


def test_crops() -> None:
    wave = np.arange(10, dtype=np.float32)
    rng = np.random.default_rng(0)
    starts = Counter()
    for _ in range(400):
        cut, start = crop(wave, 8, rng)
        assert len(cut) == 8
        assert start == cut[0]
        assert (np.diff(cut) == 1).all()
        starts[int(cut[0])] += 1
    assert set(starts) == {0, 1, 2}
    assert min(starts.values()) > 90
    for size in (10, 11):
        cut, start = crop(wave, size, rng)
        assert (cut == wave).all()
        assert start == 0


def same(first: Batch, second: Batch) -> bool:
    assert first.frames is second.frames is None
    tensors = set(Batch.__slots__) - {"frames"}
    return all(torch.equal(getattr(first, n), getattr(second, n)) for n in tensors)


@pytest.mark.slow
def test_worker_processes_prepare_the_same_batches(some_clips: list[Utterance]) -> None:
    clips = ClipDataset(some_clips, LABELS, 1.0)
    options = BatchOptions(batch_size=2, min_crop=0.1, max_crop=0.2)
    plan = sample_epoch(sampling_weights(some_clips, 0.5), options, 1, 0)
    state = torch.get_rng_state()
    sequential = list(training_batches(clips, plan, 0, ROUGH))
    parallel = list(training_batches(clips, plan, 2, ROUGH))
    # A resumed epoch must find torch's generator as an unbroken one would.
    assert torch.equal(torch.get_rng_state(), state)
    assert len(sequential) == len(parallel) == len(plan) == 3
    assert all(same(single, other) for single, other in zip(sequential, parallel, strict=True))
    # The rest of an epoch is the same as when it is prepared from the start.
    rest = list(training_batches(clips, plan[2:], 0, ROUGH))
    assert same(rest[0], sequential[2])
    for batch, part in zip(sequential, plan, strict=True):
        assert batch.index.tolist() == [index for index, _, _ in part]
        assert batch.wave.shape[1] <= int(np.ceil(part[0][1] * 16_000))
        assert torch.isfinite(batch.wave).all()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_clip_lost_on_the_way_is_one_sentence(some_clips: list[Utterance], workers: int) -> None:
    lost = replace(some_clips[0], path=Path("lost.wav"), duration_s=1.0)
    clips = ClipDataset([lost], LABELS, 0.0)
    with pytest.raises(SerdemoError) as caught:
        list(training_batches(clips, [[(0, 1.0, 0)]], workers, AugmentOptions()))
    assert str(caught.value) == "lost.wav was not found: check its name and folder."


def test_scoring_takes_every_clip_once_in_order_of_length(some_clips: list[Utterance]) -> None:
    clips = ClipDataset(some_clips, LABELS, 1.0)
    batches = list(scoring_batches(clips, 4))
    assert [batch.index.tolist() for batch in batches] == [[5, 4, 3, 2], [1, 0]]
    assert batches[1].lengths.tolist() == [3500, 4000]
    short = list(scoring_batches(clips, 6, max_seconds=0.125))
    assert sorted(short[0].lengths.tolist()) == [1500, 2000, 2000, 2000, 2000, 2000]
    np.testing.assert_array_equal(short[0].wave[-1, :2000], clips.wave(short[0].index[-1])[:2000])
