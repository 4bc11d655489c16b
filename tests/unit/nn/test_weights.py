"""Weights in 8 bits and in several files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from serdemo.nn import checkpoint
from serdemo.nn.checkpoint_files import (
    INDEX,
    WEIGHTS,
    bundled_checkpoint,
    count_parameters,
    weight_files,
)
from serdemo.nn.weights import dequantize, quantize, read_weights, write_weights
from serdemo.schema.errors import SerdemoError

SIZE = 12_000  # bytes of tensors in a file
MATRIX, OTHER = "encoder.a.weight", "encoder.conv.weight"


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = {MATRIX: (64, 128), OTHER: (32, 16, 9), "encoder.norm.weight": (128,)}
    shapes |= {"embedding.weight": (64, 64), "encoder.b.weight": (8, 8)}
    return {name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}


@pytest.fixture
def sharded(state: dict[str, torch.Tensor], tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    write_weights(folder, state, 8, SIZE)
    return folder


def test_rows_are_rounded_to_half_a_step_at_most() -> None:
    matrix = torch.randn(6, 4, 50) * torch.tensor([1e-6, 1e-3, 1.0, 30.0, 1e3, 0.0])[:, None, None]
    integers, scale = quantize(matrix)
    assert (integers.dtype, integers.shape, scale.shape) == (torch.int8, matrix.shape, (6,))
    error = (dequantize(integers, scale) - matrix).flatten(1)
    # Half a step of the plain quantisation by the largest value, in the mean of the squares.
    step = matrix.abs().amax((1, 2)) / 127
    plain = ((matrix / step[:, None, None]).round() * step[:, None, None]).nan_to_num() - matrix
    assert (error.square().sum(1) <= plain.flatten(1).square().sum(1) * 1.0001).all()
    assert (error[-1] == 0).all()


def test_a_row_of_one_outlier_gives_up_the_outlier_for_the_rest() -> None:
    row = torch.randn(1, 20_000, generator=torch.Generator().manual_seed(2))
    row[0, 0] = 1.2 * row.abs().max()
    integers, scale = quantize(row)
    assert scale.item() < row.abs().max().item() / 127
    assert integers[0, 0].abs() == 127


def test_eight_bits_are_for_matrices_of_the_encoder(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    write_weights(tmp_path, state, 8)
    stored = load_file(tmp_path / WEIGHTS)
    eight = {name for name, value in stored.items() if value.dtype == torch.int8}
    assert eight == {MATRIX, OTHER}
    assert {name for name, value in stored.items() if value.dtype == torch.float32} == {
        f"{name}.scale" for name in eight
    }
    read = read_weights(tmp_path)
    assert set(read) == set(state)
    for name, value in state.items():
        if name in eight:
            worst = value.abs().flatten(1).amax(1).max() / 127
            assert 0 < (read[name] - value).abs().mean() < worst / 2
        else:
            assert torch.equal(read[name], value.half())
    assert count_parameters(tmp_path) == sum(value.numel() for value in state.values())


def test_a_checkpoint_in_eight_bits_loads_as_it_was_rounded(tmp_path: Path) -> None:
    model, description = checkpoint.load(bundled_checkpoint("compact"))
    checkpoint.save(tmp_path / "small", model, description, bits=8)
    again, same = checkpoint.load(tmp_path / "small")
    assert same == description
    for name, value in again.state_dict().items():
        own = model.state_dict()[name]
        error = (value.float() - own.float()).norm() / own.float().norm().clamp_min(1e-12)
        assert error < 0.01, name
    assert (tmp_path / "small" / WEIGHTS).stat().st_size < 5.5e6
    # What was rounded once is rounded to the same.
    checkpoint.save(tmp_path / "twice", again, description, bits=8)
    for name, value in checkpoint.load(tmp_path / "twice")[0].state_dict().items():
        worst = (value.float() - again.state_dict()[name].float()).abs().max()
        assert worst <= 0.01 * again.state_dict()[name].float().abs().max(), name


def test_several_files_hold_what_one_holds(
    state: dict[str, torch.Tensor], sharded: Path, tmp_path: Path
) -> None:
    files = weight_files(sharded)
    assert [file.name for file in files] == [
        INDEX,
        "model-00001-of-00003.safetensors",
        "model-00002-of-00003.safetensors",
        "model-00003-of-00003.safetensors",
    ]
    assert all(file.stat().st_size < SIZE + 2000 for file in files)
    write_weights(tmp_path, state, 8, 10**6)
    assert weight_files(tmp_path) == [tmp_path / WEIGHTS]
    one = read_weights(tmp_path)
    several = read_weights(sharded)
    assert set(one) == set(several)
    assert all(torch.equal(value, several[name]) for name, value in one.items())
    assert count_parameters(sharded) == count_parameters(tmp_path)


def test_other_files_of_weights_are_replaced(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "mine"))
    model, description = checkpoint.load(folder)
    checkpoint.save(folder, model, description, max_file_bytes=4000)
    assert not (folder / WEIGHTS).exists() and (folder / INDEX).exists()
    for name, value in checkpoint.load(folder)[0].state_dict().items():
        assert torch.equal(value, model.state_dict()[name])
    checkpoint.save(folder, model, description)
    assert {path.name for path in folder.iterdir()} == {WEIGHTS, "model.json"}


Damage = Callable[[Path], Any]
FIRST, LAST = "model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors"


def index(change: Callable[[dict[str, Any]], Any]) -> Damage:
    def damage(folder: Path) -> None:
        values = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        change(values)
        (folder / INDEX).write_text(json.dumps(values), encoding="utf-8")

    return damage


def placed(file: Any) -> Damage:
    return index(lambda values: values["weight_map"].update({"encoder.norm.weight": file}))


def both(folder: Path) -> None:
    """Put a tensor of the first file into the last one too."""
    first, last = load_file(folder / FIRST), load_file(folder / LAST)
    name = next(iter(first))
    save_file({**last, name: first[name].clone()}, folder / LAST)


BAD: dict[str, tuple[Damage, str]] = {
    "outside": (placed("../model-00001-of-00001.safetensors"), "mine is refused: '../model"),
    "absolute": (placed("/etc/passwd"), "mine is refused: '/etc/passwd'"),
    "other-name": (placed("weights.bin"), "mine is refused: 'weights.bin'"),
    "number": (placed(5), "mine is refused: '5'"),
    "lost-shard": (lambda f: (f / LAST).unlink(), f"mine is incomplete: it lacks {LAST}"),
    "never-there": (
        placed("model-00009-of-00009.safetensors"),
        "mine is incomplete: it lacks model-00009-of-00009",
    ),
    "twice": (both, rf"mine is damaged: .* does not place \S+ in {LAST}"),
    "unlisted": (
        index(lambda v: v["weight_map"].pop("encoder.norm.weight")),
        "mine is damaged: .* does not place encoder.norm.weight",
    ),
    "listed-alone": (
        index(lambda v: v["weight_map"].update(ghost=FIRST)),
        "mine is damaged: it lacks tensor ghost",
    ),
    "no-map": (index(lambda v: v.pop("weight_map")), "mine is damaged: .* lists no tensors"),
    "empty-map": (index(lambda v: v.update(weight_map={})), "lists no tensors"),
    "not-json": (lambda f: (f / INDEX).write_text("{"), "cannot be read as JSON"),
    "cut": (lambda f: (f / LAST).write_bytes(b"cut"), f"{LAST} is not a safetensors file"),
}


@pytest.mark.parametrize(("damage", "sentence"), BAD.values(), ids=BAD)
def test_bad_files_are_one_sentence(sharded: Path, damage: Damage, sentence: str) -> None:
    damage(sharded)
    with pytest.raises(SerdemoError, match=sentence) as caught:
        read_weights(sharded)
    assert "\n" not in str(caught.value)


SCALES: dict[str, tuple[dict[str, torch.Tensor | None], str]] = {
    "missing": ({f"{MATRIX}.scale": None}, f"{MATRIX} has 8 bits, and no scales"),
    "short": ({f"{MATRIX}.scale": torch.ones(3)}, r"and scales \(3,\) of type .* for 64 rows"),
    "number": ({f"{MATRIX}.scale": torch.tensor(1.0)}, r"and scales \(\) of type"),
    "whole": ({f"{MATRIX}.scale": torch.ones(64, dtype=torch.int32)}, "of type torch.int32"),
    "nan": ({f"{MATRIX}.scale": torch.full((64,), torch.nan)}, "scales that are not finite"),
    "norm": ({"encoder.norm.weight": torch.ones(128, dtype=torch.int8)}, "though it is no matrix"),
}


@pytest.mark.parametrize(("changes", "sentence"), SCALES.values(), ids=SCALES)
def test_scales_that_do_not_fit_are_one_sentence(
    state: dict[str, torch.Tensor],
    tmp_path: Path,
    changes: dict[str, torch.Tensor | None],
    sentence: str,
) -> None:
    write_weights(tmp_path, state, 8)
    stored = {name: value.clone() for name, value in load_file(tmp_path / WEIGHTS).items()}
    changed = {**stored, **changes}
    save_file({k: v for k, v in changed.items() if v is not None}, tmp_path / WEIGHTS)
    with pytest.raises(SerdemoError, match=f"is damaged: .*{sentence}"):
        read_weights(tmp_path)
