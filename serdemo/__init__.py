"""serdemo: which emotion a voice carries.

`Predictor` answers recordings, `Stream` cuts live sound into windows, `load` reads a checkpoint, `fit`
trains one and `resolve_checkpoint` finds one by its name, on the Hugging Face hub too. Each is imported
when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from serdemo.schema import settings

__version__ = "0.3.0"

__all__ = ["Predictor", "Stream", "__version__", "fit", "load", "resolve_checkpoint"]

if TYPE_CHECKING:
    from serdemo.inference.predictor import Predictor
    from serdemo.inference.stream import Stream
    from serdemo.nn.checkpoint import load
    from serdemo.runs.registry.hub import resolve_checkpoint
    from serdemo.training.fit import fit

_HOMES = {
    "Predictor": "serdemo.inference.predictor",
    "Stream": "serdemo.inference.stream",
    "fit": "serdemo.training.fit",
    "load": "serdemo.nn.checkpoint",
    "resolve_checkpoint": "serdemo.runs.registry.hub",
}


# Of ONNX Runtime and the hub's library, which would report their use to their makers.
settings.set_variables(ORT_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_TELEMETRY="1")


def __getattr__(name: str) -> Any:
    """A public name out of its module; raises AttributeError for any other."""
    if name not in _HOMES:
        raise AttributeError(f"module 'serdemo' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
