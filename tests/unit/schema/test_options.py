"""Options: one declaration for flag, widget and JSON key, checked when built."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from serdemo.schema.errors import UsageError
from serdemo.schema.options import Options, option, parsed, pick, specs
from serdemo.training.options import TrainOptions
from serdemo.training.recipes import RECIPES, get


@dataclass(frozen=True)
class Kitchen(Options):
    eggs: int = option(2, "eggs in the pan", low=0, high=12, advanced=False)
    heat_now: float = option(0.5, "heat", low=0.0, high=1.0)
    salted: bool = option(True, "salt")
    pan: str = option("iron", "pan", choices=("iron", "steel"))
    offset: float = option(0.0, "any number")


@dataclass(frozen=True)
class Cellar(Options):
    bottles: int = option(3, "bottles")


@dataclass(frozen=True)
class Pantry(Options):
    eggs: int = option(6, "eggs on the shelf")


def test_the_declarations_are_read_back() -> None:
    found = specs(Kitchen)
    assert [spec.name for spec in found] == ["eggs", "heat_now", "salted", "pan", "offset"]
    assert [spec.kind for spec in found] == [int, float, bool, str, float]
    assert [spec.flag for spec in found[:2]] == ["--eggs", "--heat-now"]
    assert (found[0].default, found[0].low, found[0].high, found[0].advanced) == (2, 0, 12, False)
    assert found[1].advanced
    assert found[3].choices == ("iron", "steel")


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"egg": 1}, "no option 'egg'.*known are eggs"),
    "below": ({"eggs": -1}, "--eggs must lie between 0 and 12, not -1"),
    "above": ({"heat_now": 1.01}, "--heat-now must lie between 0 and 1, not 1.01"),
    "nan": ({"heat_now": math.nan}, "--heat-now must lie between 0 and 1, not nan"),
    "nan-unbounded": ({"offset": math.nan}, "--offset must lie between .* not nan"),
    "infinite": ({"offset": math.inf}, "--offset must lie between .* not inf"),
    "huge-integer": ({"offset": 10**400}, "--offset must lie between"),
    "huge-integer-bounded": ({"heat_now": 10**400}, "--heat-now must lie between 0 and 1"),
    "bool-for-int": ({"eggs": True}, "--eggs must be a whole number, not True"),
    "bool-for-float": ({"heat_now": False}, "--heat-now must be a number, not False"),
    "int-for-bool": ({"salted": 1}, "--salted must be true or false, not 1"),
    "float-for-int": ({"eggs": 2.0}, "--eggs must be a whole number, not 2.0"),
    "text-for-int": ({"eggs": "2"}, "--eggs must be a whole number, not '2'"),
    "none": ({"eggs": None}, "--eggs must be a whole number, not None"),
    "list": ({"heat_now": [0.5]}, "--heat-now must be a number"),
    "number-for-text": ({"pan": 3}, "--pan must be text, not 3"),
    "no-choice": ({"pan": "wood"}, "--pan must be one of iron, steel, not wood"),
}


@pytest.mark.parametrize(("values", "sentence"), BAD.values(), ids=BAD)
def test_bad_values_are_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Kitchen.from_json(values)


@pytest.mark.parametrize("values", [None, [], "eggs", 3])
def test_options_must_be_a_table(values: Any) -> None:
    with pytest.raises(UsageError, match="options of Kitchen must be a table"):
        Kitchen.from_json(values)


def test_a_whole_number_serves_as_a_number_and_the_bounds_belong_to_it() -> None:
    made = Kitchen(heat_now=1, eggs=12)
    assert type(made.heat_now) is float
    assert (made.heat_now, made.eggs) == (1.0, 12)
    assert Kitchen(heat_now=0).heat_now == 0.0


def test_json_round_trip() -> None:
    made = Kitchen(eggs=5, heat_now=0.25, salted=False, pan="steel", offset=-2)
    assert Kitchen.from_json(json.loads(json.dumps(made.to_json()))) == made
    assert list(made.to_json()) == ["eggs", "heat_now", "salted", "pan", "offset"]


JSON = some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=5)


@given(some.sampled_from(["eggs", "heat_now", "salted", "pan", "offset", "lid"]), JSON)
def test_any_value_is_taken_as_its_type_or_refused(key: str, value: Any) -> None:
    try:
        made = Kitchen.from_json({key: value})
    except UsageError:
        return
    kept = getattr(made, key)
    assert kept == (float(value) if type(kept) is float else value)  # 2 ** 53 + 1 is no float
    assert type(kept) is {spec.name: spec.kind for spec in specs(Kitchen)}[key]
    assert not isinstance(kept, float) or math.isfinite(kept)


def test_a_flat_table_is_dealt_out() -> None:
    kitchen, cellar = pick([Kitchen, Cellar], {"bottles": 9, "pan": "steel"})
    assert isinstance(kitchen, Kitchen)
    assert isinstance(cellar, Cellar)
    assert (kitchen.pan, kitchen.eggs, cellar.bottles) == ("steel", 2, 9)
    with pytest.raises(UsageError, match=r"no option 'spoons'; known are eggs, .*bottles"):
        pick([Kitchen, Cellar], {"spoons": 1})
    with pytest.raises(UsageError, match="--bottles must be a whole number"):
        pick([Kitchen, Cellar], {"bottles": "many"})


def test_options_are_read_from_text() -> None:
    found = parsed(Kitchen, ["eggs=4", "heat-now=0.25", "salted=false", "pan=steel"])
    assert found == {"eggs": 4, "heat_now": 0.25, "salted": False, "pan": "steel"}
    assert parsed(Kitchen, []) == {}
    for text, told in (
        ("eggs=many", "--eggs cannot be 'many'"),
        ("salted=no", "--salted cannot be 'no'"),
        ("eggs=13", "--eggs must lie between 0 and 12"),
        ("eggs", "'eggs' is not NAME=VALUE"),
        ("spoons=1", "not NAME=VALUE with a name of eggs, "),
    ):
        with pytest.raises(UsageError, match=told):
            parsed(Kitchen, [text])


def test_one_name_in_two_groups_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="eggs is declared by two groups"):
        pick([Kitchen, Pantry], {})


@pytest.mark.parametrize("name", RECIPES)
def test_the_options_of_every_recipe_are_sound(name: str) -> None:
    recipe = get(name)
    groups = [*recipe.groups, TrainOptions]
    made = pick(groups, {})  # raises where two groups share a name or a default is out of range
    assert [type(group) for group in made] == groups
    for group in groups:
        for spec in specs(group):
            assert spec.help
            assert spec.kind in (bool, str) or spec.low is not None
            assert spec.kind in (bool, str) or spec.high is not None
