"""Settings from the environment, each read here alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING


def data_root(root: Path | None) -> Path | None:
    """The folder of the corpora: `--root`, else SERDEMO_DATA, else None."""
    given = root or os.environ.get("SERDEMO_DATA")
    return Path(given) if given else None


if TYPE_CHECKING:  # a command that needs no tensor need not wait for torch
    pass


def runs_root() -> Path:
    """The folder of the runs: SERDEMO_RUNS, else `runs` below the current folder."""
    return Path(os.environ.get("SERDEMO_RUNS") or "runs")
