"""How near the time told before a run is to the time that the run then takes."""

from __future__ import annotations

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
    checkpoint_folder,
    number_option,
    print_figures,
)
from serdemo.data import corpora, splits
from serdemo.nn.checkpoint_files import bundled_checkpoint
from serdemo.runs import estimate as runs_estimate
from serdemo.schema.errors import SerdemoError
from serdemo.schema.settings import data_root

HELD = "0.15"  # of the speakers, to choose by and again to test on


def estimate(
    corpus: str, root: Path | None, start: Path, epochs: int, rounds: int
) -> dict[str, Any]:
    """Tell the time of a run of `supervised` from `start`, then carry it out, `rounds` times in turn.

    Each run is a process of its own, timed from its beginning to its end. `ratio` is the median of
    told over taken. Raises SerdemoError when a run fails, and what `feasible.estimate` raises.
    """
    split = splits.parse_split(corpora.load_many(corpus, root), valid=HELD, test=HELD)
    values = {"init_from": str(start.absolute()), "epochs": epochs, "workers": 0}
    flags = [word for name, value in values.items() for word in (f"--{name}", str(value))]
    told, measured, taken = [], [], []
    with tempfile.TemporaryDirectory() as place:
        for number in range(rounds):
            began = time.perf_counter()
            told.append(runs_estimate.estimate_duration("supervised", values, split))
            ready = time.perf_counter()
            measured.append(ready - began)
            asked = ("train", "supervised", "--corpus", corpus, "--valid", HELD, "--test", HELD)
            where = ("--root", str(root)) if root else ()
            run = ("--run", str(Path(place) / str(number)))
            done = subprocess.run(
                [sys.executable, "-m", "serdemo", *asked, *where, *run, *flags],
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
            if done.returncode:
                raise SerdemoError(done.stderr.strip().splitlines()[-1].removeprefix("serdemo: "))
            taken.append(time.perf_counter() - ready)
    return {
        "clips": {name: len(part) for name, part in split.parts.items()},
        "epochs": epochs,
        "device": told[0].device,
        "told_s": [round(one.seconds, 1) for one in told],
        "took_s": [round(seconds, 1) for seconds in taken],
        "measuring_s": round(median(measured), 1),
        "ratio": round(median(a.seconds / b for a, b in zip(told, taken, strict=True)), 2),
    }


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
    start = checkpoint_folder(checkpoint) if checkpoint else bundled_checkpoint()
    print_figures(estimate(corpus, data_root(root), start, epochs, rounds), as_json)
