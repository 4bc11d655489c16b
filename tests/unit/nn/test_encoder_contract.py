"""The contract of every encoder: padding, trainable parameters, checkpoints, former tensor names."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.small_encoders import KINDS, describe, noise, run
from torch import Tensor

from serdemo.nn import checkpoint, encoders
from serdemo.nn.checkpoint_files import WEIGHTS
from serdemo.nn.description import Description
from serdemo.nn.encoders.conformer import ConformerOptions
from serdemo.nn.encoders.options import SPECTRAL
from serdemo.nn.model import HeadOptions, Model

ALL = ("compact", *SPECTRAL, *KINDS)
HEADS = HeadOptions(attention=8, embedding=8, projection=8)
COMPACT = ConformerOptions(width=16, layers=2, heads=2, expansion=1, kernel=3)
# Pretrained encoders with all the parts that they can have, in place of the defaults.
VARIANTS: dict[str, dict[str, Any]] = {
    "bottleneck": dict(layer_pooling="last", bottleneck=8),
    "lora": dict(lora_rank=2, bottleneck=8),
}


def config_of(name: str, sources: dict[str, Path], **options: Any) -> tuple[str, Any, Any]:
    """Name, options and configuration of an encoder of the table."""
    if name in KINDS:
        return describe(sources[name], name, **options)
    return name, COMPACT.to_json() if name == "compact" else {}, {}


def make_model(
    name: str,
    sources: dict[str, Path],
    heads: HeadOptions = HEADS,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Model, Description]:
    kind, encoder_options, config = config_of(name, sources, **options)
    description = Description(
        ("angry", "sad"), kind, encoder_options, heads.to_json(), encoder_config=config
    )
    torch.manual_seed(0)
    model = checkpoint.build(description)
    encoders.load_pretrained(model.encoder)
    return model.eval(), description


@pytest.fixture(scope="module")
def models(sources: dict[str, Path]) -> Callable[[str], tuple[Model, Description]]:
    """One model of each of `MODELS` with its description; a test takes a copy."""
    made = cache(lambda name: make_model(MODELS[name][0], sources, *MODELS[name][1:]))
    return lambda name: deepcopy(made(name))


@torch.inference_mode()
@pytest.mark.parametrize("name", ALL)
def test_the_frames_of_a_clip_do_not_depend_on_its_batch(models: Any, name: str) -> None:
    encoder: Any = models(name)[0].encoder
    waves = noise(9000, 16000, 40, 1)
    frames, mask = run(encoder, waves)
    assert frames.shape == (4, mask.shape[1], encoder.width)
    for row, valid, wave in zip(frames, mask, waves, strict=True):
        alone, whole = run(encoder, [wave])
        assert whole.all()
        assert valid.sum() == alone.shape[1]
        assert valid[: alone.shape[1]].all()
        torch.testing.assert_close(row[valid], alone[0], atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ALL)
def test_gradients_reach_trainable_parameters_alone(models: Any, name: str) -> None:
    encoder: Any = models(name)[0].encoder
    encoder.train()
    frames, mask = run(encoder, noise(9000, 8000))
    trainable = {id(parameter) for parameter in encoder.trainable()}
    assert trainable or name in SPECTRAL
    if trainable:
        frames[mask].square().sum().backward()
    reached = {id(p) for p in encoder.parameters() if p.grad is not None}
    assert reached <= trainable
    assert bool(reached) == bool(trainable)
    for parameter in encoder.parameters():
        assert parameter.requires_grad == (id(parameter) in trainable)


@torch.inference_mode()
@pytest.mark.parametrize("name", ALL)
def test_a_checkpoint_gives_the_same_logits_without_its_source(
    sources: dict[str, Path], tmp_path: Path, name: str
) -> None:
    if name in KINDS:
        shutil.copytree(sources[name], tmp_path / "source")
    model, description = make_model(name, {name: tmp_path / "source"})
    checkpoint.save(tmp_path / "saved", model, description, bits=32)
    shutil.rmtree(tmp_path / "source", ignore_errors=True)
    loaded, read = checkpoint.load(tmp_path / "saved")
    assert read == description
    wave, lengths = noise(9000)[0][None], torch.tensor([9000])
    torch.testing.assert_close(loaded.logits(wave, lengths), model.logits(wave, lengths))
    fresh = checkpoint.build(description)
    checkpoint.init_weights_from(tmp_path / "saved", fresh)
    assert_same_tensors(fresh.state_dict(), model.state_dict())


def assert_same_tensors(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name


FORMER = (
    ("encoder.subsampling.projection.", "encoder.front.project."),
    ("encoder.subsampling.", "encoder.front."),
    (".ff1.", ".before."),
    (".ff2.", ".behind."),
    (".depthwise_norm.", ".after."),
    ("encoder.layer_weights", "encoder.mix"),
    ("encoder.bottleneck.", "encoder.reduce."),
    ("pooling.hidden.", "pooling.inner."),
    ("pooling.score.", "pooling.outer."),
    ("pooling.input_norm.", "pooling.level."),
    ("pooling.output_norm.", "pooling.means."),
)


def former_name(name: str) -> str:
    for new, old in FORMER:
        name = name.replace(new, old)
    return name


IMAGE = HeadOptions(
    embedding=8, projection=8, pooling="cnn", image_side=32, image_seconds=0.6, cnn_layers=3
)
MODELS: dict[str, tuple[str, HeadOptions, dict[str, Any]]] = {
    **{name: (name, HEADS, {}) for name in ALL},
    **{f"{n}, {v}": (n, HEADS, options) for n in KINDS for v, options in VARIANTS.items()},
    "compact, image": ("compact", IMAGE, {}),
}


@torch.inference_mode()
@pytest.mark.parametrize("model_name", MODELS)
def test_a_checkpoint_with_former_tensor_names_loads(
    models: Any, tmp_path: Path, model_name: str
) -> None:
    model, description = models(model_name)
    folder = tmp_path / "former"
    checkpoint.save(folder, model, description, bits=32)
    state = {key: value.clone() for key, value in load_file(folder / WEIGHTS).items()}
    former = {former_name(key): value for key, value in state.items()}
    assert set(former) != set(state) and len(former) == len(state)
    save_file(former, folder / WEIGHTS)
    assert_same_tensors(checkpoint.load(folder)[0].state_dict(), model.state_dict())
    fresh = checkpoint.build(description)
    checkpoint.init_weights_from(folder, fresh)
    assert_same_tensors(fresh.state_dict(), model.state_dict())


def test_a_training_state_with_former_tensor_names_loads(tmp_path: Path) -> None:
    prefixes = ("", "model.", "average.module.", "ema.module.")
    names = [
        "encoder.subsampling.norm.weight",
        "encoder.blocks.11.ff1.0.bias",
        "encoder.blocks.0.convolution.depthwise_norm.weight",
        "encoder.layer_weights",
        "pooling.score.weight",
    ]
    present = {prefix + name: torch.ones(1) for prefix in prefixes for name in names}
    untouched = {"adamw.0.exp_avg": torch.ones(1), "encoder.model.encoder.front.0": torch.ones(1)}
    former = {former_name(name): value for name, value in present.items()}
    checkpoint.save_state(tmp_path / "resume", {**former, **untouched}, {})
    state = checkpoint.load_state(tmp_path / "resume")
    assert state is not None
    assert set(state[0]) == {*present, *untouched}
    assert checkpoint.current_names(state[0]) == state[0]  # present names stay
