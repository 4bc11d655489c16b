"""Options of the training loop, and a recipe with its options resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serdemo.nn.description import read_description
from serdemo.schema.options import Options, option, pick, specs
from serdemo.schema.renamed_options import current_options
from serdemo.training import recipes
from serdemo.training.recipes.base import Recipe


@dataclass(frozen=True)
class TrainOptions(Options):
    """Options of the training loop, whatever the recipe."""

    seed: int = option(0, "seed of weights, order and augmentation", low=0, high=2**31 - 1)
    init_from: str = option("", "checkpoint folder whose weights to begin with [default: none]")
    device: str = option("auto", "auto, cpu, cuda, cuda:1 or mps")
    precision: str = option(
        "auto", "number format of the forward pass", choices=("auto", "fp32", "bf16", "fp16")
    )
    weight_decay: float = option(0.05, "AdamW's weight decay", low=0.0, high=1.0)
    warm_up: float = option(0.05, "share of the steps in which the rate rises", low=0.0, high=0.9)
    clip_norm: float = option(1.0, "largest norm of the gradient", low=0.01, high=1000.0)
    ema_decay: float = option(
        0.998, "decay of the averaged weights that are scored and saved", low=0.0, high=0.99999
    )
    early_stop: int = option(
        0, "end a stage after so many epochs without a better one; 0 for never", low=0, high=10_000
    )
    budget_minutes: float = option(
        0.0,
        "time to train in, shared by the stages by their steps; the learning rate falls with it;"
        " 0 for no limit",
        low=0.0,
        high=1e6,
        advanced=False,
    )
    save_minutes: float = option(5.0, "longest time between saved states", low=0.01, high=1000.0)
    threads: int = option(0, "CPU threads; 0 leaves it to torch", low=0, high=256)


def resolve_recipe(name: str, values: Mapping[str, Any]) -> tuple[Recipe, TrainOptions]:
    """A recipe and the options of the loop, from a flat table of options.

    Missing options take the recipe's defaults; with `init_from` the encoder is that of the
    checkpoint. Raises UsageError for a recipe or an option that is not known,
    SerdemoError for a checkpoint that cannot be read.
    """
    kind = recipes.get(name)
    declared = [spec.name for group in (*kind.groups, TrainOptions) for spec in specs(group)]
    values = current_options(values, declared)
    start = values.get("init_from")
    encoder = _encoder_options_of(kind, start) if start else {}
    *groups, options = pick((*kind.groups, TrainOptions), {**kind.defaults, **encoder, **values})
    assert isinstance(options, TrainOptions)
    return kind({type(group): group for group in groups}), options


def _encoder_options_of(kind: type[Recipe], start: str) -> dict[str, Any]:
    """The recipe's options that describe the encoder of the checkpoint `start`."""
    description = read_description(Path(start))
    source = {"source": start} if description.encoder in kind.source_encoders else {}
    declared = {spec.name for group in kind.groups for spec in specs(group)}
    options = {"encoder": description.encoder, **description.encoder_options, **source}
    own = {"freeze"} & set(kind.defaults)  # what a recipe freezes is its method
    return {name: value for name, value in options.items() if name in declared - own}
