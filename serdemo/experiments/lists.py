"""A list of recordings by Ray Data beside the plain path: the same rows, and at what price.

Both answer it in turn, each by a command in processes of its own. A shorter list is then answered once
more by Ray while a worker and, later, the driver are killed, which is started again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import psutil

from serdemo.cli.options import CHECKPOINT, JSON, ROOT, number_option, print_figures
from serdemo.data.corpora.class_folders import audio_files
from serdemo.inference.parquet_file import read_parts
from serdemo.nn.checkpoint_files import bundled_checkpoint
from serdemo.runs.batch.work import ERRORS, ROWS
from serdemo.schema.errors import SerdemoError
from serdemo.schema.settings import data_root

EXAMPLES = Path(__file__).parents[1] / "audio" / "examples"
BROKEN_EVERY = 100  # of so many recordings one is no sound
PARTS = 40  # of a list
MAX_S = 7200.0  # of a command
TOLERANCE = 1e-5  # of a probability: sums of several threads are rounded otherwise
WORKER = "ray::MapWorker(MapBatches(PartActor))"  # as Ray calls its process


def compare(clips: int, workers: int, checkpoint: Path, root: Path | None) -> dict[str, Any]:
    """Figures of both engines on a list of so many `clips`, and of the kills on a tenth of it.

    `ratio` is the throughput of Ray beside that of the plain path. `faults` lists rows that differ, are
    missing or come twice, in sentences.
    """
    faults: list[str] = []
    with TemporaryDirectory(prefix="serdemo-lists-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        ray = ["--engine", "ray", "--workers", str(workers)]
        whole = make_list(folder / "all", clips, root)
        plain = _timed(_command(whole, folder / "plain", clips, checkpoint))
        by_ray = _timed(_command(whole, folder / "ray", clips, checkpoint) + ray)
        faults += differences(folder / "plain", folder / "ray", "Ray")
        n_fewer = max(PARTS, clips // 10)
        fewer = make_list(folder / "fewer", n_fewer, root)
        _timed(_command(fewer, folder / "fewer-plain", n_fewer, checkpoint))
        kills = _killed(
            _command(fewer, folder / "killed", n_fewer, checkpoint) + ray, folder, faults
        )
        faults += differences(folder / "fewer-plain", folder / "killed", "Ray with kills")
    return {
        "clips": clips,
        "workers": workers,
        "plain": plain,
        "ray": by_ray,
        "ratio": round(plain["wall_s"] / by_ray["wall_s"], 3),
        "killed": kills,
        "cores": os.cpu_count(),
        "faults": faults,
    }


def make_list(folder: Path, count: int, root: Path | None) -> Path:
    """A list of `count` recordings: real ones under new names, and one in a hundred that is no sound."""
    folder.mkdir()
    sounds = list(audio_files(root or EXAMPLES))
    if not sounds:
        raise SerdemoError(
            f"There is no sound file in {root}: set SERDEMO_DATA to a folder of corpora."
        )
    np.random.default_rng(0).shuffle(sounds)
    names = []
    for row, sound in enumerate(islice(cycle(sounds), count)):
        path = folder / f"clip{row:06d}{sound.suffix}"
        if row % BROKEN_EVERY == BROKEN_EVERY // 2:
            path.write_bytes(b"no sound at all")
        else:
            try:
                path.symlink_to(sound.resolve())
            except OSError:  # a system without links
                shutil.copy(sound, path)
        names.append(path.name)
    listing = folder / "list.txt"
    listing.write_text("\n".join(names), encoding="utf-8")
    return listing


def differences(expected: Path, found: Path, engine: str) -> list[str]:
    """What differs in the tables of two outputs, in sentences."""
    faults = []
    for kind in (ROWS, ERRORS):
        one, other = read_parts(expected / kind), read_parts(found / kind)
        rows, others = one["row"], other["row"]
        if rows != others:
            missing, twice = len({*rows} - {*others}), len(others) - len({*others})
            faults.append(f"{engine}: of {kind} {missing} are missing and {twice} come twice.")
            continue
        for name, values in one.items():
            same = values == other[name]
            if not same and isinstance(values[0], float):
                same = bool(np.allclose(values, other[name], rtol=0, atol=TOLERANCE))
            if not same:
                faults.append(f"{engine}: the column {name} of {kind} differs.")
    return faults


def _command(listing: Path, out: Path, count: int, checkpoint: Path) -> list[str]:
    size = max(1, count // PARTS)
    paths = ["--list", str(listing), "--out", str(out), "--checkpoint", str(checkpoint)]
    own = ["--part-size", str(size), "--device", "cpu", "--json"]
    return [sys.executable, "-m", "serdemo", "predict", *paths, *own]


def _timed(command: Sequence[str]) -> dict[str, Any]:
    """A command's totals, and how long it took with its start; raises SerdemoError where it fails."""
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=MAX_S)
    wall_s = time.monotonic() - began
    if done.returncode:
        raise SerdemoError(f"A command failed: {done.stderr.strip().splitlines()[-1]}")
    totals = json.loads(done.stdout)
    n_done = totals["rows"] + totals["errors"]
    return {
        "rows": totals["rows"],
        "errors": totals["errors"],
        "done_before": totals["done_before"],
        "wall_s": round(wall_s, 1),
        "clips_per_s": round(n_done / wall_s, 1),
        "times_real_time": round(totals["sound_s"] / wall_s, 1),
    }


