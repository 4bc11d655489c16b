"""Background computation of the slow parts of a map, in a process of its own:
`python -m serdemo.embeddings.background FOLDER`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from serdemo.embeddings import embedding_map, table
from serdemo.embeddings.cluster_study import Codes, Figures, study
from serdemo.embeddings.projection import Points
from serdemo.embeddings.table import Table
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import atomic, write_text

TABLE, LOG = "table.parquet", "log.txt"
PARTS = ("umap2", "study", "own", "umap3")  # the most wanted first
SEED = 0


def start(folder: Path, clips: Table) -> subprocess.Popen[bytes]:
    """Start a process that computes the parts of a map of `clips` in an empty folder."""
    table.write(folder / TABLE, clips)
    try:
        with (folder / LOG).open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "serdemo.embeddings.background", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
    except OSError as problem:
        raise SerdemoError(f"The map could not be made: {problem.strerror}.") from problem


def load_positions(folder: Path, name: str) -> Points | None:
    """Positions (N, 2 or 3) of a projection, None while they are not ready."""
    path = folder / f"{name}.npy"
    return np.load(path, allow_pickle=False) if path.exists() else None


def load_study(folder: Path) -> tuple[Codes, Figures] | None:
    """Clusters and figures of `cluster_study.study`, None while they are not ready."""
    path = folder / "study.json"
    if not path.exists():
        return None
    result = json.loads(path.read_text(encoding="utf-8"))
    return np.array(result["clusters"], np.int32), result["figures"]


def main(folder: Path) -> None:
    """Compute the parts one by one; each file appears when complete. Fails if the folder is deleted."""
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
