"""Frames as images, and the networks that see them: shapes, counts and who depends on whom."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from serdemo.nn import encoders
from serdemo.nn.encoders.mel import SpectralEncoder
from serdemo.nn.encoders.options import PretrainedOptions
from serdemo.nn.image_pooling import ImageCNN
from serdemo.nn.model import HeadOptions, Model
from serdemo.nn.padding import pad_or_trim
from serdemo.schema.errors import UsageError

SMALL: dict[str, Any] = dict(pooling="cnn", image_side=32, image_seconds=0.5, cnn_layers=3)


def small(encoder: str = "mfcc", **more: Any) -> Model:
    torch.manual_seed(0)
    options = HeadOptions(embedding=8, projection=8, **{**SMALL, **more})
    model = Model(SpectralEncoder(encoder), ("sad", "happy"), options)
    model.train()
    for seed in range(3):  # so that batch norm has seen something
        model.embed(*batch(*noise(8000, 6000, 5000, seed=seed)))
    return model.eval()


def noise(*sizes: int, seed: int = 7) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, generator=generator) * 0.1 for n in sizes]


def batch(*waves: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    padded = torch.nn.utils.rnn.pad_sequence(list(waves), batch_first=True)
    return padded, torch.tensor([len(wave) for wave in waves])


def test_seven_seconds_of_wav2vec2_are_349_frames_and_300_x_300() -> None:
    config = transformers.Wav2Vec2Config(  # the convolutions are those of every wav2vec 2.0
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8,) * 7,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm="layer",
    )
    told = {"architecture": config.to_diff_dict(), "normalise": True}
    options = PretrainedOptions(layer_pooling="last", freeze="all").to_json()
    model = Model(encoders.build("wav2vec2", options, told), ("sad",), HeadOptions(pooling="cnn"))
    for size in (1, 16_000, 112_000, 200_000):
        frames, mask = model.eval().encode(*batch(*noise(size)))
        assert frames.shape == (1, 349, 16)
        assert mask.all()
    assert model.pooling.image(frames, mask).shape == (1, 300, 300)  # type: ignore[operator]


@pytest.mark.parametrize(("kind", "width"), [("mel", 80), ("mfcc", 40)])
def test_plain_features_are_100_frames_a_second(kind: str, width: int) -> None:
    encoder = SpectralEncoder(kind)
    wave, lengths = batch(*noise(112_000, 16_000))
    frames, mask = encoder(wave, lengths)
    assert frames.shape == (2, 698, width)
    assert encoder.width == width
    assert mask.sum(1).tolist() == [698, 98]
    assert encoder.trainable() == []
    assert not encoder.state_dict()


def test_cepstrum_by_hand() -> None:
    wave, lengths = batch(*noise(4000))
    mel, _ = SpectralEncoder("mel")(wave, lengths)
    found, _ = SpectralEncoder("mfcc")(wave, lengths)
    # The first coefficient of an orthonormal cosine transform is the mean times the root of 80.
    torch.testing.assert_close(found[..., 0], mel.mean(2) * 80**0.5, atol=1e-4, rtol=1e-4)


# 9 weights for each pair of channels, and a scale and a shift for each channel
@pytest.mark.parametrize(
    ("layers", "parameters", "width"),
    [
        (3, 9 * (32 + 32 * 32 + 32 * 64) + 2 * 128, 64 * 150),
        (5, 9 * (32 + 32 * 32 + 32 * 64 + 64 * 64 + 64 * 128) + 2 * 320, 128 * 75),
        (7, 582_304, 256 * 37),
    ],
)
def test_layers_parameters_and_width(layers: int, parameters: int, width: int) -> None:
    network = ImageCNN(300, layers, 0.2)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert sum(isinstance(part, torch.nn.Conv2d) for part in network.layers) == layers
    assert sum(isinstance(part, torch.nn.MaxPool2d) for part in network.layers) == layers // 2
    assert network.width == width
    if layers == 3:
        assert network.eval().forward_image(torch.zeros(2, 300, 300)).shape == (2, width)


def test_an_image_is_bilinear_by_hand() -> None:
    network = ImageCNN(16, 3, 0.0)
    frames = torch.arange(4.0)[None, :, None] + torch.arange(8.0)[None, None, :]
    (image,) = network.image(frames, torch.ones(1, 4, dtype=torch.bool))
    # Its middle lies 4 rows to a frame and 2 columns to a feature: a quarter and a half apart.
    rows = torch.linspace(0, 3.75, 16) - 0.375
    columns = torch.linspace(0, 7.5, 16) - 0.25
    expected = rows.clamp(0, 3)[:, None] + columns.clamp(0, 7)[None, :]
    torch.testing.assert_close(image, expected)


def test_an_image_holds_a_clips_own_frames_alone() -> None:
    network = ImageCNN(16, 3, 0.0)
    frames = torch.randn(2, 9, 5)
    mask = torch.arange(9)[None, :] < torch.tensor([9, 4])[:, None]
    _, short = network.image(frames, mask)
    (alone,) = network.image(frames[1:, :4], mask[1:, :4])
    assert torch.equal(short, alone)


def test_clips_are_cut_or_padded_to_one_length() -> None:
    wave = torch.ones(2, 5)
    for size, expected in ((3, [[1, 1, 1], [1, 1, 0]]), (6, [[1] * 5 + [0], [1, 1] + [0] * 4])):
        found, lengths = pad_or_trim(wave, torch.tensor([5, 2]), size)
        assert found.tolist() == expected
        assert lengths.tolist() == [size, size]


@pytest.mark.parametrize("encoder", ["mel", "mfcc"])
def test_an_answer_does_not_depend_on_batch_mates(encoder: str) -> None:
    model = small(encoder)
    short, long = noise(3000, 12_000)
    together = model.logits(*batch(short, long, *noise(1, 8000)))
    torch.testing.assert_close(together[:1], model.logits(*batch(short)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together[1:2], model.logits(*batch(long)), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=2e-5, rtol=0)


def test_what_follows_the_seconds_is_not_heard_and_silence_is_as_good_as_none() -> None:
    model = small()
    (wave,) = noise(12_000)
    whole, cut = model.logits(*batch(wave)), model.logits(*batch(wave[:8000]))
    assert torch.equal(whole, cut)
    short = model.logits(*batch(wave[:3000]))
    padded = torch.cat((wave[:3000], torch.zeros(2000)))
    assert torch.equal(short, model.logits(*batch(padded)))


@pytest.mark.parametrize("wave", [torch.zeros(1), torch.ones(1), torch.zeros(9000)])
def test_degenerate_clips_have_finite_answers(wave: torch.Tensor) -> None:
    model = small()
    assert torch.isfinite(model.logits(*batch(wave))).all()
    model.train()
    output = model(*batch(wave, wave))
    output.logits.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_huge_features_leave_statistics_that_half_precision_holds() -> None:
    network = ImageCNN(32, 3, 0.0).train()
    images = torch.zeros(4, 32, 32)
    images[:, :, 3] = 60_000 * torch.randn(4, 32)
    images[0, 0, 0] = -60_000
    for _ in range(50):
        network.forward_image(images)
    assert all(torch.isfinite(b.half()).all() for b in network.buffers())


@pytest.mark.parametrize("layers", [4, 6])
def test_other_depths_are_refused(layers: int) -> None:
    with pytest.raises(UsageError, match="--cnn-layers must be 3, 5 or 7"):
        HeadOptions(cnn_layers=layers)
