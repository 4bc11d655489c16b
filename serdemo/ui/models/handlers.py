"""Handlers of the tab Models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from serdemo.runs.registry.entry import Entry
from serdemo.ui.shell.uploads import check_size

if TYPE_CHECKING:
    from serdemo.schema.types import Prediction
    from serdemo.ui.shell.session import Visitors


def predict_both(
    visitors: Visitors, entries: tuple[Entry, Entry], path: Path, name: str, *, keep: bool
) -> tuple[Prediction, Prediction]:
    """The answers of two models to a clip, which is deleted once it is read unless `keep`.

    Raises SerdemoError when it cannot be read or a model does not answer.
    """
    from serdemo.audio import waveform

    try:
        check_size(path, name)
        clip = waveform.decode(path, name=name)
    finally:
        if not keep:
            path.unlink(missing_ok=True)
    first, second = (visitors.at(entry.folder).predict(clip) for entry in entries)
    return first, second
