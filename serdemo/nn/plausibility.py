"""Plausibility of the sizes that a stranger's configuration names, before memory is allocated for them."""

from __future__ import annotations

from typing import Any

from serdemo.schema.errors import SerdemoError

MAX_SIZE = 200_000  # of any number in an architecture
MAX_LAYERS = 1000  # of a number of layers, and of the length of a list


def refuse_implausible_sizes(config: Any, name: str, file: str, key: str = "") -> None:
    """Raise SerdemoError for a number in the configuration `file` of the model `name` that no model has."""
    items = list(config.items()) if isinstance(config, dict) else []
    if isinstance(config, list):
        items = [(key, value) for value in config]
    limit = MAX_LAYERS if "layers" in key else MAX_SIZE
    if len(items) > MAX_LAYERS or (isinstance(config, int | float) and not config <= limit):
        raise SerdemoError(f"{name} cannot be read: {key!r} in {file} is beyond measure.")
    for inner_key, value in items:
        refuse_implausible_sizes(value, name, file, str(inner_key))
