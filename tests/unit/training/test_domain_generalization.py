"""What keeps a model from leaning on corpora and voices: by hand, and in whole runs."""

from __future__ import annotations

from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from serdemo.audio.augmentation import CODECS, AugmentOptions, augment, code
from serdemo.data import corpora
from serdemo.data.dataset import ClipDataset
from serdemo.data.sampling import sampling_weights
from serdemo.data.splits import Split, by_speakers
from serdemo.nn import checkpoint, losses
from serdemo.schema.errors import UsageError
from serdemo.schema.types import Utterance
from serdemo.training.events import Finished, Step
from serdemo.training.fit import fit
from serdemo.training.options import TrainOptions
from serdemo.training.recipes import domain_generalization
from serdemo.training.recipes.distill import Distill
from serdemo.training.recipes.domain_generalization import GeneralOptions
from serdemo.training.recipes.supervised import Supervised


@pytest.fixture(scope="module")
def two(corpus_root: Path) -> list[Utterance]:
    """The simple corpus as two; the right one has no happy clips."""
    found = corpora.load(str(corpus_root))
    names = {"anna": "left", "cleo": "left", "bert": "right", "dora": "right"}
    split = [replace(u, corpus=names[u.speaker]) for u in found]
    return [u for u in split if (u.corpus, u.emotion) != ("right", "happy")]


@pytest.fixture(scope="module")
def clips(two: list[Utterance]) -> ClipDataset:
    return ClipDataset(two, ("angry", "happy", "sad"))


def test_priors_by_hand(clips: ClipDataset) -> None:
    alike = domain_generalization.priors(clips, np.ones(len(clips)) / len(clips), 3)
    assert alike.tolist() == [pytest.approx([1 / 3] * 3), pytest.approx([0.5, 0, 0.5])]
    weights = sampling_weights(clips.utterances, 1.0)
    drawn = domain_generalization.priors(
        clips, weights, 3
    )  # happy counts a third, all of it left's
    assert drawn[0].tolist() == pytest.approx([0.25, 0.5, 0.25])


def test_without_prior_by_hand() -> None:
    prior = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    found = losses.adjust_logits(torch.zeros(2, 2), torch.tensor([0, 1]), prior)
    assert found[0].tolist() == pytest.approx([log(0.5), log(0.5)])
    assert found[1].tolist() == pytest.approx([0.0, log(1e-4)], abs=1e-4)
    # What the corpus never has costs next to nothing: no lesson to be learnt of it.
    logits = torch.zeros(1, 2, requires_grad=True)
    loss = losses.cross_entropy(
        losses.adjust_logits(logits, torch.tensor([1]), prior), torch.tensor([0])
    )
    (slope,) = torch.autograd.grad(loss, logits)
    assert slope.abs().max() < 2e-4


def test_a_reversed_gradient() -> None:
    value = torch.tensor([1.0, -2.0], requires_grad=True)
    found = losses.gradient_reversal(value, 0.5)
    assert found.tolist() == [1.0, -2.0]
    (found * torch.tensor([3.0, 4.0])).sum().backward()
    assert value.grad is not None
    assert value.grad.tolist() == [-1.5, -2.0]


def test_mixed_clips(clips: ClipDataset) -> None:
    torch.manual_seed(0)
    batch = clips.batch(range(6), [clips.wave(index) * 10**index for index in range(6)])
    found, shares = domain_generalization.mixed(batch, 0.4, 3)
    assert shares.sum(1).tolist() == pytest.approx([1.0] * 6)
    own = shares.gather(1, batch.emotion[:, None])[:, 0]
    assert bool((own >= 0.5).all())
    assert torch.equal(found.emotion, batch.emotion)
    for row, size in enumerate(batch.lengths.tolist()):
        assert found.wave[row, size:].abs().sum() == 0
        # The neighbour is heard at the clip's own level, however loud it is.
        ratio = found.wave[row].square().mean() / batch.wave[row].square().mean()
        assert 0.2 < float(ratio) < 2
    unknown = replace(batch, emotion=torch.full_like(batch.emotion, -1))
    assert domain_generalization.mixed(unknown, 0.4, 3)[1].sum() == 0
    silent = replace(batch, wave=batch.wave * 0)
    assert torch.isfinite(domain_generalization.mixed(silent, 0.4, 3)[0].wave).all()


def test_shares_as_labels() -> None:
    logits = torch.tensor([[log(3.0), 0.0]])
    shares = torch.tensor([[0.25, 0.75]])
    expected = -(0.25 * log(0.75) + 0.75 * log(0.25))
    assert losses.cross_entropy(logits, shares).item() == pytest.approx(expected)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [1, 100, 16_001])
