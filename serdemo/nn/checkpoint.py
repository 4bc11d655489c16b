"""Saving and loading of checkpoints (weights in safetensors, the description in JSON) and of the
state that a training run resumes from."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from serdemo.nn import encoders
from serdemo.nn.checkpoint_files import DESCRIPTION, is_weights, read_tensors
from serdemo.nn.description import Description, read_description, require_own
from serdemo.nn.model import HeadOptions, Model
from serdemo.nn.onnx_file import SUFFIX, refuse_onnx
from serdemo.nn.weights import Bits, read_weights, write_weights
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import read_json, recovered_path, replace_folder, write_json

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
HALF_ROUNDING = 1e-3  # of a value in [-1, 1], twice
STATE_TENSORS, STATE_VALUES = "state.safetensors", "state.json"

# Former names of tensors in a model -> present names.
RENAMED = {
    r"encoder\.front\.convolutions\.": r"encoder.subsampling.convolutions.",
    r"encoder\.front\.project\.": r"encoder.subsampling.projection.",
    r"encoder\.front\.norm\.": r"encoder.subsampling.norm.",
    r"encoder\.blocks\.(\d+)\.before\.": r"encoder.blocks.\2.ff1.",
    r"encoder\.blocks\.(\d+)\.behind\.": r"encoder.blocks.\2.ff2.",
    r"encoder\.blocks\.(\d+)\.convolution\.after\.": r"encoder.blocks.\2.convolution.depthwise_norm.",
    r"encoder\.mix$": r"encoder.layer_weights",
    r"encoder\.reduce\.": r"encoder.bottleneck.",
    r"pooling\.inner\.": r"pooling.hidden.",
    r"pooling\.outer\.": r"pooling.score.",
    r"pooling\.level\.": r"pooling.input_norm.",
    r"pooling\.means\.": r"pooling.output_norm.",
}
PREFIX = r"((?:(?:model|average|ema|module)\.)*)"  # of a model's tensors in a training state
_PATTERNS = [(re.compile(f"^{PREFIX}{old}"), rf"\1{new}") for old, new in RENAMED.items()]


def build(description: Description, name: str = "the checkpoint") -> Model:
    """Build an untrained model from its description; raises SerdemoError when that is impossible."""
    try:
        encoder = encoders.build(
            description.encoder, description.encoder_options, description.encoder_config
        )
        heads = HeadOptions.from_json(description.head_options)
        return Model(encoder, description.labels, heads)
    except (UsageError, ValueError, TypeError) as problem:
        raise SerdemoError(f"{name} cannot be built: {problem}") from problem


def save(
    folder: Path,
    model: Model,
    description: Description,
    *,
    bits: Bits = 16,
    max_file_bytes: int | None = None,
) -> None:
    """Write a checkpoint atomically; the folder's other files stay, but for ONNX graphs of former weights.

    Weights have 32, 16 or 8 `bits`, see `write_weights`, and files of at most `max_file_bytes` each.
    """
    folder = folder.resolve()
    rounding = HALF_ROUNDING if bits < 32 else 0.0

    def write(target: Path) -> None:
        for file in folder.iterdir() if folder.exists() else ():
            # A graph refers to places in the former weights.
            replaced = is_weights(file.name) or file.name == DESCRIPTION or file.suffix == SUFFIX
            if file.is_file() and not replaced:
                shutil.copy2(file, target / file.name)
        state = model.state_dict()
        for name, value in constants(model).items():
            if torch.allclose(state[name].cpu(), value, rtol=0, atol=rounding):
                del state[name]
        write_weights(target, state, bits, max_file_bytes)
        write_json(target / DESCRIPTION, description.to_json())

    replace_folder(folder, write)


def constants(model: Model) -> dict[str, Tensor]:
    """Tensors of a model that a checkpoint need not store: they follow from its description."""
    of_encoder: dict[str, Tensor] = getattr(model.encoder, "constants", dict)()
    return {f"encoder.{name}": value for name, value in of_encoder.items()}


def load(folder: Path | str, device: str | torch.device = "cpu") -> tuple[Model, Description]:
    """Load a checkpoint in float32 and evaluation mode.

    Raises SerdemoError for a missing or damaged file, weights that do not fit the description, and an
    ONNX file or a model of transformers, which `load_model` loads.
    """
    folder = Path(folder).resolve()
    refuse_onnx(folder)
    description = read_description(folder)
    require_own(description)
    model = build(description, folder.name)
    state = {**constants(model), **current_names(read_weights(folder))}
    expected = model.state_dict()
    misfit = f"{folder.name} does not fit its description:"
    for name in sorted(set(expected) ^ set(state)):
        problem = "lacks" if name in expected else "has an unexpected"
        raise SerdemoError(f"{misfit} it {problem} tensor {name}.")
    for name, value in state.items():
        if value.shape != expected[name].shape:
            shapes = f"{tuple(value.shape)}, not {tuple(expected[name].shape)}"
            raise SerdemoError(f"{misfit} {name} is {shapes}.")
        dtype = expected[name].dtype
        if not (value.dtype in FLOATS if dtype.is_floating_point else value.dtype == dtype):
            raise SerdemoError(f"{folder.name} is damaged: {name} is of type {value.dtype}.")
        state[name] = value.to(dtype)
        if not state[name].isfinite().all():
            problem = f"{name} holds values that are not finite"
            raise SerdemoError(f"{folder.name} is damaged: {problem}.")
    means = {
        "neutral": description.neutral,
        **description.speaker_prior.get("class_means", {}),
        **description.novelty.get("centroids", {}),
    }
    for name, mean in means.items():
        if len(mean) not in (0, model.options.embedding):
            raise SerdemoError(
                f"{misfit} the mean of {name} speech has {len(mean)} numbers, an embedding"
                f" {model.options.embedding}."
            )
    model.load_state_dict(state)
    return model.to(device).eval(), description


def init_weights_from(folder: Path, model: Model) -> None:
    """Initialise `model` with the weights of a checkpoint where names and shapes agree.

    Heads of other sizes keep their initial weights, as does the classifier of other labels. Raises
    UsageError when the encoders differ, SerdemoError when the checkpoint cannot be read.
    """
    source, _ = load(folder)
    source_state, own_state = source.state_dict(), model.state_dict()
    shared = {
        name: value
        for name, value in source_state.items()
        if name in own_state and own_state[name].shape == value.shape
    }
    encoder = {name for name in (*source_state, *own_state) if name.startswith("encoder.")}
    if encoder - set(shared):
        raise UsageError(
            f"{folder.name} has another encoder than this run; give the options it was trained with."
        )
    if source.labels != model.labels:
        shared = {k: v for k, v in shared.items() if not k.startswith("classifier.")}
    model.load_state_dict(shared, strict=False)


def save_state(folder: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Write the state of a training run: tensors in full precision, and values for JSON."""

    def write(target: Path) -> None:
        contiguous = {
            name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()
        }
        save_file(contiguous, target / STATE_TENSORS)
        write_json(target / STATE_VALUES, dict(values))

    replace_folder(folder, write)


def load_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read what `save_state` wrote, None without a folder; raises SerdemoError when damaged."""
    folder = recovered_path(folder)
    if not folder.exists():
        return None
    return current_names(read_tensors(folder / STATE_TENSORS)), read_json(folder / STATE_VALUES)


def current_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under their present names; present names stay as they are."""
    return {current_name(name): value for name, value in tensors.items()}


def current_name(name: str) -> str:
    """The present name of a tensor."""
    for pattern, replacement in _PATTERNS:
        name, n_matches = pattern.subn(replacement, name)
        if n_matches:
            break
    return name
