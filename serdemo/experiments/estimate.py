"""Estimated beside actual duration of a training run."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import click

from serdemo.cli.options import (
    CHECKPOINT,
    CORPUS,
    JSON,
    ROOT,
    number_option,
    print_figures,
)
from serdemo.data import corpora
from serdemo.nn.checkpoint_files import bundled_checkpoint
from serdemo.runs.estimate import estimate_duration
from serdemo.runs.request import SplitChoice, TrainingRequest
from serdemo.schema.errors import SerdemoError
from serdemo.schema.settings import data_root

SPLIT = SplitChoice()


def estimate(
    corpus: str, root: Path | None, start: Path, epochs: int, rounds: int
) -> dict[str, Any]:
    """Estimate a run of `supervised` from the checkpoint `start`, then train it, `rounds` times.

    Each run is a process of its own, timed as a whole. `ratio` is the median of estimated over actual
    duration. Raises SerdemoError when a run fails, and as `estimate_duration` does.
    """
    split = SPLIT.split(corpora.load_many(corpus, root))
    options = {"init_from": str(start.absolute()), "epochs": epochs, "workers": 0}
    estimates, estimating_s, training_s = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for index in range(rounds):
            began = time.perf_counter()
            estimates.append(estimate_duration("supervised", options, split))
            ready = time.perf_counter()
            estimating_s.append(ready - began)
            _train(corpus, root, options, Path(folder) / str(index))
            training_s.append(time.perf_counter() - ready)
    ratios = [
        estimated.seconds / actual for estimated, actual in zip(estimates, training_s, strict=True)
    ]
    return {
        "clips": {name: len(part) for name, part in split.parts.items()},
        "epochs": epochs,
        "device": estimates[0].device,
        "told_s": [round(estimated.seconds, 1) for estimated in estimates],
        "took_s": [round(seconds, 1) for seconds in training_s],
        "measuring_s": round(median(estimating_s), 1),
        "ratio": round(median(ratios), 2),
    }


def _train(corpus: str, root: Path | None, options: dict[str, Any], run_dir: Path) -> None:
    """Train in a child process; raises SerdemoError with its message when it fails."""
    request = TrainingRequest(
        "supervised", tuple(corpus.split(",")), SPLIT, options, root=root, run_dir=run_dir
    )
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(request.command())],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode:
        raise SerdemoError(done.stderr.strip().splitlines()[-1].removeprefix("serdemo: "))


@click.command("estimate")
@CORPUS
@ROOT
@CHECKPOINT
@number_option("--epochs", 2, 1, 10_000, "Epochs of a run.")
@number_option("--rounds", 1, 1, 1000, "Runs.")
@JSON
def command(
    corpus: str, root: Path | None, checkpoint: Path | None, epochs: int, rounds: int, as_json: bool
) -> None:
    """Estimated duration of a training run, beside the time that it takes."""
    start = checkpoint or bundled_checkpoint()
    print_figures(estimate(corpus, data_root(root), start, epochs, rounds), as_json)
