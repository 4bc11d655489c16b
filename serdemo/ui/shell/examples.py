"""Example recordings on the page."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from serdemo.ui.shell.uploads import Recording

if TYPE_CHECKING:
    pass

EXAMPLES_DIR = Path(str(resources.files("serdemo.audio"))) / "examples"
EXAMPLES = {
    "English, quick and high": "english-quick-high.ogg",
    "German, slow and low": "german-slow-low.ogg",
    "Polish, even": "polish-even.ogg",
    "Greek, lively": "greek-lively.ogg",
}
SYNTHETIC = "synthetic example voice"


def example(label: str) -> Recording:
    """One of the voices that come with the page."""
    return Recording(EXAMPLES_DIR / EXAMPLES[label], label, keep=True, origin=SYNTHETIC)
