"""Speech emotion corpora: a catalogue of the known ones, and readers for all others."""

from __future__ import annotations

from serdemo.data.corpora.catalogue import CORPORA
from serdemo.data.corpora.loading import load, load_many, require_labels
from serdemo.data.corpora.registry import (
    Status,
    available_corpora,
    find,
    normalise_speaker,
    status,
)

__all__ = [
    "CORPORA",
    "Status",
    "available_corpora",
    "find",
    "load",
    "load_many",
    "normalise_speaker",
    "require_labels",
    "status",
]
