"""Lists answered by Ray Data: the rows of the plain path, whatever dies meanwhile."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from support.command import ROOT, furnish, here, there

from serdemo.embeddings import table
from serdemo.experiments.lists import ray_workers
from serdemo.inference.parquet_file import read_parts
from serdemo.runs.batch.ray_engine import Share

pytest.importorskip("ray")
pytestmark = pytest.mark.slow
N_LISTED, PART_SIZE = 240, 8
N_BAD = 3


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory, corpus_root: Path) -> Path:
    """A list of 240 recordings, of which three are no sound."""
    folder = tmp_path_factory.mktemp("list")
    clips = sorted(corpus_root.glob("*/*/*.wav"))
    names = [str(clips[row % len(clips)]) for row in range(N_LISTED)]
    for row in range(40, N_LISTED, 97):
        names[row] = f"bad{row}.wav"
        (folder / names[row]).write_bytes(b"")
    path = folder / "list.txt"
    path.write_text("\n".join(names), encoding="utf-8")
    return path


def flags(checkpoint: Path, listing: Path, out: Path) -> list[object]:
    common = ["--list", listing, "--out", out, "--part-size", PART_SIZE, "--device", "cpu"]
    return ["predict", "--checkpoint", checkpoint, *common, "--json"]


@pytest.fixture(scope="module")
def plain(
    tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path, listing: Path
) -> dict[str, list[Any]]:
    """The rows of the plain path."""
    out = tmp_path_factory.mktemp("plain") / "out"
    assert here(*flags(tiny_checkpoint, listing, out)).json()["rows"] == N_LISTED - N_BAD
    return rows_in(out)


def rows_in(out: Path, kind: str = "rows") -> dict[str, list[Any]]:
    """All parts, one after another."""
    return read_parts(out / kind)


def assert_same(found: dict[str, list[Any]], expected: dict[str, list[Any]]) -> None:
    """Equal rows; numbers but for rounding, which depends on the number of threads."""
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        numbers = isinstance(values[0], float)
        assert found[name] == (pytest.approx(values, abs=1e-5) if numbers else values), name


def start(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    """`serdemo` in a process group of its own, whose Ray processes know no other group."""
    return subprocess.Popen(
        [sys.executable, "-m", "serdemo", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_parts(out: Path, count: int, child: subprocess.Popen[str]) -> None:
    """Wait until so many parts are done, and some are not."""
    limit = time.monotonic() + 150
    while len(list((out / "rows").glob("part-*.parquet"))) < count:
        assert child.poll() is None and time.monotonic() < limit, child.communicate()[1]
        time.sleep(0.02)


@pytest.fixture
def leftovers() -> Iterator[None]:
    """Nothing of Ray that a test began outlives it."""
    before = {process.pid for process in psutil.process_iter()}
    yield
    for process in psutil.process_iter(["name", "cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if process.pid not in before and ("ray::" in line or "/ray/" in line):
            with suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.mark.usefixtures("leftovers")
def test_a_worker_dies_and_then_the_driver(
    tmp_path: Path, tiny_checkpoint: Path, listing: Path, plain: dict[str, list[Any]]
) -> None:
    out, n_parts = tmp_path / "out", N_LISTED // PART_SIZE
    command = [*flags(tiny_checkpoint, listing, out), "--engine", "ray", "--workers", 2]
    child = start(*command, cwd=tmp_path)
    wait_for_parts(out, 3, child)
    both = ray_workers()
    assert len(both) == 2
    both[0].kill()
    wait_for_parts(out, n_parts // 2, child)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    limit = time.monotonic() + 60
    while ray_workers():  # until Ray's processes notice that their driver is gone
        assert time.monotonic() < limit
        time.sleep(0.1)
    done = {part: part.stat().st_mtime_ns for part in (out / "rows").glob("part-*.parquet")}
    assert n_parts // 2 <= len(done) < n_parts
    ran = there(*command, cwd=tmp_path)
    totals = ran.json()
    assert totals["done_before"] == len(done) * PART_SIZE
    assert totals["rows"] + totals["errors"] + totals["done_before"] == N_LISTED
    assert all(part.stat().st_mtime_ns == when for part, when in done.items())
    assert_same(rows_in(out), plain)
    errors = rows_in(out, "errors")
    assert errors["file"] == [f"bad{row}.wav" for row in range(40, N_LISTED, 97)]
    assert not [path for path in out.rglob("*") if path.name.endswith((".part", ".attempts"))]


@pytest.mark.usefixtures("leftovers")
@pytest.mark.skipif(os.name == "nt", reason="Windows has no bash")
def test_the_commands_of_the_page_run_as_they_are_written(tmp_path: Path) -> None:
    furnish(tmp_path)
    page = (ROOT / "serdemo" / "runs" / "README.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"^```bash (\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    places = {"HOME": tmp_path, "PYTHONPATH": ROOT, "RAY_USAGE_STATS_ENABLED": "0"}
    places["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def run(block: str, **environment: object) -> None:
        own = {name: str(value) for name, value in {**places, **environment}.items()}
        done = subprocess.run(
            ["bash", "-e", "-c", blocks[block]],
            cwd=tmp_path,
            env={**os.environ, **own},
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert done.returncode == 0, done.stderr[-3000:]

    try:
        run("runnable")
        count = int(re.findall(r"--array=1-(\d+)", blocks["slurm"])[0])
        for number in range(count, 0, -1):
            run("slurm", SLURM_ARRAY_TASK_ID=number, SLURM_ARRAY_TASK_COUNT=count)
        run("ray")
        run("cluster")
    finally:
        subprocess.run(
            [Path(sys.executable).parent / "ray", "stop", "--force"], capture_output=True
        )
    plain = rows_in(tmp_path / "answers")
    assert len(plain["row"]) > 20
    assert_same(rows_in(tmp_path / "answers-slurm"), plain)
    assert_same(rows_in(tmp_path / "answers-ray"), plain)
    one, other = (table.read(tmp_path / name) for name in ("embeddings", "embeddings-ray"))
    assert one.text == other.text and set(one.emotions) == {"angry", "sad"}
    assert np.allclose(one.embedding, other.embedding, atol=1e-4)
    assert len(table.read(tmp_path / "map.parquet")) == len(one)


def test_no_cluster_is_one_sentence(tmp_path: Path, tiny_checkpoint: Path, listing: Path) -> None:
    engine = ["--engine", "ray", "--address", "127.0.0.1:9"]
    ran = there(*flags(tiny_checkpoint, listing, tmp_path / "out"), *engine, cwd=tmp_path)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.strip() == (
        "serdemo: Nothing answers at 127.0.0.1:9: start a cluster by `ray start --head`, and name its"
        " address."
    )


@pytest.mark.parametrize(
    ("nodes", "n_workers", "expected"),
    [
        ([(4, 0)], 2, Share(2, 1, False)),
        ([(2, 0)], None, Share(1, 0.0, False)),
        ([(2, 0)], 2, Share(2, 0.0, False)),
        ([(3, 0)], 2, Share(2, 0.5, False)),
        ([(8, 0), (8, 0)], None, Share(14, 1, False)),
        ([(12, 0), (4, 0)], 2, Share(2, 4, False)),  # 7 each would not fit the second
        ([(16, 4), (16, 4)], None, Share(8, 3, True)),
        ([(0, 0), (16, 2)], None, Share(2, 7, True)),  # a head that does no work
    ],
)
def test_shares_of_a_cluster(
    nodes: list[tuple[int, int]], n_workers: int | None, expected: Share
) -> None:
    found = [{"Alive": True, "Resources": {"CPU": float(c), "GPU": float(g)}} for c, g in nodes]
    found.append({"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}})
    assert Share.of(found, n_workers, use_gpus=True) == expected
