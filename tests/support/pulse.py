"""A sound device where there is none: a PulseAudio of its own, whose sound goes nowhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def null_sink(folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which to use it; the test is skipped where there is no PulseAudio.

    What is played to the sink "virtual" is what a microphone hears.
    """
    for program in ("pulseaudio", "pactl", "paplay"):
        if not shutil.which(program):
            pytest.skip(f"there is no {program} here")
    socket = folder / "native"
    environment = {
        "HOME": str(folder),
        "PULSE_RUNTIME_PATH": str(folder / "runtime"),
        "PULSE_SERVER": f"unix:{socket}",
        "PULSE_SOURCE": "virtual.monitor",
    }
    within = {**os.environ, **environment}
    server = subprocess.Popen(
        [
            "pulseaudio",
            "-n",
            "--exit-idle-time=-1",
            "--daemonize=no",
            f"--load=module-native-protocol-unix auth-anonymous=1 socket={socket}",
            "--load=module-null-sink sink_name=virtual rate=48000",
        ],
        env=within,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(100):
            if not subprocess.run(["pactl", "info"], env=within, capture_output=True).returncode:
                break
            time.sleep(0.1)
        else:
            pytest.skip("PulseAudio does not start here")
        yield environment
    finally:
        server.terminate()
        server.wait(10)
