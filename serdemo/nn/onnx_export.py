"""ONNX graphs of checkpoints: waveform in, embedding and logits out, log-mel features inside.

The weights stay as they are stored: in half precision or as integers of 8 bits with a scale for each
row, widened in the graph. Tables that follow from formulas are computed in it, so they cost no bytes:
the kernel of the Fourier transform, which is a convolution there, and Whisper's positions.
"""

from __future__ import annotations

import copy
import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from serdemo.audio import waveform
from serdemo.audio.features import LogMel
from serdemo.nn.checkpoint import constants, current_name, current_names, load
from serdemo.nn.checkpoint_files import CLASSIFIER, GRAPH, SCALE, read_tensors, tensor_files
from serdemo.nn.description import Description, strip_folders
from serdemo.nn.encoders import whisper
from serdemo.nn.encoders.whisper import WhisperEncoder, piece_samples
from serdemo.nn.model import Model
from serdemo.nn.onnx_file import DESCRIBED, MAX_BYTES, import_onnx
from serdemo.nn.weights import dequantize, narrowed
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import atomic
from serdemo.schema.libraries import install_command

OPSET = 18
PRODUCER = "serdemo"
DATA_TYPES = {torch.float32: 1, torch.int8: 3, torch.float16: 10}  # of TensorProto
TRACED_BATCH, TRACED_SAMPLES = 2, 8000  # of the sound that the exporter runs the model on


@dataclass(frozen=True, slots=True)
class Place:
    """Bytes of a tensor in a safetensors file beside the graph."""

    location: str
    offset: int
    length: int


class ConvPower(nn.Module):
    """Power spectrum (B, n_fft / 2 + 1, F) of samples (B, T) as a convolution with stride `hop`.

    `window` holds the weights of a frame's samples, at most `n_fft`. The first frame begins `reflected`
    samples before the first sample, on the mirrored sound.
    """

    window: Tensor

    def __init__(self, window: Tensor, n_fft: int, hop: int, reflected: int = 0) -> None:
        super().__init__()
        self.n_fft, self.hop, self.reflected = n_fft, hop, reflected
        self.register_buffer("window", window, persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        if self.reflected:
            wave = torch.cat((wave[:, 1 : self.reflected + 1].flip(1), wave), 1)
        n_bins = self.n_fft // 2 + 1
        # Integers modulo n_fft, so that the angle is below a turn and its rounding does not grow.
        turns = torch.arange(n_bins)[:, None] * torch.arange(len(self.window)) % self.n_fft
        angle = turns.float() * (2 * math.pi / self.n_fft)
        kernel = torch.cat((angle.cos(), angle.sin())) * self.window
        parts = F.conv1d(wave[:, None], kernel[:, None], stride=self.hop).square()
        return parts[:, :n_bins] + parts[:, n_bins:]


class Filters(nn.Module):
    """A matrix of which a graph holds the values that are not zero."""

    places: Tensor
    values: Tensor

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.shape, flat = matrix.shape, matrix.flatten()
        self.register_buffer("places", flat.nonzero()[:, 0], persistent=False)
        self.register_buffer("values", flat[self.places], persistent=False)

    def forward(self) -> Tensor:
        flat = torch.zeros(self.shape.numel())
        return flat.scatter(0, self.places, self.values).reshape(self.shape)


class ConvMelPower(nn.Module):
    """Powers (B, M, F) in mel bands of samples (B, T), by `power` and a filter bank (M, bins)."""

    def __init__(self, power: nn.Module, filters: Tensor) -> None:
        super().__init__()
        self.power, self.filters = power, Filters(filters)

    def forward(self, wave: Tensor) -> Tensor:
        return self.filters() @ self.power(wave)


class Network(nn.Module):
    """What `model.onnx` computes: embedding (B, E) and logits (B, C) of sound of any length."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, wave: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        options = self.model.options
        if options.image:
            wave = F.pad(wave, (0, options.image_samples))[:, : options.image_samples]
        else:  # at least a frame for the shortest sound
            is_whisper = isinstance(self.model.encoder, WhisperEncoder)
            wave = F.pad(wave, (0, whisper.HOP if is_whisper else LogMel.WINDOW))
        embedding = self.model.embed(wave, lengths)
        return embedding, self.model.classify(embedding)


class Head(nn.Module):
    """What `classifier.onnx` computes: logits (B, C) of embeddings (B, E)."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, embedding: Tensor) -> Tensor:
        return self.model.classify(embedding)


class WithWeights(nn.Module):
    """A network whose weights are inputs, as they are stored: `inputs` are the network's own."""

    def __init__(self, network: Network | Head) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: tuple[Tensor, ...], stored: dict[str, Tensor]) -> Any:
        state = {
            f"model.{name}": dequantize(value, stored[name + SCALE])
            if value.dtype == torch.int8
            else value.float()
            for name, value in stored.items()
        }
        model = self.network.model
        for name, table in constants(model).items():
            # A row more, for frames of padding.
            state[f"model.{name}"] = F.pad(state.get(f"model.{name}", table), (0, 0, 0, 1))
        known = model.state_dict().keys()
        state = {name: v for name, v in state.items() if name.removeprefix("model.") in known}
        return torch.func.functional_call(self.network, state, inputs)


