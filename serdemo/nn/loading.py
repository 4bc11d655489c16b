"""Loading of any model that answers: a checkpoint of serdemo, an ONNX file, or a model of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from serdemo.nn import checkpoint
from serdemo.nn.checkpoint_files import DESCRIPTION
from serdemo.nn.description import Description
from serdemo.nn.model import Model
from serdemo.nn.onnx_file import is_onnx
from serdemo.nn.onnx_model import OnnxModel, carries_graph, load_shipped
from serdemo.nn.onnx_model import load as load_onnx
from serdemo.nn.transformers_files import is_transformers
from serdemo.nn.transformers_model import TransformersModel
from serdemo.nn.transformers_model import load as load_transformers
from serdemo.schema.files import recovered_path


def load_model(
    folder: Path,
    device: str | torch.device = "cpu",
    label_map: Mapping[str, str] | None = None,
    *,
    by_graph: bool = False,
) -> tuple[Model | TransformersModel | OnnxModel, Description]:
    """Load what the folder or ONNX file holds, in float32 and evaluation mode; `label_map` names a foreign
    model's labels. With `by_graph` a checkpoint that comes with serdemo is run by its ONNX graph on the CPU.

    Raises SerdemoError as `checkpoint.load`, `transformers_model.load` and `onnx_model.load`.
    """
    if is_onnx(folder):
        return load_onnx(folder, device)
    if is_transformers(folder) and not (recovered_path(folder) / DESCRIPTION).is_file():
        return load_transformers(folder, device, label_map)
    if by_graph and torch.device(device).type == "cpu" and carries_graph(folder):
        return load_shipped(folder)
    return checkpoint.load(folder, device)
