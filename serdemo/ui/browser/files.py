"""What answers in the browser is made of: the shipped models and the speech detector, and their route."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from serdemo.audio import vad
from serdemo.nn.checkpoint_files import (
    DESCRIPTION,
    SHIPPED,
    SMALLEST,
    SPEAKER,
    bundled_checkpoint,
    tensor_files,
)
from serdemo.ui.shell.scripts import CACHE, modules

ADDRESS = "serdemo-models"
GRAPHS = ("model.onnx", "classifier.onnx")  # of the embedding and the logits, and of these alone
MODELS = (SMALLEST, SHIPPED, SPEAKER)
DETECTOR = "silero-vad"
RUNTIME = "browser/onnxruntime/"  # below the scripts
GPU_BUILD = ".jspi."  # in the names of what is loaded later, and only where there is a GPU
_MEDIA_TYPES = {".json": "application/json"}


@cache
def contents() -> dict[str, tuple[Path, ...]]:
    """The files of each shipped model that a browser loads, and of the speech detector, `DETECTOR`.

    Raises SerdemoError where a model is incomplete.
    """
    groups: dict[str, tuple[Path, ...]] = {DETECTOR: (vad.network_path(),)}
    for name in MODELS:
        folder = bundled_checkpoint(name)
        graphs = [folder / graph for graph in GRAPHS if (folder / graph).is_file()]
        groups[name] = (folder / DESCRIPTION, *graphs, *tensor_files(folder))
    return groups


@cache
def paths() -> dict[str, Path]:
    """Every file below the route, by its path there: "DIGEST/compact/model.onnx"."""
    return {
        f"{_digest(name)}/{name}/{file.name}": file
        for name, files in contents().items()
        for file in files
    }


def manifest(folder: Callable[[str], str] | None = None) -> dict[str, Any]:
    """What `BrowserModels` of browser/remote.js is made from, as JSON: where each file is, and how large.

    `models` has for each of them its `url`, the names of its `weights`, and `bytes` in all; `vad` and
    `runtime` the same. `folder(name)` is the address of a folder of `contents`, seen from that of the
    scripts, by default on this page.
    """
    folder = folder or (lambda name: f"../../{ADDRESS}/{_digest(name)}/{name}")
    models = {
        name: {
            "url": f"{folder(name)}/",
            "weights": [file.name for file in contents()[name] if file.suffix == ".safetensors"],
            "bytes": _size(contents()[name]),
        }
        for name in MODELS
    }
    (network,) = contents()[DETECTOR]
    runtime = [
        len(content)
        for path, content in modules().items()
        if path.startswith(RUNTIME) and GPU_BUILD not in path
    ]
    return {
        "models": models,
        "vad": {"url": f"{folder(DETECTOR)}/{network.name}", "bytes": _size([network])},
        "runtime": {"bytes": sum(runtime)},
    }


def route() -> Route:
    """The route of the files in `paths`; nothing else exists below it."""

    async def serve(request: Request) -> Response:
        file = paths().get(request.path_params["path"])
        if file is None:
            return Response(status_code=404)
        media_type = _MEDIA_TYPES.get(file.suffix, "application/octet-stream")
        return FileResponse(file, media_type=media_type, headers={"Cache-Control": CACHE})

    return Route(f"/{ADDRESS}/{{path:path}}", serve)


@cache
def _digest(name: str) -> str:
    """Hash of the content of a folder of `contents`."""
    whole = hashlib.sha256()
    for file in contents()[name]:
        content = file.read_bytes()
        whole.update(f"{file.name}\0{len(content)}\0".encode() + content)
    return whole.hexdigest()[:16]


def _size(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files)
