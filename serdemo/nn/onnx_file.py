"""ONNX files as data: what a stranger's file may hold, its weights, and the description inside it.

A graph runs only if it is plain: weights inside, or in the safetensors files of the checkpoint that it
lies in, no operators but ONNX's own, and no loops or branches.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serdemo.nn.checkpoint_files import DESCRIPTION, is_weights
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import read_json
from serdemo.schema.libraries import install_command

SUFFIX = ".onnx"
DESCRIBED = "description"  # the metadata with a checkpoint's `model.json`
MAX_BYTES = 2**31 - 1  # of a protobuf message
MAX_NODES = 50_000
DOMAINS = ("", "ai.onnx")  # of ONNX's own operators
ONLY_WHOLE = (
    "is an ONNX file, which answers and embeds as it is: to train, to quantise and to fit it to a person"
    " takes the checkpoint that it was made from."
)


def is_onnx(path: Path) -> bool:
    """Whether a path names an ONNX file rather than the folder of a checkpoint."""
    return path.suffix.lower() == SUFFIX and not path.is_dir()


def refuse_onnx(path: Path) -> None:
    """Raise SerdemoError for an ONNX file where a checkpoint is needed."""
    if is_onnx(path):
        raise SerdemoError(f"{path.name} {ONLY_WHOLE}")


def import_onnx() -> Any:
    """The package onnx; raises SerdemoError where it is missing."""
    try:
        import onnx
    except ImportError as problem:
        raise SerdemoError(
            f"ONNX files need the package onnx: {install_command('onnx')}"
        ) from problem
    return onnx


def read_description_values(path: Path) -> Any:
    """The parsed `model.json` in an ONNX file, or beside it where the file lies in its checkpoint.

    Raises SerdemoError as `read_graph`, and for a file without one.
    """
    for entry in read_graph(path).metadata_props:
        if entry.key == DESCRIBED:
            try:
                return json.loads(entry.value)
            except (ValueError, RecursionError) as problem:
                raise SerdemoError(f"{path.name} is damaged: its description is no JSON.") from (
                    problem
                )
    if (path.parent / DESCRIPTION).is_file():
        return read_json(path.parent / DESCRIPTION)
    raise SerdemoError(
        f"{path.name} holds no description of its labels: use an ONNX file that `serdemo export` wrote."
    )


def read_graph(path: Path, weights: bool = False) -> Any:
    """The `ModelProto` of an ONNX file, by request with weights that lie in files beside it read too.

    Raises SerdemoError for a missing, damaged or too large file, and for a graph that is not plain.
    """
    onnx = import_onnx()
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as problem:
        raise SerdemoError(f"{path.name} cannot be read: {problem.strerror}.") from problem
    if size > MAX_BYTES:
        raise SerdemoError(f"{path.name} is refused: an ONNX file has at most 2 GB.")
    try:
        model = onnx.load_model_from_string(content)
    except Exception as problem:  # protobuf's, which has no types
        raise SerdemoError(f"{path.name} is not an ONNX file or is damaged.") from problem
    if fault := _find_fault(model):
        raise SerdemoError(f"{path.name} is refused: {fault}.")
    for tensor in _tensors(model.graph) if weights else ():
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _read_weights(tensor, path)
    return model


def _find_fault(model: Any) -> str | None:
    """Why a graph is not plain, as the end of a sentence; None for one that is."""
    graph = model.graph
    if not graph.node or model.functions or graph.sparse_initializer or model.training_info:
        return "its graph is empty or of a kind that serdemo does not run"
    if len(graph.node) > MAX_NODES:
        return f"it has more than {MAX_NODES} operators"
    for node in graph.node:
        if node.domain not in DOMAINS:
            return f"its operator {node.op_type[:80]!r} is not one of ONNX's own"
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            return f"its operator {node.op_type[:80]!r} is a loop or a branch"
        if any(a.HasField("sparse_tensor") or a.sparse_tensors for a in node.attribute):
            return f"its operator {node.op_type[:80]!r} holds a sparse tensor"
    for tensor in _tensors(graph):
        entries = {entry.key: entry.value for entry in tensor.external_data}
        is_outside = tensor.data_location == tensor.EXTERNAL or entries
        if is_outside and not is_weights(entries.get("location", "")):
            location = entries.get("location", "")[:80]
            return f"its weights lie in {location!r}, which is no file of a checkpoint beside it"
    return None


def _tensors(graph: Any) -> Iterator[Any]:
    """All tensors of a graph without subgraphs."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _read_weights(tensor: Any, path: Path) -> None:
    """Put the bytes that a tensor refers to into it; raises SerdemoError where they do not fit."""
    from onnx import helper

    entries = {entry.key: entry.value for entry in tensor.external_data}
    file = path.parent / entries["location"]
    try:
        size = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize * math.prod(tensor.dims)
        offset, length = int(entries["offset"]), int(entries["length"])
        if length != size or not 0 <= offset <= file.stat().st_size - length:
            raise ValueError("the places do not fit the shapes")
        with file.open("rb") as weights:
            weights.seek(offset)
            tensor.raw_data = weights.read(length)
    except (KeyError, ValueError) as problem:
        raise SerdemoError(
            f"{path.name} is damaged: {tensor.name[:80]!r} does not lie in {file.name} where it says."
        ) from problem
    except OSError as problem:
        raise SerdemoError(
            f"{path.name} is incomplete: {file.name} beside it cannot be read."
        ) from problem
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")
