from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from serdemo.data.dataset import collate
from serdemo.nn import checkpoint, checkpoint_files, encoders
from serdemo.nn.description import Description
from serdemo.nn.encoders.conformer import ConformerEncoder, ConformerOptions
from serdemo.nn.model import HeadOptions, Model
from serdemo.nn.pooling import AttentiveStatisticsPooling, MeanDeviationPooling
from serdemo.schema.errors import UsageError
from serdemo.schema.types import EMOTIONS

LENGTHS = (1, 399, 401, 1600, 5000, 16_000, 40_123)
SMALL = ConformerOptions(width=32, layers=2, heads=2, expansion=2, kernel=5)


def make(options: ConformerOptions = SMALL, labels: tuple[str, ...] = EMOTIONS) -> Model:
    torch.manual_seed(0)
    return Model(ConformerEncoder(options), labels, HeadOptions(attention=16, embedding=24)).eval()


def noise(*lengths: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(0)
    return collate([0.1 * rng.standard_normal(n).astype(np.float32) for n in lengths])


@torch.inference_mode()
def test_a_clips_result_does_not_depend_on_its_batch_mates() -> None:
    model = make()
    wave, lengths = noise(*LENGTHS)
    # What stands behind a clip's end must not count either.
    behind = torch.arange(wave.shape[1]) >= lengths[:, None]
    together = model(torch.where(behind, torch.randn_like(wave), wave), lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = model(wave[row : row + 1, :length], lengths[row : row + 1])
        for name in ("embedding", "logits", "projection"):
            difference = getattr(alone, name)[0] - getattr(together, name)[row]
            assert difference.abs().max() < 1e-5, (name, length)
    # The results do differ from each other, so the comparison above says something.
    assert torch.pdist(together.embedding).min() > 1e-3


@torch.inference_mode()
def test_answers_repeat_and_training_is_random() -> None:
    model = make()
    wave, lengths = noise(16_000, 12_000)
    first = model.logits(wave, lengths)
    assert torch.equal(first, model.logits(wave, lengths))
    assert torch.equal(first, model(wave, lengths).logits)
    assert first.dtype == torch.float32
    model.train()
    assert not torch.allclose(model.logits(wave, lengths), model.logits(wave, lengths), atol=1e-3)


@torch.inference_mode()
def test_loudness_does_not_count() -> None:
    model = make()
    wave, lengths = noise(16_000, 9_000)
    assert (model.logits(wave, lengths) - model.logits(wave * 0.01, lengths)).abs().max() < 1e-3


def test_the_default_size_fits_the_promise(tmp_path: Path) -> None:
    encoder = ConformerOptions()
    description = Description(
        labels=EMOTIONS,
        encoder="compact",
        encoder_options=encoder.to_json(),
        head_options=HeadOptions().to_json(),
    )
    model = checkpoint.build(description)
    assert 1_000_000 < sum(p.numel() for p in model.parameters()) <= 5_000_000
    checkpoint.save(tmp_path / "default", model, description)
    assert (tmp_path / "default" / checkpoint_files.WEIGHTS).stat().st_size < 10_000_000


def test_the_gradient_reaches_every_parameter() -> None:
    model = make(ConformerOptions(width=32, layers=2, heads=2, kernel=5, dropout=0.0, masks=0))
    model.train()
    output = model(*noise(16_000, 9_000, 1))
    (output.logits.square().sum() + output.projection.square().sum()).backward()
    # A softmax over time is blind to what is added to all of its frames.
    blind = {"pooling.score.bias"}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert name in blind or parameter.grad.abs().max() > 1e-6, name


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("value", [0.0, 0.5, 1e-30])
def test_the_shortest_clip_is_finite(training: bool, value: float) -> None:
    model = make().train(training)
    output = model(torch.full((1, 1), value), torch.tensor([1]))
    for result in (output.embedding, output.logits, output.projection):
        assert torch.isfinite(result).all()
    output.logits.sum().backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.isfinite(grad).all() for grad in grads)


def test_silence_is_finite() -> None:
    output = make()(torch.zeros(2, 20_000), torch.tensor([20_000, 7]))
    assert torch.isfinite(output.logits).all()


@torch.inference_mode()
def test_half_precision_stays_near() -> None:
    model = make()
    wave, lengths = noise(*LENGTHS)
    exact = model(wave, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        near = model(wave, lengths)
    assert near.logits.dtype == torch.float32
    spread = exact.logits.std()
    assert (near.logits - exact.logits).abs().max() < 0.1 * spread
    cosine = torch.cosine_similarity(near.embedding.float(), exact.embedding)
    assert cosine.min() > 0.999


def test_frames_are_twelve_and_a_half_a_second_and_masked() -> None:
    encoder = ConformerEncoder(SMALL).eval()
    frames, mask = encoder(*noise(64_000, 16_000, 1))
    assert frames.shape == (3, mask.shape[1], 32)
    assert encoder.width == 32
    assert mask.sum(1).tolist() == [50, 13, 1]
    assert mask[1, :13].all()


def test_the_masks_of_training_are_bounded_and_each_clips_own() -> None:
    options = ConformerOptions(width=16, layers=1, heads=1, time_mask=10, mel_mask=6, masks=2)
    encoder = ConformerEncoder(options)
    torch.manual_seed(0)
    features = torch.ones(64, 200, 80)
    kept = encoder._spec_augment(features, torch.full((64,), 200)).bool()
    frames = (~kept.any(2)).sum(1)
    bands = (~kept.any(1)).sum(1)
    assert frames.max() <= 2 * 11  # a span of 10 may touch 11 frames
    assert bands.max() <= 2 * 7
    assert 5 < frames.float().mean() < 13  # two spans of 0 to 10, which may overlap
    assert 2 < bands.float().mean() < 8
    assert not torch.equal(kept[0], kept[1])
    none = ConformerEncoder(ConformerOptions(width=16, layers=1, heads=1, masks=0))
    assert torch.equal(none._spec_augment(features, torch.full((64,), 200)), features)


def test_pooling_by_hand() -> None:
    pooling = AttentiveStatisticsPooling(2, 4)
    frames = torch.tensor([[[1.0, 10.0], [3.0, 10.0], [99.0, 99.0]]])
    mask = torch.tensor([[True, True, False]])
    with torch.no_grad():
        pooling.score.weight.zero_()  # every frame alike
        mean = pooling(frames, mask)[0]
        # Channel 0: mean 2, deviation 1. Channel 1: constant, so the floor of the deviation.
        torch.testing.assert_close(mean, torch.tensor([2.0, 10.0, 1.0, 1e-5**0.5]))
        pooling.hidden.weight.copy_(torch.eye(4, 2))
        pooling.hidden.bias.zero_()
        pooling.score.weight[0, 0] = 1000.0  # channel 0 looks at its largest valid frame
        assert pooling(frames, mask)[0, 0] == pytest.approx(3.0, abs=1e-3)
        assert pooling(frames, mask)[0, 1] == pytest.approx(10.0)


def test_mean_and_deviation_by_hand() -> None:
    pooling = MeanDeviationPooling(2)
    frames = torch.tensor([[[1.0, 300.0], [3.0, 300.5], [9.0, 9.0]], [[5.0, -1.0], [0, 0], [0, 0]]])
    frames.requires_grad_()
    mask = torch.tensor([[True, True, False], [True, False, False]])
    found = pooling(frames, mask)
    expected = torch.tensor([[2.0, 300.25, 1.0, 0.25], [5.0, -1.0, 1e-4, 1e-4]])
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    assert frames.grad is not None and frames.grad.isfinite().all()
    pooling.standardise(expected)
    assert pooling.is_standardised
    mean, deviation = pooling(frames, mask).detach().unbind()
    assert torch.allclose(mean + deviation, torch.zeros(4), atol=2e-2)  # half precision of 150
    assert torch.allclose(mean[:3] - deviation[:3], torch.tensor([-2.0, 2.0, 2.0]), atol=2e-3)


def test_dropout_of_the_head_is_for_training_alone() -> None:
    heads = HeadOptions(attention=16, embedding=24, head_dropout=0.5)
    model = Model(ConformerEncoder(replace(SMALL, dropout=0.0, masks=0)), EMOTIONS, heads)
    wave, lengths = noise(16_000)
    assert torch.equal(model.eval().logits(wave, lengths), model.logits(wave, lengths))
    model.train()
    first, second = model(wave, lengths), model(wave, lengths)
    assert torch.equal(first.frames, second.frames)
    assert not torch.allclose(first.embedding, second.embedding)
    torch.manual_seed(0)
    kept = model.classify(first.embedding)
    assert not torch.allclose(kept, model.classify(first.embedding))


def test_shapes_and_labels() -> None:
    model = make(labels=("calm", "wild"))
    wave, lengths = noise(3000, 2000, 1000)
    output = model(wave, lengths)
    assert model.labels == ("calm", "wild")
    assert output.logits.shape == (3, 2)
    assert output.embedding.shape == model.embed(wave, lengths).shape == (3, 24)
    assert output.projection.shape == (3, 128)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"heads": 5}, "--heads must divide --width: 5 does not 192"),
        ({"kernel": 4}, "--kernel must be odd, not 4"),
        ({"width": 8}, "--width must lie between 16 and 512"),
        ({"layers": 2.5}, "--layers must be a whole number"),
        ({"colour": 1}, "no option 'colour'"),
    ],
)
def test_an_encoder_that_cannot_be_is_refused(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        encoders.build("compact", options)


def test_an_unknown_encoder_is_refused() -> None:
    with pytest.raises(UsageError, match="no encoder 'giant'; known are compact"):
        encoders.build("giant", {})
