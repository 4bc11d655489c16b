"""Targets that take models: zips of checkpoints, safetensors, ONNX files, and JSON documents."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from serdemo.evaluation.predictions import PredictionSet
from serdemo.experiments.fuzz.table_targets import zipped
from serdemo.experiments.fuzz.target import Target, attempt, put
from serdemo.inference.speaker_adaptation import SpeakerAdapter
from serdemo.inference.speaker_prior import SpeakerPrior
from serdemo.inference.speaker_tracking import SpeakerTracker
from serdemo.nn import checkpoint, onnx_model, transformers_files
from serdemo.nn.checkpoint_files import (
    DESCRIPTION,
    INDEX,
    WEIGHTS,
    bundled_checkpoint,
    count_parameters,
    tensor_types,
)
from serdemo.nn.description import Description, read_description
from serdemo.nn.onnx_file import DESCRIBED, import_onnx
from serdemo.nn.weights import read_weights
from serdemo.runs.job import JOB, JobStore
from serdemo.runs.registry.archive import unpack
from serdemo.runs.registry.store import Registry
from serdemo.runs.request import TrainingRequest
from serdemo.schema.files import read_json
from serdemo.training.events import from_line

LABELS = ("angry", "happy", "sad")
EMBEDDING = 8
ENCODER = dict(width=16, layers=1, heads=2, expansion=1, kernel=3)
HEADS = dict(attention=8, embedding=EMBEDDING, projection=8)
MAX_BYTES = 20_000_000
TRANSFORMERS = {
    "model_type": "wav2vec2",
    "architectures": ["Wav2Vec2ForSequenceClassification"],
    "id2label": {"0": "ang", "1": "LABEL_1"},
}


class ModelArchive(Target):
    """A zip with a checkpoint, imported as the page does for a visitor."""

    def seeds(self) -> list[bytes]:
        """A checkpoint of its own, one in several files, and one of transformers."""
        files = tiny_checkpoint()
        sharded = {**files, "model-00001-of-00001.safetensors": files[WEIGHTS]}
        weight_map = {"pooling.hidden.weight": "model-00001-of-00001.safetensors"}
        sharded[INDEX] = json.dumps({"weight_map": weight_map}).encode()
        foreign = {"config.json": json.dumps(TRANSFORMERS).encode(), WEIGHTS: files[WEIGHTS]}
        foreign["preprocessor_config.json"] = b'{"sampling_rate": 16000}'
        del sharded[WEIGHTS]
        return [zipped(files, 0), zipped(files), zipped(sharded, 0), zipped(foreign, 0)]

    def read(self, data: bytes, folder: Path) -> None:
        """Import it into a registry of its own."""
        archive, registry = put(data, folder / "model.zip"), Registry(folder / "runs")
        registry.add("sent", lambda fresh: unpack(archive, fresh, MAX_BYTES))


class Safetensors(Target):
    """Weights beside a description."""

    def __init__(self) -> None:
        self._files = tiny_checkpoint()

    def seeds(self) -> list[bytes]:
        """Those of a checkpoint, and headers that lie about places and sizes."""
        tensor: dict[str, Any] = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
        forms: list[dict[str, Any]] = [
            {},
            {"data_offsets": [0, 1 << 62]},
            {"data_offsets": [16, 0]},
            {"shape": [1 << 32, 1 << 32]},
            {"shape": [0, 1 << 62], "data_offsets": [0, 0]},
            {"dtype": "I8", "shape": [4, 4]},
        ]
        headers = [{"a": tensor | form} for form in forms]
        headers += [{"a": tensor, "b": tensor}, {"a": tensor, "a.scale": tensor}]
        files = [_safetensors(json.dumps(header).encode()) for header in headers]
        return [self._files[WEIGHTS], *files, (1 << 32).to_bytes(8, "little") + b"{}", b"\0" * 8]

    def read(self, data: bytes, folder: Path) -> None:
        """Count, list, read and load."""
        put(data, folder / WEIGHTS)
        put(self._files[DESCRIPTION], folder / DESCRIPTION)
        for read in (count_parameters, tensor_types, read_weights, checkpoint.load):
            attempt(partial(read, folder))


class Onnx(Target):
    """An ONNX file, loaded and run on a second of silence."""

    def seeds(self) -> list[bytes]:
        """A plain graph, one whose weights lie elsewhere, and one with a branch."""
        onnx = import_onnx()
        plain, outside, branch = (_graph() for _ in range(3))
        weight = outside.graph.initializer[0]
        weight.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS), ("offset", "0"), ("length", "32")):
            weight.external_data.add(key=key, value=value)
        branch.graph.node[0].attribute.append(onnx.helper.make_attribute("body", branch.graph))
        return [model.SerializeToString() for model in (plain, outside, branch)]

    def read(self, data: bytes, folder: Path) -> None:
        """Load and run."""
        model, _ = onnx_model.load(put(data, folder / "model.onnx"))
        wave = torch.zeros(1, 16_000)
        model.classify(model.embed(wave, torch.tensor([16_000])))


class Documents(Target):
    """JSON documents: descriptions, states of a voice, requests, jobs, events, predictions."""

    def __init__(self) -> None:
        description = read_description(bundled_checkpoint())
        prior = SpeakerPrior.of(description)
        assert prior is not None
        self._prior = prior
        self._readers: tuple[Callable[[Any], object], ...] = (
            partial(Description.from_json, name="sent"),
            partial(SpeakerTracker.from_json, prior, grows=True),
            TrainingRequest.from_json,
            PredictionSet.from_json,
        )

    def seeds(self) -> list[bytes]:
        """One of each, and nesting, numbers and texts at the limits."""
        described: dict[str, Any] = json.loads(tiny_checkpoint()[DESCRIPTION])
        request = TrainingRequest("head", ("clips",)).to_json()
        values = [
            described,
            described
            | {"neutral": [0.1], "novelty": {"centroids": {"a": [1]}, "scales": [1], "slope": 0}},
            SpeakerAdapter(self._prior).to_json(),
            request,
            request | {"split": {"valid": 5}, "options": {"epochs": 1e300}, "corpora": [None]},
            TRANSFORMERS,
            {
                "labels": ["a"],
                "encoder": "mel",
                "encoder_options": {},
                "head_options": {},
                "format": 2,
            },
            {"stage": "a", "kind": "step", "step": 1},
        ]
        hostile = [
            b"[" * 20_000,
            b'{"labels":' * 3000,
            b"9" * 5000,
            b'{"format": 1e999}',
            b"\xff\xfe",
        ]
        return [*(json.dumps(value).encode() for value in values), *hostile]

    def read(self, data: bytes, folder: Path) -> None:
        """Read it as each kind of document, by itself and in a folder."""
        put(data, folder / transformers_files.EXTRACTOR)
        put(data, folder / WEIGHTS)
        (folder / "sent").mkdir()
        put(data, folder / "sent" / JOB)
        path = put(data, folder / transformers_files.CONFIG)
        attempt(lambda: transformers_files.read(folder))
        attempt(lambda: from_line(data.decode("utf-8", "replace")))
        attempt(lambda: JobStore(folder).job("sent"))
        values = read_json(path)
        for reader in self._readers:
            attempt(partial(reader, values))
        put(data, folder / DESCRIPTION)
        description = read_description(folder)
        with torch.device("meta"):
            attempt(lambda: checkpoint.build(description))


def tiny_checkpoint() -> dict[str, bytes]:
    """The files of a checkpoint of a few kilobytes."""
    description = Description(LABELS, "compact", ENCODER, HEADS, name="tiny", recipe="supervised")
    with tempfile.TemporaryDirectory() as scratch, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        folder = Path(scratch) / "tiny"
        checkpoint.save(folder, checkpoint.build(description), description)
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def _safetensors(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + bytes(16)


def _graph() -> Any:
    """A graph of three operators that answers as an exported model does."""
    helper = import_onnx().helper
    inputs = [
        helper.make_tensor_value_info("wave", 1, ["B", "T"]),
        helper.make_tensor_value_info("lengths", 7, ["B"]),
    ]
    outputs = [
        helper.make_tensor_value_info("embedding", 1, ["B", EMBEDDING]),
        helper.make_tensor_value_info("logits", 1, ["B", len(LABELS)]),
    ]
    weights = [
        helper.make_tensor("w", 1, [1, EMBEDDING], [0.5] * EMBEDDING),
        helper.make_tensor("v", 1, [EMBEDDING, len(LABELS)], [0.5] * EMBEDDING * len(LABELS)),
        helper.make_tensor("axes", 7, [1], [1]),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["wave", "axes"], ["level"]),
        helper.make_node("MatMul", ["level", "w"], ["embedding"]),
        helper.make_node("MatMul", ["embedding", "v"], ["logits"]),
    ]
    graph = helper.make_graph(nodes, "serdemo", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    description = Description(LABELS, "compact", ENCODER, HEADS, name="tiny").to_json()
    helper.set_model_props(model, {DESCRIBED: json.dumps(description)})
    return model
