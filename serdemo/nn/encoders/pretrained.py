"""Base class of the pretrained encoders, which are loaded with the transformers library.

Their modules are called one by one with the padding masked at each step, so that a clip's frames do
not depend on its batch. Weights are read from safetensors files only.
"""

from __future__ import annotations

import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor, nn

from serdemo.audio.waveform import SAMPLE_RATE
from serdemo.nn.checkpoint_files import DESCRIPTION, has_weights, source_folder, tensor_types
from serdemo.nn.encoders.options import PretrainedOptions
from serdemo.nn.padding import length_mask, normalise
from serdemo.nn.weights import read_weights
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import read_json
from serdemo.schema.libraries import install_command

# kind -> configuration and model class of transformers, and the default hub id
KINDS = {
    "wavlm": ("WavLMConfig", "WavLMModel", "microsoft/wavlm-base-plus"),
    "hubert": ("HubertConfig", "HubertModel", "facebook/hubert-base-ls960"),
    "wav2vec2": ("Wav2Vec2Config", "Wav2Vec2Model", "facebook/wav2vec2-base"),
    "xvector": ("WavLMConfig", "WavLMForXVector", "microsoft/wavlm-base-plus-sv"),
    "whisper": ("WhisperConfig", "WhisperModel", "openai/whisper-base"),
}
# kind -> attribute of the configuration that counts the Transformer layers
LAYERS_OF = dict.fromkeys(KINDS, "num_hidden_layers") | {"whisper": "encoder_layers"}
# kind -> layers that LoRA adapts (WavLM's attention uses its matrices without calling the layers)
LORA_TARGETS = {
    "wavlm": ["intermediate_dense", "output_dense"],
    "hubert": ["q_proj", "v_proj"],
    "wav2vec2": ["q_proj", "v_proj"],
    "xvector": ["intermediate_dense", "output_dense"],
    "whisper": ["q_proj", "v_proj"],
}


def classes(kind: str) -> tuple[Any, Any]:
    """Configuration and model class of transformers for an encoder kind."""
    import transformers
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # errors become SerdemoErrors
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    config, model, _ = KINDS[kind]
    return getattr(transformers, config), getattr(transformers, model)


def configure(kind: str, options: PretrainedOptions) -> dict[str, Any]:
    """Configuration that a checkpoint stores; raises SerdemoError for a source that is unreadable."""
    source = options.source or KINDS[kind][2]
    if folder := source_folder(source):
        return _checkpoint_config(kind, folder)
    from transformers import AutoFeatureExtractor

    config_class, _ = classes(kind)
    with _readable(source):
        model_type = config_class.get_config_dict(source)[0].get("model_type")
        config = config_class.from_pretrained(source)
    if model_type != config_class.model_type:
        raise UsageError(
            f"{source} holds a model of type {model_type}, not {config_class.model_type}."
        )
    try:
        extractor = AutoFeatureExtractor.from_pretrained(source, trust_remote_code=False)
        normalise, rate = bool(extractor.do_normalize), extractor.sampling_rate
    except (OSError, ValueError, AttributeError):
        normalise, rate = config.to_dict().get("feat_extract_norm") == "layer", SAMPLE_RATE
    if rate != SAMPLE_RATE:
        raise UsageError(f"{source} takes sound of {rate} Hz; serdemo trains at {SAMPLE_RATE} Hz.")
    return {"architecture": config.to_diff_dict(), "normalise": normalise}


def _checkpoint_config(kind: str, folder: Path) -> dict[str, Any]:
    """Encoder configuration of a serdemo checkpoint; raises UsageError for an encoder not of `kind`.

    Where the checkpoint keeps some layers only, `layers` says how many.
    """
    values = read_json(folder / DESCRIPTION)
    config = values.get("encoder_config") if isinstance(values, dict) else None
    if not isinstance(config, dict):
        raise SerdemoError(f"{folder.name} is damaged: its {DESCRIPTION} describes no encoder.")
    if values.get("encoder") != kind:
        raise UsageError(f"{folder.name} has the encoder {values.get('encoder')}, not {kind}.")
    options = values.get("encoder_options")
    depth = options.get("keep_layers") if isinstance(options, dict) else None
    return {**config, "layers": depth} if depth else config


def choose_layers(
    kind: str, options: PretrainedOptions, config: Mapping[str, Any], total: int
) -> tuple[int, tuple[int, ...]]:
    """Number of layers to build of an encoder with `total` layers, and the hidden states used.

    `config` is that of the checkpoint; its `layers` are those of a source that is itself cut. Raises
    UsageError for layers or states that the source lacks.
    """
    available = config.get("layers", total)
    if type(available) is not int or not 0 < available <= total:
        raise UsageError(f"the encoder {kind} cannot have {available!r} of {total} layers.")
    if options.keep_layers > available:
        raise UsageError(
            f"--keep-layers must be at most {available}, the layers of this encoder, not"
            f" {options.keep_layers}."
        )
    depth = options.keep_layers or available
    if kind == "xvector" and depth < total:
        raise UsageError(
            "--keep-layers does not cut the encoder xvector, whose head needs all layers: choose wavlm."
        )
    return depth, options.states_of(depth)


