"""What answers in the browser is made of: the shipped models and map, the speech detector, and their route."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from serdemo import __version__
from serdemo.audio import vad
from serdemo.embeddings import embedding_map
from serdemo.nn.checkpoint_files import (
    ANSWERING,
    CLASSIFIER,
    DESCRIPTION,
    GRAPH,
    SHIPPED,
    SPEAKER,
    bundled_checkpoint,
    tensor_files,
)
from serdemo.ui.browser.map_files import MapFiles
from serdemo.ui.shell.examples import EXAMPLES, EXAMPLES_DIR
from serdemo.ui.shell.scripts import CACHE, modules

ADDRESS = "serdemo-models"
MODELS = (*ANSWERING, SPEAKER)
DETECTOR = "silero-vad"
MAP = "map"
EXAMPLE_FILES = "examples"
MANIFEST = "manifest.json"  # below the route; `browser/page_models.js` fetches it
RUNTIME = "browser/onnxruntime/"  # below the scripts
CODE = "ort-wasm-simd-threaded.wasm.gz"  # of the runtime
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
        graphs = [folder / graph for graph in (GRAPH, CLASSIFIER) if (folder / graph).is_file()]
        groups[name] = (folder / DESCRIPTION, *graphs, *tensor_files(folder))
    return groups


@cache
def paths() -> dict[str, Path]:
    """Every file below the route, by its path there: "DIGEST/compact/model.onnx"."""
    return {
        f"{_digest(name)}/{name}/{file.name}": file
        for name, files in {**contents(), EXAMPLE_FILES: _examples()}.items()
        for file in files
    }


def example_addresses() -> dict[str, str]:
    """The address of each example recording, by its label, seen from that of the scripts."""
    folder = f"../../{ADDRESS}/{_digest(EXAMPLE_FILES)}/{EXAMPLE_FILES}"
    return {label: f"{folder}/{name}" for label, name in EXAMPLES.items()}


def manifest(folder: Callable[[str], str] | None = None) -> dict[str, Any]:
    """What `BrowserModels` of browser/remote.js is made from, as JSON: where each file is, and how large.

    `models` has for each of them its `url`, the names of its `weights`, `bytes` in all, and whether it
    `adapts` to voices; `vad` has `url` and `bytes`, `runtime` its `bytes`, and `map` the `url` of the folder
    of the shipped map. `folder(name)` is the address of a folder of `contents`, or of the map's, MAP, seen
    from that of the scripts, by default on this page.
    """
    folder = folder or (lambda name: f"../../{ADDRESS}/{_digest(name)}/{name}")
    models = {
        name: {
            "url": f"{folder(name)}/",
            "weights": [file.name for file in contents()[name] if file.suffix == ".safetensors"],
            "bytes": _size(contents()[name]),
            "adapts": _adapts(contents()[name][0]),
        }
        for name in MODELS
    }
    (network,) = contents()[DETECTOR]
    return {
        "models": models,
        "vad": {"url": f"{folder(DETECTOR)}/{network.name}", "bytes": _size([network])},
        "runtime": {"bytes": _runtime_size()},
        "map": {"url": f"{folder(MAP)}/"},
    }


def first_answer_mb() -> int:
    """Megabytes that a browser loads once, before the first answer of the shipped model."""
    models = [*contents()[SHIPPED], *contents()[DETECTOR]]
    return round((_size(models) + _runtime_size()) / 1e6)


def route() -> Route:
    """The route of the files in `paths`, of the map's and of the manifest; nothing else exists below it."""

    def serve(request: Request) -> Response:  # in a thread: the map takes a moment
        path = request.path_params["path"]
        if path == MANIFEST:
            return JSONResponse(manifest(), headers={"Cache-Control": "no-cache"})
        folder, _, name = path.rpartition("/")
        if folder == f"{_digest(MAP)}/{MAP}" and (content := _map().get(name)):
            media_type = "application/octet-stream"
            return Response(content, media_type=media_type, headers={"Cache-Control": CACHE})
        file = paths().get(path)
        if file is None:
            return Response(status_code=404)
        media_type = _MEDIA_TYPES.get(file.suffix, "application/octet-stream")
        return FileResponse(file, media_type=media_type, headers={"Cache-Control": CACHE})

    return Route(f"/{ADDRESS}/{{path:path}}", serve)


@cache
def _digest(name: str) -> str:
    """Hash of the content of a folder of `contents`, or of what the map's files are made from."""
    whole = hashlib.sha256(__version__.encode())
    if name == MAP:
        files: tuple[Path, ...] = (embedding_map.default_path(),)
    else:
        files = _examples() if name == EXAMPLE_FILES else contents()[name]
    for file in files:
        content = file.read_bytes()
        whole.update(f"{file.name}\0{len(content)}\0".encode() + content)
    return whole.hexdigest()[:16]


@cache
def _map() -> dict[str, bytes]:
    """The files that place voices on the shipped map."""
    return MapFiles.of_shipped().placing()


def _examples() -> tuple[Path, ...]:
    return tuple(EXAMPLES_DIR / name for name in EXAMPLES.values())


def _adapts(description: Path) -> bool:
    """Whether a model can get used to a voice by speech of unknown emotion."""
    prior = json.loads(description.read_text(encoding="utf-8")).get("speaker_prior") or {}
    return any(prior.get("discriminants") or [])


def _runtime_size() -> int:
    """Bytes of the runtime that every browser loads, without its two small scripts."""
    return len(modules()[f"{RUNTIME}{CODE}"])


def _size(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files)