def traceable(model: Model, description: Description) -> Model:
    """A copy of a model whose operators ONNX has; raises SerdemoError for an encoder without one."""
    encoder: Any = model.encoder
    is_whisper = isinstance(encoder, WhisperEncoder)
    if not is_whisper and not isinstance(getattr(encoder, "features", None), LogMel):
        raise SerdemoError(
            f"{description.name} cannot be exported: its encoder is {description.encoder}, and ONNX files are"
            " made of models with the encoder compact, mel, mfcc or whisper."
        )
    if is_whisper and model.options.image:
        seconds = piece_samples(encoder.config) / waveform.SAMPLE_RATE
        if model.options.image_seconds > seconds:
            raise SerdemoError(
                f"{description.name} cannot be exported: it takes {model.options.image_seconds:g} s at once,"
                f" and its encoder in an ONNX file {seconds:g} s."
            )
    model = copy.deepcopy(model).cpu().eval()
    encoder = model.encoder
    if is_whisper:
        encoder.model.config._attn_implementation = "eager"
        power = ConvPower(
            encoder.mel_power.window, whisper.WINDOW, whisper.HOP, whisper.WINDOW // 2
        )
        encoder.mel_power = ConvMelPower(power, encoder.mel_power.filters)
    else:
        mel = encoder.features.mel
        power = ConvPower(mel.spectrogram.window, mel.n_fft, LogMel.HOP)
        encoder.features.mel = ConvMelPower(power, mel.mel_scale.fb.T)
    return model


def trace(network: Network | Head, stored: Mapping[str, Tensor]) -> Any:
    """The graph of a network, a `ModelProto` whose inputs are the network's and the `stored` tensors."""
    import_onnx()
    try:
        from onnxscript import optimizer
    except ImportError as problem:
        raise SerdemoError(
            f"The export needs the package onnxscript: {install_command('onnx', 'onnxscript')}"
        ) from problem
    batch = torch.export.Dim("batch", min=1)
    if isinstance(network, Network):
        names, outputs = ["wave", "lengths"], ["embedding", "logits"]
        inputs: tuple[Tensor, ...] = (
            torch.zeros(TRACED_BATCH, TRACED_SAMPLES),
            torch.full((TRACED_BATCH,), TRACED_SAMPLES),
        )
        shapes: tuple[Any, ...] = ({0: batch, 1: torch.export.Dim("samples", min=2)}, {0: batch})
    else:
        names, outputs = ["embedding"], ["logits"]
        inputs = (torch.zeros(TRACED_BATCH, network.model.options.embedding),)
        shapes = ({0: batch},)
    with warnings.catch_warnings(action="ignore"), torch.inference_mode(False), torch.no_grad():
        program: Any = torch.onnx.export(
            WithWeights(network).eval(),
            (inputs,),
            kwargs={"stored": dict(stored)},
            dynamo=True,
            verbose=False,
            optimize=False,
            input_names=[*names, *stored],
            output_names=outputs,
            dynamic_shapes={"inputs": shapes, "stored": dict.fromkeys(stored)},
            opset_version=OPSET,
        )
    optimizer.optimize(program.model, output_size_limit=4096)
    return program.model_proto


