"""One declaration per option: a dataclass field that is also a flag, a widget and a JSON key.

A group of options is a frozen dataclass that derives from `Options` and declares each field with
`option(default, help, ...)`. `specs` reads the declarations back, for the command line and for the
page; `from_json` is strict: an unknown key or a value out of range is refused in a sentence.
"""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from serdemo.schema.errors import UsageError
from serdemo.schema.renamed_options import RENAMED, current_options, flag

Value = bool | int | float | str


def option(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    advanced: bool = True,
) -> Any:
    """A dataclass field with help, range and choices; the page folds `advanced` ones away."""
    metadata = dict(help=help, low=low, high=high, choices=choices, advanced=advanced)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Spec:
    """One option as declared: what a flag or a widget needs to know."""

    name: str
    kind: type
    default: Value
    help: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    advanced: bool

    @property
    def flag(self) -> str:
        """The command line's spelling, `--learning-rate`."""
        return flag(self.name)

    @property
    def former_names(self) -> tuple[str, ...]:
        """Names that the option had before, which are still read."""
        return tuple(old for old, new in RENAMED.items() if new == self.name)

    def check(self, value: Any) -> Value:
        """The value as its declared type; raises UsageError when it is not one or out of range."""
        whole = self.kind is float and type(value) is int
        if type(value) is not self.kind and not whole:
            kind = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
            raise UsageError(f"{self.flag} must be {kind[self.kind]}, not {value!r}.")
        if self.choices and value not in self.choices:
            raise UsageError(f"{self.flag} must be one of {', '.join(self.choices)}, not {value}.")
        if isinstance(value, int | float):
            low = -sys.float_info.max if self.low is None else self.low
            high = sys.float_info.max if self.high is None else self.high
            if not low <= value <= high:
                raise UsageError(f"{self.flag} must lie between {low:g} and {high:g}, not {value}.")
        return float(value) if whole else typing.cast(Value, value)


@dataclass(frozen=True)
class Options:
    """Base of every group of options; checks each value when built."""

    def __post_init__(self) -> None:
        for spec in specs(type(self)):
            object.__setattr__(self, spec.name, spec.check(getattr(self, spec.name)))

    def to_json(self) -> dict[str, Value]:
        """Every option by name."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Options from a dictionary; raises UsageError for a key that is not an option."""
        if not isinstance(values, Mapping):
            raise UsageError(f"The options of {cls.__name__} must be a table of names and values.")
        known = {spec.name for spec in specs(cls)}
        values = current_options(values, known)
        unknown = sorted(str(key) for key in values if key not in known)
        if unknown:
            raise UsageError(
                f"There is no option {unknown[0]!r} here; known are {', '.join(sorted(known))}."
            )
        return cls(**values)


def specs(cls: type[Options]) -> tuple[Spec, ...]:
    """The declared options of a group, in order."""
    kinds = typing.get_type_hints(cls)
    return tuple(
        Spec(name=f.name, kind=kinds[f.name], default=typing.cast(Value, f.default), **f.metadata)
        for f in dataclasses.fields(cls)
        if "help" in f.metadata
    )


def pick(groups: Iterable[type[Options]], values: Mapping[str, Any]) -> list[Options]:
    """Deal a flat table of values out to several groups; a key no group knows raises UsageError."""
    groups = list(groups)
    owners: dict[str, type[Options]] = {}
    for group in groups:
        for spec in specs(group):
            if spec.name in owners:
                raise ValueError(f"option {spec.name} is declared by two groups")
            owners[spec.name] = group
    values = current_options(values, owners)
    unknown = sorted(key for key in values if key not in owners)
    if unknown:
        raise UsageError(f"There is no option {unknown[0]!r}; known are {', '.join(owners)}.")
    dealt: dict[type[Options], dict[str, Any]] = {group: {} for group in groups}
    for key, value in values.items():
        dealt[owners[key]][key] = value
    return [group.from_json(dealt[group]) for group in groups]


def parsed(group: type[Options], texts: Iterable[str]) -> dict[str, Value]:
    """Options of a group written as `name=value`; raises UsageError for any other text."""
    known = {spec.name: spec for spec in specs(group)}
    values: dict[str, Value] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        spec = known.get(next(iter(current_options({name: value}, known)), ""))
        if spec is None or not equals:
            raise UsageError(f"{text!r} is not NAME=VALUE with a name of {', '.join(known)}.")
        try:
            read = {"true": True, "false": False}.__getitem__ if spec.kind is bool else spec.kind
            (values[spec.name],) = map(
                spec.check, current_options({spec.name: read(value)}, known).values()
            )
        except (KeyError, ValueError) as problem:
            raise UsageError(f"{spec.flag} cannot be {value!r}.") from problem
    return values
