"""Speech emotion corpora: one module for each that is known, and readers for all others."""

from __future__ import annotations

from serdemo.data.corpora.loading import load, load_many, require_labels
from serdemo.data.corpora.registry import (
    CORPORA,
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
