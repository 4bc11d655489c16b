"""The training recipes, one module each: a recipe's file reads as its paper.

A recipe lays a split out in stages; `training.fit` owns optimiser, precision, checkpoints and events.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from serdemo.schema.errors import UsageError
from serdemo.training.recipes.base import Recipe

RECIPES: dict[str, str] = {
    "head": "serdemo.training.recipes.head:Head",
    "supervised": "serdemo.training.recipes.supervised:Supervised",
    "distill": "serdemo.training.recipes.distill:Distill",
    "cross_corpus": "serdemo.training.recipes.cross_corpus:CrossCorpus",
    "speaker": "serdemo.training.recipes.speaker:Speaker",
    "speaker_clusters": "serdemo.training.recipes.speaker_clusters:SpeakerClusters",
    "ssl_cnn": "serdemo.training.recipes.ssl_cnn:SslCnn",
}
# Recipes of `serdemo bench` that no command or page lists; an installed wheel lacks them.
EXPERIMENTS: dict[str, str] = {
    "cluster_ablations": "serdemo.experiments.cluster_ablations:ClusterAblations",
}


def get(name: str) -> type[Recipe]:
    """The recipe of that name; raises UsageError for an unknown one."""
    target = RECIPES.get(name) or EXPERIMENTS.get(name)
    if target is None or (name in EXPERIMENTS and find_spec("serdemo.experiments") is None):
        raise UsageError(f"There is no recipe {name!r}; known are {', '.join(RECIPES)}.")
    module, _, attribute = target.partition(":")
    recipe: type[Recipe] = getattr(import_module(module), attribute)
    return recipe
