"""The scripts that answer in a browser's worker, run by node: the same calls, compared with Python's."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serdemo.ui.browser import files
from support.node import copy_scripts

SCRIPT = Path(__file__).with_name("browser_worker.mjs")


class BrowserWorker:
    """A running worker; `ask` waits for its answer."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def send(self, message: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def ask(self, service: str, request: dict[str, Any]) -> Any:
        """The response of a service; fails the test where there is none."""
        self.send({"service": service, "request": request})
        assert self._process.stdout
        answer = json.loads(self._process.stdout.readline() or '{"error": "the worker ended"}')
        assert "response" in answer, answer["error"]
        return answer["response"]


def floats(samples: np.ndarray[Any, Any]) -> str:
    """Samples as the worker reads them in a recording."""
    return base64.b64encode(samples.astype("<f4").tobytes()).decode()


@contextmanager
def browser_worker(folder: Path) -> Iterator[BrowserWorker]:
    """A worker with the shipped models, whose files are written below `folder`.

    Tests of the map write its files into the folder `map` there.
    """
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node: install nodejs")
    copy_scripts(folder)
    shutil.copy(SCRIPT, folder)
    homes = {name: paths[0].parent.as_uri() for name, paths in files.contents().items()}
    homes[files.MAP] = (folder / files.MAP).as_uri()
    start = {"manifest": files.manifest(homes.__getitem__), "base": folder.as_uri(), "threads": 1}
    with (
        (folder / "errors").open("w") as errors,
        subprocess.Popen(
            [node, SCRIPT.name],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            worker = BrowserWorker(process)
            worker.send(start)
            yield worker
        finally:
            process.kill()
