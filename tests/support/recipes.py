"""Runs of recipes by name, and what is read from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from serdemo.data.splits import Split
from serdemo.training.events import Event, Step
from serdemo.training.fit import fit
from serdemo.training.options import resolve_recipe


def start_recipe(
    name: str,
    run: Path,
    split: Split,
    *,
    stop: Callable[[], str | None] = lambda: None,
    resume: bool = False,
    **options: Any,
) -> Iterator[Event]:
    """Train a recipe on a split in a run folder with options by name; yields its events."""
    recipe, train_options = resolve_recipe(name, options)
    return fit(recipe, train_options, split, run, stop, resume=resume)


def run_recipe(name: str, run: Path, split: Split, **options: Any) -> list[Event]:
    """Train a recipe to its end as `start_recipe` does; its events."""
    return list(start_recipe(name, run, split, **options))


def losses_of(events: Sequence[Event]) -> list[float]:
    """The loss of every step."""
    return [event.loss for event in events if isinstance(event, Step)]
