"""Training on two hosts by the commands of the page: in two network namespaces, or on loopback where there are none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import torch
from support.command import ROOT, clips

from serdemo.schema.errors import SerdemoError
from serdemo.training import distributed, events
from serdemo.training.events import EVENTS, Failed, Started

PAGE = (ROOT / "serdemo" / "training" / "README.md").read_text(encoding="utf-8")
ADDRESSES = ("10.0.0.1", "10.0.0.2")
FAST = (
    " --device cpu --precision fp32 --threads 1 --workers 0 --batch-size 4 --width 16 --layers 1"
    " --heads 2 --kernel 3"
)
SRUN = """#!/bin/sh
for number in 0 1; do
  SLURM_NODEID=$number sh on-$number.sh "$@" & children="$children $!"
done
for child in $children; do wait $child || exit 1; done
"""


@dataclass(frozen=True)
class Host:
    """A machine: its folder, what stands before each of its commands, and the first host's address."""

    folder: Path
    prefix: tuple[str, ...]
    first: str

    def start(self, script: str, **environment: str) -> subprocess.Popen[str]:
        """A shell script in the host's folder."""
        own = os.pathsep.join([str(self.folder), str(Path(sys.executable).parent)])
        path = own + os.pathsep + os.environ["PATH"]
        return subprocess.Popen(
            [*self.prefix, "bash", "-c", script.replace(ADDRESSES[0], self.first)],
            cwd=self.folder,
            env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def ip(*arguments: str) -> bool:
    """Whether there is `ip`, and it did what it was to do."""
    return bool(shutil.which("ip")) and _done("ip", *arguments)


def _done(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[list[Host]]:
    """Two hosts, each with clips of its own; only their two ends of a cable join them."""
    names = [f"serdemo-{os.getpid()}-{number}" for number in range(2)]
    ends = [f"sd{os.getpid() % 10**6}-{number}" for number in range(2)]
    joined = all(ip("netns", "add", name) for name in names)
    cable = ["link", "add", ends[0], "netns", names[0], "type", "veth", "peer", "name", ends[1]]
    joined = joined and ip(*cable, "netns", names[1])
    for name, end, address in zip(names, ends, ADDRESSES, strict=True):
        joined = joined and ip("-n", name, "addr", "add", f"{address}/24", "dev", end)
        joined = joined and all(ip("-n", name, "link", "set", link, "up") for link in ("lo", end))
    try:
        found = []
        for number, name in enumerate(names):
            folder = tmp_path / f"host-{number}"
            folder.mkdir()
            clips(folder / "my-voices", speakers=4)
            prefix = ("ip", "netns", "exec", name) if joined else ()
            found.append(Host(folder, prefix, ADDRESSES[0] if joined else "127.0.0.1"))
        yield found
    finally:
        for name in names:
            ip("netns", "delete", name)


def commands(mark: str) -> list[str]:
    """The lines of a block of the page that train, made to take a second."""
    blocks = re.findall(rf"^```{mark}\n(.*?)^```$", PAGE, re.M | re.S)
    (block,) = [block for block in blocks if "--machine-rank" in block]
    return block.replace("train supervised", f"train supervised{FAST}").splitlines()


def kill(child: subprocess.Popen[str]) -> None:
    """End a command and all that it started; the launcher's processes have sessions of their own."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(child.pid)
        for one in (*parent.children(recursive=True), parent):
            with suppress(psutil.NoSuchProcess):
                one.kill()


def over(child: subprocess.Popen[str], within_s: float) -> str:
    """What a command printed until its end; nothing of it outlives the test."""
    try:
        return child.communicate(timeout=within_s)[0]
    finally:
        kill(child)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has neither namespaces nor bash")
def test_two_hosts_train_until_one_dies_and_go_on(hosts: list[Host], tmp_path: Path) -> None:
    lines = [line for line in commands("bash") if not line.startswith("#")]
    assert len(lines) == 2
    children = [
        host.start(f"exec {line} --epochs 10000") for host, line in zip(hosts, lines, strict=True)
    ]
    log = hosts[0].folder / "runs" / "hosts" / EVENTS
    try:
        limit = time.monotonic() + 90
        while time.monotonic() < limit and children[0].poll() is None:
            if log.exists() and '"Saved"' in log.read_text(encoding="utf-8"):
                break
            time.sleep(0.1)
        kill(children[1])
        died = time.monotonic()
    finally:
        outputs = [over(child, 30) for child in children]
    assert time.monotonic() - died < 30
    said = [line for line in outputs[0].splitlines() if line.startswith("serdemo: ")]
    assert len(said) == 1, outputs[0]
    assert re.match("serdemo: Another process of this training has ended, or its host", said[0])
    *_, last = events.read(log)
    assert isinstance(last, Failed)
    assert said[0] == f"serdemo: {last.message}"

    (tmp_path / "srun").write_text(SRUN, encoding="utf-8")
    (tmp_path / "scontrol").write_text(
        f"#!/bin/sh\necho {hosts[0].first}\necho other\n", encoding="utf-8"
    )
    for number, host in enumerate(hosts):
        prefix = " ".join(host.prefix)
        script = f'cd {host.folder}\nexec {prefix} "$@"\n'
        (tmp_path / f"on-{number}.sh").write_text(script, encoding="utf-8")
    for name in ("srun", "scontrol"):
        (tmp_path / name).chmod(0o755)
    batch = "\n".join(commands("bash slurm")).replace(
        "--resume", "--resume --epochs 10000 --stop-after 1"
    )
    job = Host(tmp_path, (), hosts[0].first).start(batch, SLURM_NNODES="2", SLURM_JOB_NODELIST="a")
    output = over(job, 100)
    assert job.returncode == 0, output
    read = list(events.read(log))
    started = [event for event in read if isinstance(event, Started)]
    assert [event.processes for event in started] == [2, 2]
    assert started[1].resumed_step > 0
    assert read[-1].step > started[1].resumed_step
    assert not (hosts[1].folder / "runs").exists()


def test_what_ends_elsewhere_is_one_sentence() -> None:
    for problem in (
        RuntimeError("[/gloo/tcp/pair.cc:1] Connection closed by peer"),
        torch.distributed.DistBackendError("NCCL error"),
    ):
        with (
            pytest.raises(SerdemoError, match="Another process of this training has ended"),
            distributed.connected(),
        ):
            raise problem
    with pytest.raises(RuntimeError, match="shape"), distributed.connected():
        raise RuntimeError("shape")
