"""`python app.py` as a child process, for the tests that need a page."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


class App:
    """The app on a free port, with its runs and its log in `folder`.

    It is started by a `command` in a `place`, where that is not the repository without any other modules.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        command: Sequence[str] = (sys.executable, "app.py"),
        place: Path = ROOT,
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self.log = folder / "log.txt"
        told = {
            **os.environ,
            "GRADIO_SERVER_PORT": str(port),
            "SERDEMO_RUNS": str(folder / "runs"),
            "OMP_NUM_THREADS": "1",  # what else is tested has the other cores
            "PYTHONUNBUFFERED": "1",
        }
        told.pop("GRADIO_SERVER_NAME", None)
        if place != ROOT:
            told.pop("PYTHONPATH", None)
        told |= environment
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=place, env=told, stdout=log, stderr=log)

    def wait(self) -> None:
        """Until the page is served; fails the test where it is not within a minute."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(self.address, timeout=2).close()
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        pytest.fail(f"app.py did not serve its page:\n{self.log.read_text()}")

    def end(self) -> None:
        """End it and the runs it has started, which would outlive it; raises
        subprocess.TimeoutExpired where it does not end within 20 s."""
        runs = []
        with suppress(psutil.NoSuchProcess):
            runs = psutil.Process(self.process.pid).children(recursive=True)
        self.process.terminate()
        self.process.wait(timeout=20)
        for run in runs:
            with suppress(psutil.NoSuchProcess):
                run.kill()
