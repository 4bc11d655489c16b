"""Label maps: labels of a foreign model or table -> our emotions, as a JSON or CSV file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from serdemo.data.corpora import text_table
from serdemo.data.corpora.emotion_names import emotion_word
from serdemo.schema.errors import SerdemoError


def read_label_map(path: Path) -> dict[str, str]:
    """Read a label map: a JSON object label -> emotion, or CSV with the columns label and emotion.

    Emotions are given in any form that `emotion_word` knows; another name stays as it is. An empty
    one (in JSON also null) leaves the label out. Labels keep their form: look them up by
    `map_label`. Raises SerdemoError for another format or a label with two emotions.
    """
    is_json = path.suffix.lower() == ".json"
    labels: dict[str, str] = {}
    for where, label, emotion in _json(path) if is_json else _csv(path):
        if not label:
            raise SerdemoError(f"{where}: the label is empty; fill it in.")
        ours = emotion_word(emotion) or emotion
        if map_label(label, labels) not in (None, ours):
            raise SerdemoError(
                f"{where}: {label[:80]!r} was already given another emotion; keep one of them."
            )
        labels[label] = ours
    if not labels:
        raise SerdemoError(f"{path.name} maps no label: give label and emotion of each.")
    return labels


def map_label(label: str, labels: Mapping[str, str]) -> str | None:
    """The value of a label in `labels` in its exact form, else in any letter case; else None."""
    if label in labels:
        return labels[label]
    folded = label.strip().casefold()
    return next((ours for name, ours in labels.items() if name.casefold() == folded), None)


def emotion_of(label: str, labels: Mapping[str, str]) -> str | None:
    """Our emotion for a label: by the map `labels`, else by `emotion_word`; None for none."""
    mapped = map_label(label, labels)
    return emotion_word(label if mapped is None else mapped)


def _json(path: Path) -> Iterator[tuple[str, str, str]]:
    text, _ = text_table.read_text(path)
    try:
        values: Any = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise SerdemoError(f"{path.name} is no JSON object of labels and emotions.")
    for label, emotion in values.items():
        if not isinstance(emotion, str | None):
            raise SerdemoError(
                f"{path.name}: the emotion of {label[:80]!r} must be a text, or null to leave it out."
            )
        yield path.name, label.strip(), (emotion or "").strip()


def _csv(path: Path) -> Iterator[tuple[str, str, str]]:
    table = text_table.read(path)
    header = [name.lower() for name in table.header]
    if sorted(header) != ["emotion", "label"]:
        raise SerdemoError(f"{path.name} must have the two columns label and emotion.")
    for line, row in table.rows:
        values = {name.lower(): value for name, value in row.items()}
        yield f"{path.name}, line {line}", values.get("label", ""), values.get("emotion", "")
