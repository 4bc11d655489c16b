"""The slow parts of a map, made one after another in a process of their own, so that whoever asked
for them goes on meanwhile: `python -m serdemo.embeddings.background FOLDER`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from serdemo.embeddings import embedding_map, table
from serdemo.embeddings.cluster_study import Codes, Figures, study
from serdemo.embeddings.projection import Points
from serdemo.embeddings.table import Table
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import atomic, write_text

TABLE, LOG = "table.parquet", "log.txt"
PARTS = ("umap2", "study", "own", "umap3")  # in the order in which they are waited for
SEED = 0


def start(folder: Path, clips: Table) -> subprocess.Popen[bytes]:
    """Start making the parts of a map of `clips` in an empty folder.

    Raises SerdemoError where the process cannot be started.
    """
    table.write(folder / TABLE, clips)
    try:
        with (folder / LOG).open("wb") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "serdemo.embeddings.background", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
    except OSError as problem:
        raise SerdemoError(f"The map could not be made: {problem.strerror}.") from problem


def load_positions(folder: Path, name: str) -> Points | None:
    """The places (N, 2 or 3) of a projection that is ready, else None."""
    path = folder / f"{name}.npy"
    return np.load(path, allow_pickle=False) if path.exists() else None


def load_study(folder: Path) -> tuple[Codes, Figures] | None:
    """What `study` gives, once it is ready."""
    path = folder / "study.json"
    if not path.exists():
        return None
    said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return np.array(said["clusters"], np.int32), said["figures"]


def main(folder: Path) -> None:
    """Make each part and put it down whole; ends early where the folder is no more."""
    clips = table.read(folder / TABLE)
    for name in PARTS:
        if name == "study":
            clusters, figures = study(clips, SEED)
            result = json.dumps({"clusters": clusters.tolist(), "figures": figures})
            write_text(folder / "study.json", result)
        else:
            points = embedding_map.project(clips, name, SEED)
            with atomic(folder / f"{name}.npy") as temporary, temporary.open("wb") as file:
                np.save(file, points, allow_pickle=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
