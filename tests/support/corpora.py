"""The clips of real corpora, and empty files in place of them."""

from __future__ import annotations

import os
from pathlib import Path

from serdemo.data.corpora.corpus import AUDIO_SUFFIXES


def real_clips() -> list[Path]:
    """All clips below SERDEMO_DATA; none where that is not set."""
    if not (root := os.environ.get("SERDEMO_DATA")):
        return []
    return sorted(path for path in Path(root).rglob("*.*") if path.suffix in AUDIO_SUFFIXES)


def touch(root: Path, *names: str) -> Path:
    """Create empty files at the paths `names` below `root`, with their folders; returns `root`."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root