def _killed(command: Sequence[str], folder: Path, faults: list[str]) -> dict[str, Any]:
    """Answer a list by Ray, kill a worker when a quarter is done, and the driver at half; then start it
    again."""
    rows = folder / "killed" / ROWS
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _wait_for_parts(rows, PARTS // 4, child)
    workers = ray_workers()
    if not workers:
        raise SerdemoError("No process of a worker was found.")
    workers[0].kill()
    _wait_for_parts(rows, PARTS // 2, child)
    child.kill()
    child.wait()
    while ray_workers():  # Ray ends them once it finds that their driver is gone
        time.sleep(0.2)
    before = {part: part.stat().st_mtime_ns for part in rows.glob("part-*.parquet")}
    again = _timed(command)
    if any(part.stat().st_mtime_ns != when for part, when in before.items()):
        faults.append("A part that was done before the driver was killed was done again.")
    if again["done_before"] + again["rows"] + again["errors"] != _count(folder / "killed"):
        faults.append("The second start reported parts that the first had done.")
    return {"parts": PARTS, "done_before_restart": len(before), **again}


def _count(out: Path) -> int:
    return sum(len(read_parts(out / kind)["row"]) for kind in (ROWS, ERRORS))


def _wait_for_parts(rows: Path, count: int, child: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + MAX_S
    while len(list(rows.glob("part-*.parquet"))) < count:
        if child.poll() is not None or time.monotonic() > limit:
            raise SerdemoError("Ray came to its end before it could be killed: take more clips.")
        time.sleep(0.05)


def ray_workers() -> list[psutil.Process]:
    """The processes of Ray that hold a model."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if WORKER in " ".join(process.cmdline()):
                found.append(process)
    return found


@click.command("lists")
@number_option("--clips", 20_000, PARTS, 10_000_000, "Recordings of the list.")
@number_option("--workers", 2, 1, 1000, "Processes of Ray that hold the model.")
@CHECKPOINT
@ROOT
@JSON
def command(
    clips: int, workers: int, checkpoint: Path | None, root: Path | None, as_json: bool
) -> None:
    """A list by Ray Data beside the plain path: equal rows, throughput, and what kills leave.

    The recordings are those of SERDEMO_DATA under new names, or the examples that come with serdemo.
    """
    folder = (checkpoint or bundled_checkpoint()).resolve()
    print_figures(compare(clips, workers, folder, data_root(root)), as_json)
