"""Audio classification models of transformers, loaded from a folder and used as our own models are.

The embedding is what goes into the model's last module, its `classifier`: the pooled hidden states.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from torch import Tensor, nn

from serdemo.audio.waveform import SAMPLE_RATE, Samples
from serdemo.nn import transformers_files
from serdemo.nn.checkpoint_files import count_parameters, tensor_types
from serdemo.nn.description import Description, read_description
from serdemo.nn.encoders.pretrained import UNREADABLE
from serdemo.nn.transformers_files import CONFIG, EXTRACTOR, SPEECH_HEAD, Classifier
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import recovered_path

WHOLE_S = 30.0  # a longer sound is scored by windows, even where the model would take it
MAX_INPUT_S = 600.0  # that an extractor may pad to
BATCH_S = 60.0  # of sound that goes through the model at once
RATES = (4_000, 192_000)  # that a feature extractor may name
# Tensors without a part in inference: SpecAugment's vector, and what predicts codes in pretraining.
TRAINING_ONLY = re.compile(r"(?:.*\.)?(?:masked_spec_embed|(?:quantizer|project_(?:hid|q))\..+)")
FLOATS = {"F64", "F32", "F16", "BF16"}  # of weights that are no integers


@dataclass(frozen=True, slots=True)
class TransformersOptions:
    """What `Model.options` is to our own models: `embedding` is the width of an embedding."""

    embedding: int
    image: bool = False


class TransformersModel(nn.Module):
    """An audio classification model of transformers with its feature extractor.

    `labels` are ours; `max_s` is the longest sound that it takes at once, and
    `fixed_input` says that it pads every sound to that length, so that short windows cost as much.
    """

    def __init__(self, network: Any, extractor: Any, classifier: Classifier) -> None:
        super().__init__()
        self.head: nn.Module = network.classifier
        network.classifier = nn.Identity()  # its logits are now the embedding
        self.network, self.extractor = network, extractor
        self.outputs = classifier
        self.labels = () if classifier.output == "regression" else classifier.labels
        self.rate = int(extractor.sampling_rate)
        width = next(self.head.parameters()).shape[-1]
        self.options = TransformersOptions(int(width))
        own_s = _max_seconds(extractor)
        if own_s is not None and own_s > MAX_INPUT_S:
            raise SerdemoError(
                f"{classifier.name} cannot be read: its {EXTRACTOR} pads to {own_s:.0f} s."
            )
        self.fixed_input = own_s is not None
        self.max_s = min(own_s or WHOLE_S, WHOLE_S)
        self._min_samples = _min_samples(network.config, self.rate)

    def embed(self, wave: Tensor, lengths: Tensor) -> Tensor:
        """Embeddings (B, E) of `wave` (B, T) float32 at 16 kHz, of `lengths` (B,) samples.

        A clip goes through the model as if it were alone: only inputs of the same shape are batched.
        """
        waves = [row[:n].cpu().numpy() for row, n in zip(wave, lengths.tolist(), strict=True)]
        with _sentences(self.outputs.name, "could not be run on this sound"):
            inputs = [self._features(self._resampled(samples)) for samples in waves]
            rows: list[Tensor] = []
            for _, part in groupby(inputs, key=_shapes):
                rows += self._forward(list(part), wave.device)
        return torch.stack(rows)

    def classify(self, embedding: Tensor) -> Tensor:
        """Logits (B, C), float32, of our labels, or the values of a regression, from `embedding` (B, E).

        The probability of a label with several outputs is their sum, with sigmoid the largest.
        """
        native = self.head(embedding).float()
        columns = [native[:, list(numbers)] for numbers in self.outputs.columns]
        if self.outputs.output == "softmax":
            return torch.stack([column.logsumexp(1) for column in columns], 1)
        return torch.stack([column.amax(1) for column in columns], 1)

    def _resampled(self, samples: Samples) -> Samples:
        if self.rate != SAMPLE_RATE:
            samples = soxr.resample(samples, SAMPLE_RATE, self.rate)
        missing = self._min_samples - len(samples)
        return np.pad(samples, (0, missing)) if missing > 0 else samples

    def _features(self, samples: Samples) -> dict[str, Tensor]:
        """The extractor's output for one clip, as transformers' pipeline gets it."""
        features = self.extractor(samples, sampling_rate=self.rate, return_tensors="pt")
        return {name: features[name] for name in features}

    def _forward(
        self, inputs: Sequence[Mapping[str, Tensor]], device: torch.device
    ) -> list[Tensor]:
        """Embeddings (E,) of inputs of one shape, so many at once as `BATCH_S` allows."""
        first = next(iter(inputs[0].values()))
        seconds = self.max_s if self.fixed_input else first.shape[-1] / self.rate
        size = max(1, int(BATCH_S / max(seconds, 0.1)))
        rows: list[Tensor] = []
        for start in range(0, len(inputs), size):
            part = inputs[start : start + size]
            batch = {name: torch.cat([one[name] for one in part]).to(device) for name in part[0]}
            rows += self.network(**batch).logits.float()
        return rows


def load(
    folder: Path, device: str | torch.device, label_map: Mapping[str, str] | None = None
) -> tuple[TransformersModel, Description]:
    """Load an audio classification model in float32 and evaluation mode.

    Raises SerdemoError for a folder that `transformers_files.read` refuses, for a model that this
    transformers does not know, and unless every tensor fits.
    """
    classifier = transformers_files.read(folder, label_map)
    name, path = classifier.name, recovered_path(folder)
    config = transformers_files.read_config(folder)
    with _quiet(), _sentences(name, "cannot be read"):
        kind = _model_class(config, name)
        extractor = _extractor(path, name)
        _check_sizes(kind, path, name)
        network, loading = kind.from_pretrained(
            path,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, by name
        )
        _check_tensors(network, loading, name)
        _check_input(network, extractor, len(classifier.native), name)
        model = TransformersModel(network, extractor, classifier)
    return model.to(device).eval().requires_grad_(False), read_description(folder, label_map)


def check(folder: Path) -> None:
    """Load a model and run it on a second of silence; raises SerdemoError where that fails."""
    model, description = load(folder, "cpu")
    with torch.inference_mode():
        embedding = model.embed(torch.zeros(1, SAMPLE_RATE), torch.tensor([SAMPLE_RATE]))
        if not bool(model.classify(embedding).isfinite().all()):
            raise SerdemoError(f"{description.name} is damaged: it gives no finite numbers.")


def _model_class(config: Mapping[str, Any], name: str) -> Any:
    """The class of a model; raises SerdemoError where transformers has none of it for this task."""
    import transformers
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES as CLASS_NAMES,
    )

    model_type = str(config["model_type"])
    architecture = transformers_files.architecture_of(config)
    if architecture.endswith(SPEECH_HEAD):
        from serdemo.nn.speech_classification import CLASSES

        if model_type in CLASSES:
            return CLASSES[model_type]
    expected = CLASS_NAMES.get(model_type)
    if expected is None:
        raise SerdemoError(
            f"{name} is a model of type {model_type[:80]!r}, for which transformers"
            f" {transformers.__version__} has no audio classification: it has"
            f" {', '.join(CLASS_NAMES)}."
        )
    if architecture not in ("", expected):
        raise SerdemoError(
            f"{name} is a {architecture[:80]}, which is not transformers' {expected}."
        )
    return getattr(transformers, expected)


def _extractor(path: Path, name: str) -> Any:
    from transformers import AutoFeatureExtractor

    extractor = AutoFeatureExtractor.from_pretrained(
        path, trust_remote_code=False, local_files_only=True
    )
    rate = getattr(extractor, "sampling_rate", None)
    if type(rate) is not int or not RATES[0] <= rate <= RATES[1]:
        raise SerdemoError(f"{name} cannot be read: its {EXTRACTOR} names no sampling rate.")
    return extractor


def _check_sizes(kind: Any, path: Path, name: str) -> None:
    """Raise SerdemoError for weights that are no floats, or fewer than the configuration asks for."""
    if unfit := {kind for kind in tensor_types(path).values() if kind not in FLOATS | {"I64"}}:
        raise SerdemoError(
            f"{name} has weights of type {min(unfit)}, which are quantised: take its original in 16 or"
            " 32 bits."
        )
    with torch.device("meta"):
        needed = sum(p.numel() for p in kind(kind.config_class.from_pretrained(path)).parameters())
    available = count_parameters(path)
    if needed > 1.5 * available:  # a tensor that is missing is named below
        raise SerdemoError(
            f"{name} does not fit its {CONFIG}: that needs {needed} numbers, its weights are"
            f" {available}."
        )


def _check_tensors(network: Any, loading: Mapping[str, Any], name: str) -> None:
    """Raise SerdemoError unless every tensor that inference needs was in the file, fits and is finite."""
    misfit = f"{name} does not fit its {CONFIG}:"
    for tensor, shape, expected in sorted(loading["mismatched_keys"]):
        raise SerdemoError(f"{misfit} {tensor} is {tuple(shape)}, not {tuple(expected)}.")
    for key, problem in (("missing", "lacks"), ("unexpected", "has an unexpected")):
        names = [x for x in sorted(loading[f"{key}_keys"]) if not TRAINING_ONLY.fullmatch(x)]
        if names:
            raise SerdemoError(f"{misfit} it {problem} tensor {names[0]}.")
    for tensor, value in network.state_dict().items():
        if not bool(value.isfinite().all()):
            raise SerdemoError(f"{name} is damaged: {tensor} holds values that are not finite.")


def _check_input(network: Any, extractor: Any, outputs: int, name: str) -> None:
    """Raise SerdemoError for an extractor of another model, or another number of labels."""
    made, taken = extractor.model_input_names[0], network.main_input_name
    if made != taken:
        raise SerdemoError(
            f"{name} cannot be read: its {EXTRACTOR} is of another model; that makes {made}, this takes"
            f" {taken}."
        )
    if network.config.num_labels != outputs:
        raise SerdemoError(f"{name} cannot be read: it has {outputs} labels for its outputs.")


def _max_seconds(extractor: Any) -> float | None:
    """Length of sound that an extractor pads and cuts to; None where it takes any length."""
    if hasattr(extractor, "n_samples"):  # Whisper's
        return float(extractor.n_samples / extractor.sampling_rate)
    if hasattr(extractor, "num_mel_bins") and hasattr(extractor, "max_length"):  # AST's
        return float(extractor.max_length * 0.01)  # frames of 10 ms
    return None


def _min_samples(config: Any, rate: int) -> int:
    """Samples of a sound that gives a frame or two, in the layers before the Transformer."""
    field, stride = 1, 1
    for kernel, step in zip(
        getattr(config, "conv_kernel", ()), getattr(config, "conv_stride", ()), strict=False
    ):
        field, stride = field + (kernel - 1) * stride, stride * step
    return max(field + stride * getattr(config, "squeeze_factor", 1), rate // 20)


def _shapes(features: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in features.items()}


@contextmanager
def _sentences(name: str, problem: str) -> Iterator[None]:
    """Turn what transformers raises into one sentence about the model `name`."""
    try:
        yield
    except SerdemoError:
        raise
    except UNREADABLE as fault:
        reason = (str(fault).strip() or type(fault).__name__).splitlines()[0].rstrip(".:")
        raise SerdemoError(f"{name} {problem}: {reason[:200]}.") from fault


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from writing to the terminal."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with warnings.catch_warnings(action="ignore"):
        yield
