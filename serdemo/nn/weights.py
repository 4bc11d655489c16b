"""Weights of a checkpoint: in 32, 16 or 8 bits, in one file or in several.

In 8 bits a matrix of the encoder is stored as integers with one scale for each output channel
(symmetric quantisation, Jacob et al., arXiv 1712.05877, section 2); all else has 16 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from serdemo.nn.checkpoint_files import (
    INDEX,
    SCALE,
    WEIGHTS,
    read_index,
    read_tensors,
    tensor_files,
)
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import write_json

Bits = Literal[8, 16, 32]
MIN_QUANTIZED = 4096  # a smaller matrix stays in 16 bits
LARGEST = 127  # of the integers, in both directions
CLIPPING = torch.linspace(1.0, 0.7, 31)  # largest value kept, as a share of the row's largest


def write_weights(
    folder: Path, state: Mapping[str, Tensor], bits: Bits = 16, max_file_bytes: int | None = None
) -> None:
    """Write tensors into an empty folder, in files of at most `max_file_bytes` of tensors each."""
    stored = narrowed(state, bits)
    size = sum(value.nbytes for value in stored.values())
    if max_file_bytes is None or size <= max_file_bytes:
        save_file(stored, folder / WEIGHTS)
        return
    from huggingface_hub import split_torch_state_dict_into_shards

    shards = split_torch_state_dict_into_shards(
        stored, filename_pattern="model{suffix}.safetensors", max_shard_size=max_file_bytes
    )
    for file, names in shards.filename_to_tensors.items():
        save_file({name: stored[name] for name in names}, folder / file, {"format": "pt"})
    index = {"metadata": shards.metadata, "weight_map": shards.tensor_to_filename}
    write_json(folder / INDEX, index)


def narrowed(state: Mapping[str, Tensor], bits: Bits) -> dict[str, Tensor]:
    """Tensors as they are stored in 32, 16 or 8 `bits`, a matrix in 8 bits with its scales beside it."""
    stored = {}
    for name, value in state.items():
        if bits == 8 and _is_quantized(name, value):
            stored[name], stored[name + SCALE] = quantize(value)
        else:
            narrow = bits < 32 and value.is_floating_point()
            stored[name] = (value.half() if narrow else value).contiguous().cpu()
    return stored


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint, those in 8 bits as float32.

    Raises SerdemoError for a file that is missing, damaged or not safetensors, for an index that
    differs from its files, and for scales that do not fit.
    """
    name, files = folder.resolve().name, tensor_files(folder)
    sharded = files[0].name != WEIGHTS
    expected = read_index(folder) if sharded else {}
    tensors: dict[str, Tensor] = {}
    for file in files:
        for key, value in read_tensors(file).items():
            if sharded and expected.pop(key, None) != file.name:
                raise SerdemoError(
                    f"{name} is damaged: {INDEX} does not place {key} in {file.name}."
                )
            tensors[key] = value
    if expected:
        raise SerdemoError(f"{name} is damaged: it lacks tensor {min(expected)} of its {INDEX}.")
    for key in [key for key, value in tensors.items() if value.dtype == torch.int8]:
        scale = tensors.pop(key + SCALE, None)
        if problem := _find_fault(tensors[key], scale):
            raise SerdemoError(f"{name} is damaged: {key} has 8 bits, {problem}.")
        assert scale is not None
        tensors[key] = dequantize(tensors[key], scale)
    return tensors


def quantize(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Integers (R, ...) int8 and scales (R,) float32 of a matrix (R, ...), with the least squared
    error of each row over the shares CLIPPING of its largest value."""
    rows = matrix.detach().float().cpu().flatten(1)
    step = rows.abs().amax(1).clamp_min(1e-12) / LARGEST
    best = torch.full_like(step, torch.inf)
    scale = step.clone()
    for share in CLIPPING:
        error = (_round(rows, share * step) * (share * step)[:, None] - rows).square().sum(1)
        scale = torch.where(error < best, share * step, scale)
        best = torch.minimum(error, best)
    return _round(rows, scale).to(torch.int8).reshape(matrix.shape), scale


def dequantize(integers: Tensor, scale: Tensor) -> Tensor:
    """Matrix (R, ...) float32 of integers (R, ...) and scales (R,)."""
    return integers.float() * scale.float().reshape(-1, *[1] * (integers.dim() - 1))


def _round(rows: Tensor, scale: Tensor) -> Tensor:
    return (rows / scale[:, None]).round().clamp(-LARGEST, LARGEST)


def _is_quantized(name: str, value: Tensor) -> bool:
    matrix = value.is_floating_point() and value.dim() > 1 and value.numel() >= MIN_QUANTIZED
    return matrix and name.startswith("encoder.")


def _find_fault(integers: Tensor, scale: Tensor | None) -> str | None:
    """What is wrong with a matrix in 8 bits, as the end of a sentence; None without a fault."""
    if integers.dim() < 2:
        return "though it is no matrix"
    if scale is None:
        return "and no scales"
    if scale.shape != integers.shape[:1] or not scale.is_floating_point():
        return f"and scales {tuple(scale.shape)} of type {scale.dtype} for {len(integers)} rows"
    return None if bool(scale.isfinite().all()) else "and scales that are not finite"
