"""`bench fuzz`: read many bad inputs by everything that reads files and calls of strangers.

Each target runs in a process of its own, which is watched from outside. A finding is an input that
ends in anything but an answer or a SerdemoError: another exception, a crash, more than 5 s, more than
1.5 GB, a file written outside of its folder, a connection.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import psutil

from serdemo.cli.options import JSON, number_option, print_json
from serdemo.experiments.fuzz import target as targets
from serdemo.experiments.fuzz.worker import CURRENT, FINDINGS, MAX_S, REPORT, keep
from serdemo.schema.errors import SerdemoError, UsageError

MAX_RSS = 1_500_000_000  # bytes of a process and those that it started
MAX_WAIT_S = 30.0  # of an input that computes nothing
POLL_S, START_S = 0.05, 300.0
MAX_STARTS = 12  # of a target whose process ends before its last input
ENGINES = {"atheris": "atheris", "hypothesis": "hypothesis"}  # and the package of each


@dataclass
class Row:
    """Figures of a target: inputs, seconds in all and of the slowest, peak memory, and what was found."""

    target: str
    inputs: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    peak_mb: float = 0.0
    findings: list[str] = field(default_factory=list)


def fuzz(names: Sequence[str], inputs: int, seed: int, engine: str, out: Path) -> list[Row]:
    """Read `inputs` by the targets `names`, by their shares; findings are saved in `out`."""
    total = sum(targets.TARGETS[name][1] for name in names)
    rows = []
    for name in names:
        share = max(1, round(inputs * targets.TARGETS[name][1] / total))
        with TemporaryDirectory(prefix="serdemo-fuzz-", ignore_cleanup_errors=True) as scratch:
            rows.append(_Run(name, Path(scratch), share, seed, engine).finish(out))
    return rows


class _Run:
    """The processes of one target, one after another until all inputs are read."""

    def __init__(self, name: str, folder: Path, inputs: int, seed: int, engine: str) -> None:
        self._name, self._folder, self._inputs = name, folder, inputs
        self._seed, self._engine = seed, engine
        self._row = Row(name)
        seeds = folder / "seeds"
        seeds.mkdir()
        for number, data in enumerate(targets.load(name).seeds()):
            (seeds / f"{number:03d}").write_bytes(data)

    def finish(self, out: Path) -> Row:
        """Read all inputs; the findings that happen again are saved in `out`."""
        began = time.monotonic()
        for start in range(MAX_STARTS):
            (self._folder / CURRENT).unlink(missing_ok=True)
            fault = self._watch(self._begin(self._engine, seed=self._seed + 1000 * start))
            self._count()
            if fault and (self._folder / CURRENT).exists():
                keep(self._folder / FINDINGS, (self._folder / CURRENT).read_bytes(), fault)
            elif fault:
                raise SerdemoError(f"The target {self._name} cannot be run: {fault}.")
            if self._row.inputs >= self._inputs:
                break
        self._row.seconds = time.monotonic() - began
        for path in sorted((self._folder / FINDINGS).glob("*.json")):
            self._confirm(path, out / self._name)
        return self._row

    def _begin(self, engine: str, **values: Any) -> subprocess.Popen[bytes]:
        arguments = {
            "target": self._name,
            "folder": str(self._folder),
            "inputs": self._inputs,
            "done": self._row.inputs,
            "engine": engine,
            **values,
        }
        own = {
            name: str(self._folder / "own")
            for name in ("TMPDIR", "HOME", "XDG_CACHE_HOME", "GRADIO_TEMP_DIR", "SERDEMO_RUNS")
        }
        (self._folder / "own").mkdir(exist_ok=True)
        threads = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", "serdemo.experiments.fuzz.worker", json.dumps(arguments)]
        with (self._folder / "log").open("wb") as log:
            return subprocess.Popen(
                command,
                env={**os.environ, **own, **threads},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder / "own",
            )

    def _watch(self, process: subprocess.Popen[bytes]) -> str:
        """Wait for a process; what it did wrong, "" where nothing."""
        try:
            return self._watched(process)
        finally:
            with suppress(psutil.Error):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            process.kill()
            process.wait()

    def _watched(self, process: subprocess.Popen[bytes]) -> str:
        current, input_at = self._folder / CURRENT, 0
        since, computed_s = time.monotonic(), 0.0
        while process.poll() is None:
            time.sleep(POLL_S)
            memory, seconds = _usage(process.pid)
            self._row.peak_mb = max(self._row.peak_mb, memory / 1e6)
            if memory > MAX_RSS:
                return f"took {memory / 1e9:.1f} GB"
            at = current.stat().st_mtime_ns if current.exists() else 0
            if at != input_at:
                input_at, since, computed_s = at, time.monotonic(), seconds
            waited_s = time.monotonic() - since
            if at and seconds - computed_s > MAX_S:
                return f"hung for {seconds - computed_s:.0f} s"
            if waited_s > (MAX_WAIT_S if at else START_S):
                return f"waited for {waited_s:.0f} s"
        return f"ended by code {process.returncode}: {self._log()}" if process.returncode else ""

    def _log(self) -> str:
        text = (self._folder / "log").read_text(errors="replace").strip()
        return text[-400:].replace("\n", " ")

    def _count(self) -> None:
        report = self._folder / REPORT
        if report.exists():
            figures = json.loads(report.read_text())
            self._row.inputs = max(self._row.inputs, figures["inputs"])
            self._row.slowest_s = max(self._row.slowest_s, figures["slowest_s"])

    def _confirm(self, path: Path, out: Path) -> None:
        """Read a finding alone, and keep it where it happens again: a busy machine is no finding."""
        data, found = path.with_suffix("").read_bytes(), json.loads(path.read_text())
        for other in (self._folder / FINDINGS).glob("*"):
            if other.name == path.name or other.name == path.stem:
                other.unlink()
        again = targets.put(data, self._folder / "again")
        fault = self._watch(self._begin("file", file=str(again), inputs=0))
        if not fault and not list((self._folder / FINDINGS).glob(f"{path.stem}*")):
            return
        out.mkdir(parents=True, exist_ok=True)
        (out / path.stem).write_bytes(data)
        (out / path.name).write_text(json.dumps(found, indent=1))
        self._row.findings.append(f"{found['what']}: {out / path.stem}")


def _usage(pid: int) -> tuple[int, float]:
    """Resident bytes and seconds of computing of a process and of those that it started."""
    memory, seconds = 0, 0.0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            memory += one.memory_info().rss
            seconds += sum(one.cpu_times()[:4])
    return memory, seconds


def _chosen(engine: str | None) -> str:
    """The engine; raises SerdemoError where its package is missing."""
    if engine is None:
        engine = next((name for name in ENGINES if find_spec(ENGINES[name])), "hypothesis")
    if find_spec(ENGINES[engine]) is None:
        raise SerdemoError(f"The engine {engine} needs its package: run pip install {engine}.")
    return engine


@click.command("fuzz")
@number_option("--inputs", 100_000, 1, 1_000_000_000, "Inputs of all targets together.")
@click.option("--target", "chosen", metavar="A,B", help="Only these targets [default: all].")
@number_option("--seed", 0, 0, 2**31 - 1, "Seed of the engine.")
@click.option(
    "--engine", type=click.Choice(list(ENGINES)), help="Default: the first that is installed."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("fuzz-findings"),
    show_default=True,
    help="Folder for inputs that were not read as they should be.",
)
@JSON
def command(
    inputs: int, chosen: str | None, seed: int, engine: str | None, out: Path, as_json: bool
) -> None:
    """Read many bad inputs by everything that reads files and calls of strangers."""
    names = chosen.split(",") if chosen else list(targets.TARGETS)
    if unknown := [name for name in names if name not in targets.TARGETS]:
        raise UsageError(
            f"There is no target {unknown[0]!r}: choose from {', '.join(targets.TARGETS)}."
        )
    rows = fuzz(names, inputs, seed, _chosen(engine), out.absolute())
    if as_json:
        print_json({"engine": _chosen(engine), "targets": [asdict(row) for row in rows]})
        return
    click.echo(f"{'target':12} {'inputs':>8} {'s':>7} {'slowest s':>10} {'peak MB':>8}  findings")
    for row in rows:
        figures = f"{row.inputs:8d} {row.seconds:7.0f} {row.slowest_s:10.2f} {row.peak_mb:8.0f}"
        click.echo(f"{row.target:12} {figures}  {len(row.findings)}")
    for row in rows:
        for finding in row.findings:
            click.echo(f"{row.target}: {finding}")
