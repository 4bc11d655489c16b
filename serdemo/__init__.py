"""serdemo: which emotion a voice carries.

`Predictor` answers recordings, `Stream` cuts live sound into windows, `load` reads a checkpoint and
`fit` trains one. Each is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = ["Predictor", "Stream", "__version__", "fit", "load"]

if TYPE_CHECKING:
    from serdemo.checkpoint import load
    from serdemo.predict import Predictor
    from serdemo.stream import Stream
    from serdemo.train import fit

_HOMES = {
    "Predictor": "serdemo.predict",
    "Stream": "serdemo.stream",
    "fit": "serdemo.train",
    "load": "serdemo.checkpoint",
}


def __getattr__(name: str) -> Any:
    """A public name out of its module; raises AttributeError for any other."""
    if name not in _HOMES:
        raise AttributeError(f"module 'serdemo' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