def check_layers(kind: str, options: PretrainedOptions, config: Mapping[str, Any]) -> None:
    """Raise UsageError where a configuration lacks layers or hidden states that the options name."""
    if options.keep_layers or options.hidden_states:
        architecture = classes(kind)[0].from_dict(config["architecture"])
        choose_layers(kind, options, config, getattr(architecture, LAYERS_OF[kind]))


def _checkpoint_state(folder: Path) -> dict[str, Tensor]:
    """Encoder tensors (float32) of a serdemo checkpoint; raises UsageError for LoRA adapters."""
    state = {
        name.removeprefix(CHECKPOINT_PREFIX): value.float()
        for name, value in read_weights(folder).items()
        if name.startswith(CHECKPOINT_PREFIX)
    }
    if any("lora_" in name for name in state):
        raise UsageError(
            f"{folder.name} was trained with LoRA: begin with it by --init-from, not by --source."
        )
    return state


ENCODER_TENSOR = re.compile(r"\b(encoder|conv_layers)\.")
LAYER_TENSOR = re.compile(r"(?:encoder\.)?layers\.(\d{1,4})\.")
CHECKPOINT_PREFIX = "encoder.model."  # of a pretrained encoder's tensors in a checkpoint

# What transformers raises for a file that is missing, damaged or of another format
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


@contextmanager
def _readable(source: str) -> Iterator[None]:
    """Context manager that turns the errors of reading `source` into one SerdemoError."""
    try:
        yield
    except UNREADABLE as problem:
        raise SerdemoError(
            f"The encoder {source} could not be read: give --source a hub id that can be"
            " reached, or a folder with config.json and model.safetensors."
        ) from problem


