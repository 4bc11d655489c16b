"""Example recordings on the page."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from serdemo.ui.shell.uploads import Recording

EXAMPLES_DIR = Path(str(resources.files("serdemo.audio"))) / "examples"
EXAMPLES = {
    "English, quick and high": "english-quick-high.ogg",
    "German, slow and low": "german-slow-low.ogg",
    "Polish, even": "polish-even.ogg",
    "Greek, lively": "greek-lively.ogg",
}
SYNTHETIC = "synthetic example voice"


def example(label: str) -> Recording:
    """An example recording, by its label in `EXAMPLES`."""
    return Recording(EXAMPLES_DIR / EXAMPLES[label], label, keep=True, origin=SYNTHETIC)