def assemble(
    graph: Any, stored: Mapping[str, Tensor], places: Mapping[str, Place] | None = None
) -> Any:
    """Turn the `stored` inputs of a graph into its weights, and strip it of the exporter's notes.

    With `places` the weights are references to the files beside the graph, else they are in it.
    """
    import onnx

    inside = graph.graph
    used = {name for node in inside.node for name in node.input}
    signature = [value for value in inside.input if value.name not in stored]
    constant = [tensor for tensor in inside.initializer if tensor.name in used]
    for name in sorted(used & stored.keys()):
        value = stored[name].contiguous()
        tensor = onnx.TensorProto(name=name, dims=value.shape, data_type=DATA_TYPES[value.dtype])
        if places is None:
            tensor.raw_data = value.numpy().tobytes()
        else:
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, entry in asdict(places[name]).items():
                tensor.external_data.add(key=key, value=str(entry))
        constant.append(tensor)
    for node in inside.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
        node.ClearField("name")
    for field, values in (("input", signature), ("initializer", constant)):
        inside.ClearField(field)
        getattr(inside, field).extend(values)
    for value in (*inside.input, *inside.output, *inside.initializer):
        value.ClearField("metadata_props")
        value.ClearField("doc_string")
    for field in ("value_info", "metadata_props", "doc_string"):
        inside.ClearField(field)
    inside.name, graph.producer_name, graph.producer_version = PRODUCER, PRODUCER, ""
    for field in ("metadata_props", "doc_string", "domain", "model_version", "functions"):
        graph.ClearField(field)
    return graph


def read_stored(folder: Path) -> tuple[dict[str, Tensor], dict[str, Place]]:
    """The tensors of a checkpoint as they are stored, by their present names, and where they lie."""
    stored: dict[str, Tensor] = {}
    places: dict[str, Place] = {}
    for path in tensor_files(folder):
        stored |= current_names(read_tensors(path))
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size))
        for name, entry in header.items():
            if name != "__metadata__":
                start, stop = entry["data_offsets"]
                places[current_name(name)] = Place(path.name, 8 + size + start, stop - start)
    return stored, places


def write_graphs(folder: Path) -> list[Path]:
    """Write the graphs of a checkpoint beside its weights, which they refer to, and return their paths.

    `model.onnx` takes `wave` (B, T) float32 at 16 kHz, zero-padded, with `lengths` (B,) int64 in samples
    and gives `embedding` (B, E) and `logits` (B, C); `classifier.onnx`, where there are labels, takes an
    `embedding` to its `logits`. Raises SerdemoError as `load` and `traceable`.
    """
    model = traceable(*load(folder))
    stored, places = read_stored(folder)
    networks: dict[str, Network | Head] = {GRAPH: Network(model)}
    if model.labels:
        networks[CLASSIFIER] = Head(model)
    for name, network in networks.items():
        graph = assemble(trace(network, stored), stored, places)
        with atomic(folder / name) as temporary:
            temporary.write_bytes(graph.SerializeToString(deterministic=True))
    return [folder / name for name in networks]


def write_file(folder: Path, out: Path, *, int8: bool = False, card: str = "") -> None:
    """Write a checkpoint to one ONNX file with all that answers need, its `card` included.

    The graph is that of `write_graphs`. The weights have the bits of the checkpoint; with `int8` the
    encoder's matrices have 8 and a scale for each row. The metadata, text or JSON, are the fields of the
    description that other programs need, and the `description` whole. Raises SerdemoError as `write_graphs`.
    """
    model, description = load(folder)
    stored, _ = read_stored(folder)
    if int8:
        small = {n: v for n, v in stored.items() if v.dtype == torch.int8}
        small |= {n + SCALE: stored[n + SCALE] for n in small}
        stored = narrowed({n: v for n, v in stored.items() if n not in small}, 8) | small
    if sum(value.nbytes for value in stored.values()) > MAX_BYTES:
        raise SerdemoError(
            f"{description.name} cannot be exported: an ONNX file has at most 2 GB; export with --int8, or"
            " --beside the weights."
        )
    graph = assemble(trace(Network(traceable(model, description)), stored), stored)
    for key, value in metadata(model, strip_folders(description), card).items():
        text = value if isinstance(value, str) else json.dumps(value, allow_nan=False)
        graph.metadata_props.add(key=key, value=text)
    with atomic(out) as temporary:
        temporary.write_bytes(graph.SerializeToString(deterministic=True))


def metadata(model: Model, description: Description, card: str) -> dict[str, Any]:
    """Metadata of an ONNX file by key; `window_s` and `hop_s` are those of serdemo's windows, in seconds."""
    values = description.to_json()
    options = model.options
    fields = ("name", "labels", "output", "temperature", "unsure_below", "sample_rate", "licence")
    return {
        **{key: getattr(description, key) for key in fields},
        "window_s": options.image_seconds if options.image else waveform.WINDOW_S,
        "hop_s": waveform.HOP_S,
        "card": card,
        DESCRIBED: values,
    }
