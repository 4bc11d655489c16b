"""The diffs in CONTRIBUTING.md are real: those of today's code are in it, the examples work."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def diff(section: str) -> str:
    """The diff below a heading."""
    (_, body) = TEXT.split(f"\n## {section}\n")
    found = re.search(r"^```diff\n(.*?)^```$", body, re.MULTILINE | re.DOTALL)
    assert found, f"no diff below {section}"
    return found[1]


def apply(folder: Path, section: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", "apply", *options], cwd=folder, input=diff(section), text=True, capture_output=True
    )


def copy(folder: Path) -> Path:
    """The package in a folder that may be changed, beside the shipped checkpoints."""
    (folder / "checkpoints").symlink_to(ROOT / "checkpoints")
    package = folder / "serdemo"
    shutil.copytree(ROOT / "serdemo", package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("section", ["Add a corpus", "Add an encoder"])
def test_what_stands_in_the_code_is_shown_as_it_stands(section: str, tmp_path: Path) -> None:
    ran = apply(copy(tmp_path), section, "--reverse", "--check")
    assert ran.returncode == 0, ran.stderr


RECIPE = """
from types import SimpleNamespace
import torch
from serdemo.training.options import resolve_recipe
from serdemo.training.recipes import focal

recipe, _ = resolve_recipe("focal", {"gamma": 1.5})
assert recipe.to_json()["gamma"] == 1.5
focal.all_gather_with_grad = lambda tensor, batch: (tensor, batch)
stage = object.__new__(focal.FocalStage)
stage.gamma = 2.0
logits = torch.tensor([[0.75, 0.25], [0.5, 0.5]]).log()
batch = SimpleNamespace(emotion=torch.tensor([0, 1]))
loss, _ = stage.label_losses(SimpleNamespace(logits=logits), batch)
assert abs(float(loss) - (0.25**2 * 0.2876821 + 0.5**2 * 0.6931472) / 2) < 1e-6, loss
"""
TAB = """
from serdemo import ui
page = ui.default_page()
tabs = [block.label for block in page.blocks.values() if type(block).__name__ == "Tab"]
assert "About" in tabs, tabs
"""


@pytest.mark.slow
@pytest.mark.parametrize(("section", "code"), [("Add a recipe", RECIPE), ("Add a tab", TAB)])
def test_the_examples_work(section: str, code: str, tmp_path: Path) -> None:
    folder = copy(tmp_path)
    applied = apply(folder, section)
    assert applied.returncode == 0, applied.stderr
    ran = subprocess.run([sys.executable, "-c", code], cwd=folder, text=True, capture_output=True)
    assert ran.returncode == 0, ran.stderr


def test_the_answers_name_what_is_there() -> None:
    rows = re.search(r"## Ten questions\n(.*?)\n## ", TEXT, re.DOTALL)
    assert rows
    lines = [line for line in rows[1].splitlines() if line.startswith("| ")][1:]
    assert len(lines) == 10
    for line in lines:
        texts = [
            (ROOT / path).read_text(encoding="utf-8")
            for path in re.findall(r"\]\(([^)#]+)\)", line)
        ]
        for name in re.findall(r"`([^`]+)`", line.split("|")[2]):
            assert any(name.split(".")[-1] in text for text in texts), name
