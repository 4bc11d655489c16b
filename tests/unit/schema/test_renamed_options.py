"""Option names and values from before 0.2.0 are read as the present ones."""

from __future__ import annotations

from typing import Any

import pytest

from serdemo.nn.encoders.options import PretrainedOptions
from serdemo.schema.errors import UsageError
from serdemo.schema.options import parsed, specs
from serdemo.schema.renamed_options import REMOVED, RENAMED, current_options
from serdemo.training.options import TrainOptions, resolve_recipe
from serdemo.training.recipes import EXPERIMENTS, RECIPES, get


def declared() -> set[str]:
    """Every option of every recipe."""
    names = (*RECIPES, *EXPERIMENTS)
    return {s.name for name in names for g in (*get(name).groups, TrainOptions) for s in specs(g)}


def test_every_present_name_in_the_table_is_declared_and_no_former_one_is() -> None:
    assert set(RENAMED.values()) <= declared()
    assert not declared() & set(RENAMED)


@pytest.mark.parametrize(
    ("former", "present"),
    [
        ({"crop_low": 1.0, "epochs": 3}, {"min_crop": 1.0, "epochs": 3}),
        ({"positives": "across"}, {"cross_corpus_positives": True}),
        ({"positives": "all"}, {"cross_corpus_positives": False}),
        ({"freeze": "lower"}, {"freeze": "lower-half"}),
        ({"freeze": "all"}, {"freeze": "all"}),
        ({"mixup": 0.4, "priors": True, "adversary": "corpus", "seed": 1}, {"seed": 1}),
        ({"hidden": [1], "unheard_of": None}, {"classifier_width": [1], "unheard_of": None}),
    ],
)
def test_former_options_are_read_as_the_present_ones(
    former: dict[str, Any], present: dict[str, Any]
) -> None:
    assert current_options(former) == present
    assert current_options(present) == present


def test_a_declared_name_is_never_taken_for_a_former_one() -> None:
    values = {"frames": 1, next(iter(REMOVED)): 2}
    assert current_options(values, values.keys()) == values


def test_both_names_of_an_option_are_refused() -> None:
    with pytest.raises(UsageError, match="--start is the former name of --init-from"):
        current_options({"start": "a", "init_from": "b"})


def test_groups_and_recipes_take_former_names() -> None:
    options = PretrainedOptions.from_json({"mix": "last", "reduce": 8, "freeze": "lower"})
    assert (options.layer_pooling, options.bottleneck, options.freeze) == ("last", 8, "lower-half")
    recipe, training = resolve_recipe("cross_corpus", {"average": 0.5, "hidden": 16, "start": ""})
    assert training.ema_decay == 0.5
    assert recipe.to_json()["classifier_width"] == 16
    assert parsed(TrainOptions, ["average=0.5"]) == {"ema_decay": 0.5}
