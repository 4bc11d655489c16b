"""This machine as a ZeroGPU Space, with a small stand-in for its package `spaces`."""

from __future__ import annotations

from pathlib import Path

ENVIRONMENT = {"SPACE_ID": "me/serdemo", "SPACES_ZERO_GPU": "true"}
# What is given to the function and what it yields cross to another process there.
SPACES = """
import pickle
import gradio as gr
lent, most, refused = [], [], []

def GPU(duration=60):
    def decorate(function):
        def borrowed(*given):
            lent.append(duration(*given) if callable(duration) else duration)
            if refused:
                raise refused.pop()
            for number, one in enumerate(function(*pickle.loads(pickle.dumps(given)))):
                if most and number >= most[0]:
                    raise gr.Error("GPU task aborted", title="ZeroGPU worker error")
                yield pickle.loads(pickle.dumps(one))
        return borrowed
    return decorate
"""


def put(folder: Path) -> Path:
    """Write the package below a folder; returns where Python finds it."""
    place = folder / "lib"
    place.mkdir()
    (place / "spaces.py").write_text(SPACES, encoding="utf-8")
    return place
