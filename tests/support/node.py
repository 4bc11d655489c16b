"""The page's scripts run by Node, for tests that compare them with Python."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from serdemo.ui.shell import scripts


def run_module(folder: Path, script: str, given: Any = None, timeout_s: float = 120) -> Any:
    """What the module `script` hands to `done(answer)`, through JSON; `given` is there by that name.

    It imports the page's scripts from `./ui/`, and runs in `folder`, into which they are copied.
    """
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node: install nodejs")
    copy_scripts(folder)
    for name, values in (("given.json", given), ("answer.json", None)):
        (folder / name).write_text(json.dumps(values), encoding="utf-8")
    (folder / "script.js").write_text(_PRELUDE + script, encoding="utf-8")
    ended = subprocess.run(
        [node, "script.js"], cwd=folder, capture_output=True, text=True, timeout=timeout_s
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return json.loads((folder / "answer.json").read_text(encoding="utf-8"))


def copy_scripts(folder: Path) -> None:
    """Copy the page's scripts to `folder/ui`, as modules that Node imports."""
    # Node takes a file for a module only below such a package.json.
    (folder / "package.json").write_text('{ "type": "module" }', encoding="utf-8")
    for path, content in scripts.modules().items():
        target = folder / "ui" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


_PRELUDE = """
import { readFileSync, writeFileSync } from "node:fs";
const given = JSON.parse(readFileSync("given.json", "utf-8"));
const done = (answer) => writeFileSync("answer.json", JSON.stringify(answer));
"""
