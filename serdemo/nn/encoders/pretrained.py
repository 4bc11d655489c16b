"""Encoders pretrained by others, through transformers: what all of them share.

Their own modules are called one after the other, with the padding masked at each step, so that a
clip's frames are those it has alone. Weights are read from safetensors files only.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor, nn

from serdemo.nn.checkpoint_files import read_tensors
from serdemo.nn.encoders import from_checkpoint
from serdemo.nn.encoders.conformer import length_mask
from serdemo.nn.encoders.options import PretrainedOptions
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.libraries import install_command

# kind -> classes of transformers: configuration and model; the hub id meant when none is given;
# the layers that LoRA adapts (WavLM's attention reads its matrices without calling the layers)
KINDS = {
    "wavlm": ("WavLMConfig", "WavLMModel", "microsoft/wavlm-base-plus"),
    "hubert": ("HubertConfig", "HubertModel", "facebook/hubert-base-ls960"),
    "wav2vec2": ("Wav2Vec2Config", "Wav2Vec2Model", "facebook/wav2vec2-base"),
    "xvector": ("WavLMConfig", "WavLMForXVector", "microsoft/wavlm-base-plus-sv"),
    "whisper": ("WhisperConfig", "WhisperModel", "openai/whisper-base"),
}
ADAPTED = {
    "hubert": ["q_proj", "v_proj"],
    "wav2vec2": ["q_proj", "v_proj"],
    "whisper": ["q_proj", "v_proj"],
    "wavlm": ["intermediate_dense", "output_dense"],
    "xvector": ["intermediate_dense", "output_dense"],
}


def classes(kind: str) -> tuple[Any, Any]:
    """The configuration and the model class of transformers."""
    import transformers
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # what goes wrong is told in our own sentence
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    config, model, _ = KINDS[kind]
    return getattr(transformers, config), getattr(transformers, model)


def configure(kind: str, options: PretrainedOptions) -> dict[str, Any]:
    """What a checkpoint keeps to build the encoder anew without its source.

    Raises SerdemoError when the source cannot be read.
    """
    source = options.source or KINDS[kind][2]
    if (kept := from_checkpoint.configuration(kind, source)) is not None:
        return kept
    if kind == "whisper" and source.endswith(".safetensors"):
        from serdemo.nn.encoders.whisper import configuration_of

        state = read_tensors(Path(source))
        return {"architecture": configuration_of(state, Path(source).name), "normalise": False}
    from transformers import AutoFeatureExtractor

    config_class, _ = classes(kind)
    with _Reading(source):
        found = config_class.get_config_dict(source)[0].get("model_type")
        config = config_class.from_pretrained(source)
    if found != config_class.model_type:
        raise UsageError(f"{source} holds a model of type {found}, not {config_class.model_type}.")
    try:
        extractor = AutoFeatureExtractor.from_pretrained(source, trust_remote_code=False)
        normalise = bool(extractor.do_normalize)
    except (OSError, ValueError, AttributeError):
        normalise = config.to_dict().get("feat_extract_norm") == "layer"
    return {"architecture": config.to_diff_dict(), "normalise": normalise}


INSIDE = r"\b(encoder|conv_layers)\."  # in the name of a tensor

# What transformers raises for a file that is missing, damaged or about something else
UNREADABLE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SafetensorError,
    StrictDataclassError,
    TypeError,
    ValueError,
)


class _Reading:
    """Errors of reading a source as one sentence."""

    def __init__(self, source: str) -> None:
        self.source = source

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, problem: Any, trace: Any) -> None:
        if isinstance(problem, UNREADABLE):
            raise SerdemoError(
                f"The encoder {self.source} could not be read: give --source a hub id that can be"
                " reached, or a folder with config.json and model.safetensors."
            ) from problem


class Pretrained(nn.Module):
    """What all pretrained encoders share: layers mixed, parts frozen, adapters.

    Subclasses set `self.model`, `self.width`, `self.depth` and define `hidden`.
    """

    model: nn.Module
    width: int
    depth: int

    def __init__(self, kind: str, options: PretrainedOptions, config: dict[str, Any]) -> None:
        super().__init__()
        self.kind, self.options, self.config = kind, options, config
        config_class, self._model_class = classes(kind)
        self.architecture = config_class.from_dict(config["architecture"])
        self.normalise = bool(config["normalise"])
        for name in ("layerdrop", "encoder_layerdrop"):
            if hasattr(self.architecture, name):
                setattr(self.architecture, name, 0.0)  # would break the sum of several processes
        kernel = options.attention_kernel
        fast = getattr(self._model_class, "_supports_sdpa", False)
        if kernel == "sdpa" and not fast:
            raise UsageError(
                f"--attention-kernel sdpa: {kind} does not have it; use eager or auto."
            )
        self.architecture._attn_implementation = (
            "sdpa" if kernel == "sdpa" or (kernel == "auto" and fast) else "eager"
        )

    def finish(self, features: list[nn.Module], layers: nn.ModuleList) -> None:
        """Freeze, adapt and mix, once the model stands."""
        options = self.options
        self.mix = nn.Parameter(torch.zeros(self.depth + 1), options.layer_pooling == "weighted")
        self.reduce = nn.Sequential()
        if options.bottleneck:
            self.reduce = nn.Sequential(nn.Linear(self.width, options.bottleneck), nn.ReLU())
            self.width = options.bottleneck
        frozen: list[nn.Module] = []
        if options.freeze == "all" or options.lora_rank:
            frozen = [self.model]
        elif options.freeze != "none":
            half = list(layers)[: len(layers) // 2] if options.freeze == "lower-half" else []
            frozen = [*features, *half]
        for part in frozen:
            part.requires_grad_(False)
        if options.lora_rank:
            _adapt(self.model, options.lora_rank, ADAPTED[self.kind])
        if options.gradient_checkpointing:
            with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of its name
                self.model.gradient_checkpointing_enable(  # type: ignore[operator]
                    gradient_checkpointing_kwargs={"use_reentrant": False}
                )

    def trainable(self) -> list[nn.Parameter]:
        """The parameters that training may change."""
        return [p for p in self.parameters() if p.requires_grad]

    def load_pretrained(self) -> None:
        """Read the source's weights; raises SerdemoError when they do not fit to the last tensor."""
        source = self.options.source or KINDS[self.kind][2]
        state = from_checkpoint.state(source) or self.source_state(source)
        mine = {name.replace(".base_layer.", "."): name for name in self.model.state_dict()}
        mine = {name: full for name, full in mine.items() if "lora_" not in name}
        odd = sorted(set(mine) ^ set(state))
        if odd:
            problem = "lacks" if odd[0] in mine else "has an unexpected"
            raise SerdemoError(f"The encoder {source} {problem} tensor {odd[0]}.")
        begun = self.model.state_dict()
        for name, value in state.items():
            _check_shape(source, name, value.shape, begun[mine[name]].shape)
            if not bool(torch.isfinite(value).all()):
                raise SerdemoError(
                    f"The encoder {source} is damaged: {name} holds values that are not finite."
                )
        self.model.load_state_dict({mine[n]: value for n, value in state.items()}, strict=False)

    def source_state(self, source: str) -> dict[str, Tensor]:
        """The tensors of the source, named as those of `self.model`."""
        with _Reading(source):
            found, told = self._model_class.from_pretrained(
                source,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # told below, by name
            )
        for name, shape, wanted in sorted(told["mismatched_keys"]):
            _check_shape(source, name, shape, wanted)
        if missing := sorted(told["missing_keys"]):
            raise SerdemoError(f"The encoder {source} lacks tensor {missing[0]}.")
        # A head that stands beside the encoder is left out; a layer too many is another model.
        if odd := sorted(n for n in told["unexpected_keys"] if re.search(INSIDE, n)):
            raise SerdemoError(f"The encoder {source} has an unexpected tensor {odd[0]}.")
        state: dict[str, Tensor] = found.state_dict()
        return state

    def hidden(self, wave: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """Hidden states (B, F, D) after each of the layers, and frame counts (B,)."""
        raise NotImplementedError

    def forward(self, wave: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) samples at 16 kHz, (B,) lengths -> (B, F, D) frames and (B, F) mask."""
        if self.normalise:
            wave = normalised(wave, lengths)
        states, frames = self.hidden(wave, lengths)
        if self.options.layer_pooling == "last":
            mixed = states[-1]
        else:
            share = self.mix.softmax(0)
            mixed = sum(s * h.float() for s, h in zip(share, states, strict=True))
        return self.reduce(mixed), length_mask(frames, mixed.shape[1])


def _check_shape(source: str, name: str, shape: Sequence[int], wanted: Sequence[int]) -> None:
    if tuple(shape) != tuple(wanted):
        raise SerdemoError(
            f"The encoder {source} has tensor {name} of shape {tuple(shape)}, not {tuple(wanted)}."
        )


def normalised(wave: Tensor, lengths: Tensor) -> Tensor:
    """(B, T) clips to mean 0 and variance 1 over their own (B,) samples, zero beyond them."""
    mask = length_mask(lengths, wave.shape[1])
    count = lengths.clamp_min(1)[:, None]
    centred = (wave - (wave * mask).sum(1, keepdim=True) / count) * mask
    variance = centred.square().sum(1, keepdim=True) / count
    return centred / (variance + 1e-7).sqrt()


def _adapt(model: nn.Module, rank: int, targets: list[str]) -> None:
    """Put LoRA adapters (Hu et al., arXiv 2106.09685) on the named layers."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as problem:
        raise SerdemoError(
            f"--lora-rank needs the package peft: {install_command('peft')}"
        ) from problem
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets), model)
