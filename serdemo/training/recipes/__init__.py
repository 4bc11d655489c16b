"""The contract of a recipe, and the table of recipes.

A recipe turns a split into stages; `train.fit` owns optimiser, precision, clipping, checkpoints
and events. A recipe's file reads as its paper.
"""

from __future__ import annotations

from importlib import import_module

from serdemo.schema.errors import UsageError
from serdemo.training.recipes.base import Recipe

RECIPES: dict[str, str] = {
    "supervised": "serdemo.training.recipes.supervised:Supervised",
    "distill": "serdemo.training.recipes.distill:Distill",
    "cross_corpus": "serdemo.training.recipes.cross_corpus:CrossCorpus",
    "speaker": "serdemo.training.recipes.speaker:Speaker",
    "speaker_clusters": "serdemo.training.recipes.speaker_clusters:SpeakerClusters",
    "ssl_cnn": "serdemo.training.recipes.ssl_cnn:SslCnn",
}


def get(name: str) -> type[Recipe]:
    """A recipe of the table by name; raises UsageError when there is none."""
    if name not in RECIPES:
        raise UsageError(f"There is no recipe {name!r}; known are {', '.join(RECIPES)}.")
    module, kind = RECIPES[name].split(":")
    found: type[Recipe] = getattr(import_module(module), kind)
    return found
