"""The page's scripts that need no browser, run by `node --test`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from support.node import copy_scripts

HERE = Path(__file__).parent


@pytest.mark.slow
def test_the_scripts_without_a_browser(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node: install nodejs")
    copy_scripts(tmp_path)
    tests = [shutil.copy(path, tmp_path) for path in sorted(HERE.glob("*.test.js"))]
    assert tests
    done = subprocess.run(
        [node, "--test", *map(str, tests)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