class Pretrained(nn.Module, ABC):
    """Pretrained encoder: pooled hidden states, frozen parts, LoRA adapters, a bottleneck.

    `depth` Transformer layers of the source's `total` are built, and `states` numbers the hidden
    states used. Subclasses set `self.model` and `self.width`, call `_freeze_and_adapt`, and define
    `hidden`.
    """

    model: nn.Module
    width: int
    final_norm = ""  # name of the layer norm behind the last layer, where the model has one

    def __init__(self, kind: str, options: PretrainedOptions, config: dict[str, Any]) -> None:
        super().__init__()
        self.kind, self.options, self.config = kind, options, config
        config_class, self._model_class = classes(kind)
        self.architecture = config_class.from_dict(config["architecture"])
        self.normalise = bool(config["normalise"])
        self.total: int = getattr(self.architecture, LAYERS_OF[kind])
        self.depth, self.states = choose_layers(kind, options, config, self.total)
        setattr(self.architecture, LAYERS_OF[kind], self.depth)
        for name in ("layerdrop", "encoder_layerdrop"):
            if hasattr(self.architecture, name):
                setattr(self.architecture, name, 0.0)  # breaks gradients of several processes
        kernel = options.attention_kernel
        has_sdpa = getattr(self._model_class, "_supports_sdpa", False)
        if kernel == "sdpa" and not has_sdpa:
            raise UsageError(
                f"--attention-kernel sdpa: {kind} does not have it; use eager or auto."
            )
        self.architecture._attn_implementation = (
            "sdpa" if kernel == "sdpa" or (kernel == "auto" and has_sdpa) else "eager"
        )

    def _freeze_and_adapt(self, features: list[nn.Module], layers: nn.ModuleList) -> None:
        """Add layer weights, bottleneck and adapters, and freeze parts, as the options say.

        `features` are the modules before the Transformer `layers`.
        """
        options = self.options
        self.layer_weights = nn.Parameter(
            torch.zeros(len(self.states)), options.layer_pooling == "weighted"
        )
        if options.layer_pooling == "concat":
            self.width *= len(self.states)
        self.bottleneck = nn.Sequential()
        if options.bottleneck:
            self.bottleneck = nn.Sequential(nn.Linear(self.width, options.bottleneck), nn.ReLU())
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
            _add_lora(self.model, options.lora_rank, LORA_TARGETS[self.kind])
        if options.gradient_checkpointing:
            with warnings.catch_warnings(action="ignore", category=FutureWarning):
                self.model.gradient_checkpointing_enable(  # type: ignore[operator]
                    gradient_checkpointing_kwargs={"use_reentrant": False}
                )

    def trainable(self) -> list[nn.Parameter]:
        """Parameters that training updates."""
        return [p for p in self.parameters() if p.requires_grad]

    def load_pretrained(self) -> None:
        """Load the weights of the source; raises SerdemoError unless every tensor fits."""
        source = self.options.source or KINDS[self.kind][2]
        if folder := source_folder(source):
            prefix = "model."
            state = {n.removeprefix(prefix): value for n, value in self.constants().items()}
            state |= _checkpoint_state(folder)
        else:
            state = self.source_state(source)
        state = {name: value for name, value in state.items() if not self._is_cut_off(name)}
        initial = self.model.state_dict()
        # A layer with an adapter holds the source's tensors as its `base_layer`.
        names = {n.replace(".base_layer.", "."): n for n in initial if "lora_" not in n}
        if unmatched := sorted(set(names) ^ set(state)):
            problem = "lacks" if unmatched[0] in names else "has an unexpected"
            raise SerdemoError(f"The encoder {source} {problem} tensor {unmatched[0]}.")
        for name, value in state.items():
            _check_shape(source, name, value.shape, initial[names[name]].shape)
            if not bool(torch.isfinite(value).all()):
                raise SerdemoError(
                    f"The encoder {source} is damaged: {name} holds values that are not finite."
                )
        self.model.load_state_dict({names[n]: value for n, value in state.items()}, strict=False)

    def constants(self) -> dict[str, Tensor]:
        """Tensors that follow from the configuration, by their names: checkpoints need not store them."""
        return {}

    def source_state(self, source: str) -> dict[str, Tensor]:
        """Tensors of the source, named as those of `self.model`."""
        with _readable(source):
            model, loading = self._model_class.from_pretrained(
                source,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported below, by name
            )
        if getattr(model.config, "quantization_config", None) or _has_integers(Path(source)):
            raise SerdemoError(
                f"The encoder {source} is quantised: take its original in 16 or 32 bits."
            )
        for name, shape, expected in sorted(loading["mismatched_keys"]):
            _check_shape(source, name, shape, expected)
        if missing := sorted(loading["missing_keys"]):
            raise SerdemoError(f"The encoder {source} lacks tensor {missing[0]}.")
        # Heads beside the encoder are ignored; an extra layer means another model.
        if extra := sorted(filter(ENCODER_TENSOR.search, loading["unexpected_keys"])):
            raise SerdemoError(f"The encoder {source} has an unexpected tensor {extra[0]}.")
        state: dict[str, Tensor] = model.state_dict()
        return state

    def _is_cut_off(self, name: str) -> bool:
        """Whether a tensor of the source belongs to what is not built: upper layers, the final norm."""
        layer = LAYER_TENSOR.match(name)
        if layer:
            return self.depth <= int(layer[1]) < self.total
        is_norm = bool(self.final_norm) and name.startswith(f"{self.final_norm}.")
        return is_norm and self.depth < self.total

    @abstractmethod
    def hidden(self, wave: Tensor, lengths: Tensor, top: int) -> tuple[list[Tensor], Tensor]:
        """Hidden states 0 to `top`, each (B, F, D), and frame counts (B,)."""

    def hidden_states(
        self, wave: Tensor, lengths: Tensor, top: int | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """Hidden states (B, F, D) of samples (B, T), from 0 to `top` [default: all], and mask (B, F)."""
        if self.normalise:
            wave = normalise(wave, lengths)
        states, frames = self.hidden(wave, lengths, self.depth if top is None else top)
        return states, length_mask(frames, states[0].shape[1])

    def forward(self, wave: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Samples (B, T) at 16 kHz, lengths (B,) -> frames (B, F, D) and mask (B, F)."""
        states, mask = self.hidden_states(wave, lengths, self.states[-1])
        chosen = [states[number] for number in self.states]
        match self.options.layer_pooling:
            case "last":
                output = chosen[-1]
            case "concat":
                output = torch.cat(chosen, dim=-1)
            case _:
                weights = self.layer_weights.softmax(0)
                output = sum(w * h.float() for w, h in zip(weights, chosen, strict=True))
        return self.bottleneck(output), mask


def _has_integers(folder: Path) -> bool:
    """Whether a local folder holds weights in 8 bits, which transformers would take as they are."""
    return has_weights(folder) and bool({"I8", "U8"} & set(tensor_types(folder).values()))


def _check_shape(source: str, name: str, shape: Sequence[int], expected: Sequence[int]) -> None:
    if tuple(shape) != tuple(expected):
        raise SerdemoError(
            f"The encoder {source} has tensor {name} of shape {tuple(shape)}, not {tuple(expected)}."
        )


def _add_lora(model: nn.Module, rank: int, targets: list[str]) -> None:
    """Insert LoRA adapters (Hu et al., arXiv 2106.09685) into the `targets` layers."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as problem:
        raise SerdemoError(
            f"--lora-rank needs the package peft: {install_command('peft')}"
        ) from problem
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets), model)
