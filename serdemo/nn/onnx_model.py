"""Models in ONNX files, run by onnxruntime on the CPU: what `serdemo export` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from serdemo.audio.waveform import SAMPLE_RATE
from serdemo.nn.checkpoint_files import CLASSIFIER, GRAPH, bundled_checkpoint
from serdemo.nn.description import Description, read_description
from serdemo.nn.model import HeadOptions
from serdemo.nn.onnx_file import read_graph
from serdemo.schema.errors import SerdemoError, UsageError

WAVE, LENGTHS, EMBEDDING, LOGITS = "wave", "lengths", "embedding", "logits"
FLOAT, INT64 = 1, 7  # of TensorProto


class OnnxModel:
    """A graph from waveform to embedding and logits, and the part of it from embedding to logits, None for a
    model without labels: each as a path or serialised.

    Safe to call from several threads. Raises SerdemoError for graphs that onnxruntime refuses.
    """

    def __init__(
        self, network: Path | bytes, classifier: Path | bytes | None, description: Description
    ) -> None:
        self.name, self.labels = description.name, description.labels
        self.options = HeadOptions.from_json(description.head_options)
        self.max_samples: int | None = None
        if description.encoder == "whisper":
            from serdemo.nn.encoders.whisper import piece_samples

            self.max_samples = piece_samples(description.encoder_config)
        self._network = self._session(network)
        self._classifier = None if classifier is None else self._session(classifier)

    def embed(self, wave: Tensor, lengths: Tensor) -> Tensor:
        """Embeddings (B, E) of `wave` (B, T) float32 at 16 kHz, zero-padded, of `lengths` (B,) samples.

        Raises SerdemoError for sound that is longer than the graph takes.
        """
        if self.max_samples is not None and wave.shape[1] > self.max_samples:
            raise SerdemoError(
                f"{self.name} takes sound of at most {self.max_samples / SAMPLE_RATE:g} s at once as an ONNX"
                " file: cut it into windows, or use the checkpoint."
            )
        inputs = {WAVE: wave.cpu().numpy(), LENGTHS: lengths.cpu().numpy().astype(np.int64)}
        return self._run(self._network, EMBEDDING, inputs)

    def classify(self, embedding: Tensor) -> Tensor:
        """Logits (B, C) of `embedding` (B, E)."""
        if self._classifier is None or not len(embedding):
            return torch.zeros(len(embedding), len(self.labels))
        return self._run(self._classifier, LOGITS, {EMBEDDING: embedding.cpu().numpy()})

    def _session(self, graph: Path | bytes) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Threads that spin while they wait take the processor from other streams and programs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = False  # it grows with every new length and number of windows
        options.log_severity_level = 4  # what fails is raised
        source = str(graph) if isinstance(graph, Path) else graph
        try:
            return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as problem:  # onnxruntime's errors have no other base
            raise SerdemoError(
                f"{self.name} cannot be run: onnxruntime {onnxruntime.__version__} refuses its graph."
            ) from problem

    def _run(self, session: Any, output: str, inputs: dict[str, Any]) -> Tensor:
        try:
            (values,) = session.run([output], inputs)
        except Exception as problem:
            raise SerdemoError(f"{self.name} failed on this sound in onnxruntime.") from problem
        return torch.from_numpy(values)


def load(path: Path, device: str | torch.device = "cpu") -> tuple[OnnxModel, Description]:
    """Load an ONNX file that `serdemo export` wrote, or the graph in a checkpoint's folder.

    Raises SerdemoError as `read_graph`, for a graph that does not fit its description, and as `OnnxModel`;
    UsageError for another device than the CPU.
    """
    if torch.device(device).type != "cpu":
        raise UsageError(f"{path.name} is an ONNX file, which runs on the CPU: give --device cpu.")
    description = read_description(path)
    graph, name, labels = read_graph(path, weights=True), description.name, description.labels
    width = HeadOptions.from_json(description.head_options).embedding
    _check_signature(graph.graph, width, len(labels), name)
    classifier = _classifier(graph, name).SerializeToString() if labels else None
    return OnnxModel(graph.SerializeToString(), classifier, description), description


def carries_graph(folder: Path) -> bool:
    """Whether a folder is a checkpoint that comes with serdemo, and has a graph. A graph of a stranger is
    read by `load` alone, which looks at what is in it."""
    shipped = bundled_checkpoint().parent
    return folder.resolve().parent == shipped.resolve() and (folder / GRAPH).is_file()


def load_shipped(folder: Path) -> tuple[OnnxModel, Description]:
    """Load the graph of a checkpoint that comes with serdemo, which runs without the package `onnx`."""
    description = read_description(folder)
    classifier = folder / CLASSIFIER if description.labels else None
    return OnnxModel(folder / GRAPH, classifier, description), description


def _check_signature(graph: Any, width: int, classes: int, name: str) -> None:
    """Raise SerdemoError unless a graph has the inputs and outputs that `serdemo export` gives it."""
    weights = {tensor.name for tensor in graph.initializer}
    inputs, outputs = (
        {value.name: _kind(value) for value in values if value.name not in weights}
        for values in (graph.input, graph.output)
    )
    expected = {EMBEDDING: (FLOAT, 2, width), LOGITS: (FLOAT, 2, classes)}
    takes = {key: kind[:2] for key, kind in inputs.items()}
    if takes != {WAVE: (FLOAT, 2), LENGTHS: (INT64, 1)} or outputs != expected:
        raise SerdemoError(
            f"{name} does not fit its description: its graph must take {WAVE} and {LENGTHS} and give"
            f" {EMBEDDING} ({width}) and {LOGITS} ({classes})."
        )


def _kind(value: Any) -> tuple[int, int, int]:
    """Type, number of axes and size of the last axis of an input or output, 0 where that is open."""
    tensor = value.type.tensor_type
    axes = tensor.shape.dim
    return tensor.elem_type, len(axes), axes[-1].dim_value if axes else 0


def _classifier(graph: Any, name: str) -> Any:
    """The part of a graph that leads from the embedding to the logits."""
    from onnx.utils import Extractor

    try:
        return Extractor(graph).extract_model([EMBEDDING], [LOGITS])
    except Exception as problem:
        raise SerdemoError(
            f"{name} does not fit its description: its {LOGITS} do not follow from its {EMBEDDING}."
        ) from problem