def test_codecs_keep_the_length(codec: tuple[str, str], size: int) -> None:
    wave = (0.2 * np.sin(np.arange(size) / 10)).astype(np.float32)
    heard = code(wave, codec, 0.9)
    assert heard.shape == wave.shape
    assert np.isfinite(heard).all()
    if size > 1000:
        assert not np.array_equal(heard, wave)
        assert np.corrcoef(heard, wave)[0, 1] > 0.9  # in step with what was coded
    nothing = dict.fromkeys(AugmentOptions().to_json(), 0.0)
    changed, pace = augment(
        wave, AugmentOptions(**{**nothing, "codec": 1.0}), np.random.default_rng(0)
    )
    assert pace == 1.0
    assert changed.shape == wave.shape


def test_an_adversary_needs_something_to_tell_apart(
    clips: ClipDataset, two: list[Utterance]
) -> None:
    one = ClipDataset([u for u in two if u.speaker == "anna"], ("angry", "happy", "sad"))
    for name in ("corpus", "speaker"):
        assert domain_generalization.adversary(GeneralOptions(adversary=name), one, 8) is None
        head = domain_generalization.adversary(GeneralOptions(adversary=name), clips, 8)
        assert head is not None
        assert head(torch.zeros(1, 8)).shape == (1, {"corpus": 2, "speaker": 4}[name])
    assert domain_generalization.adversary(GeneralOptions(), clips, 8) is None


def test_an_adversary_hides_the_corpus(clips: ClipDataset) -> None:
    """What the head learns, the embedding unlearns: their gradients point opposite ways."""
    options = GeneralOptions(adversary="corpus", adversary_weight=0.3)
    torch.manual_seed(0)
    head = domain_generalization.adversary(options, clips, 8)
    assert head is not None
    batch = clips.batch(range(len(clips)), [clips.wave(index) for index in range(len(clips))])
    embedding = torch.randn(len(clips), 8, requires_grad=True)
    loss = domain_generalization.hidden_from(head, options, embedding, batch)
    plain = losses.cross_entropy(head(embedding), batch.corpus)
    assert loss.item() == pytest.approx(plain.item())
    (turned,), (straight,) = (
        torch.autograd.grad(one, embedding, retain_graph=True) for one in (loss, plain)
    )
    torch.testing.assert_close(turned, -0.3 * straight)


WAYS = {
    "across": {"cross_corpus_positives": True},
    "priors": {"priors": True},
    "corpus": {"adversary": "corpus"},
    "speaker": {"adversary": "speaker"},
    "mixup": {"mixup": 0.4},
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_is_trained_stopped_and_resumed(
    tiny_values: dict[str, Any], two: list[Utterance], tmp_path: Path, way: str
) -> None:
    values = {**tiny_values, "seven": False, **WAYS[way]}
    own = {name: values.pop(name) for name in list(values) if name in TrainOptions().to_json()}
    split = Split(train=tuple(two))
    recipe, options = Supervised.from_values(values), TrainOptions(**own)
    whole = list(fit(recipe, options, split, tmp_path / "whole"))
    asked = iter(range(1, 10_000))
    stop = lambda: "now" if next(asked) >= 4 else None  # noqa: E731
    halves = list(fit(recipe, options, split, tmp_path / "halves", stop))
    torch.manual_seed(99)
    halves += fit(recipe, options, split, tmp_path / "halves", resume=True)
    assert isinstance(halves[-1], Finished)
    told = [[e.loss for e in events if isinstance(e, Step)] for events in (whole, halves)]
    assert told[0] == told[1]
    models = [checkpoint.load(tmp_path / n / "checkpoint")[0] for n in ("whole", "halves")]
    first, second = (model.state_dict() for model in models)
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    plain = Supervised.from_values({k: v for k, v in values.items() if k not in WAYS[way]})
    without = list(fit(plain, options, split, tmp_path / "without"))
    assert [e.loss for e in without if isinstance(e, Step)] != told[0]


def test_mixup_is_not_for_a_student(
    tiny_values: dict[str, Any], tiny_checkpoint: Path, corpus_root: Path
) -> None:
    values = {k: v for k, v in tiny_values.items() if k not in TrainOptions().to_json()}
    recipe = Distill.from_values({**values, "mixup": 0.4, "teacher": str(tiny_checkpoint)})
    with pytest.raises(UsageError, match="--mixup is not for distill"):
        recipe.describe(by_speakers(corpora.load(str(corpus_root)), test=["dora"]))
