"""The numbers and sentences that the browser's streams share with Python's."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from support.node import run_module

from serdemo.audio import waveform
from serdemo.inference import (
    aggregation,
    live_service,
    live_session,
    novelty,
    speaker_adaptation,
    speaker_prior,
    speaker_tracking,
    speed,
    stream,
)
from serdemo.ui.live import handlers
from serdemo.ui.shell import rpc

EXPORTED = """
const names = ["aggregation", "novelty", "speaker_prior", "speaker_adaptation", "speaker_tracking", "stream",
  "predictor", "live_session", "live_service", "live_calls"];
const found = {};
for (const name of names) {
  const module = await import(`./ui/browser/${name}.js`);
  const constants = Object.entries(module).filter(([key]) => key === key.toUpperCase());
  found[name] = Object.fromEntries(constants);
}
done(found);
"""
HOMES: dict[str, tuple[Any, ...]] = {
    "aggregation": (aggregation,),
    "novelty": (novelty,),
    "speaker_prior": (speaker_prior,),
    "speaker_adaptation": (speaker_adaptation,),
    "speaker_tracking": (speaker_tracking,),
    "stream": (stream, waveform),
    "predictor": (waveform,),
    "live_session": (live_session,),
    "live_service": (live_service, speed),
    "live_calls": (handlers, rpc),
}


@pytest.mark.slow
def test_constants_and_sentences_are_those_of_python(tmp_path: Path) -> None:
    found = run_module(tmp_path, EXPORTED)
    defaults = inspect.signature(live_service.LiveService.__init__).parameters
    assert found["live_service"].pop("IDLE_S") == defaults["idle_s"].default
    assert found["live_service"].pop("MAX_STREAMS") == defaults["max_streams"].default
    n_compared = 0
    for module, constants in found.items():
        for name, value in constants.items():
            home = next(home for home in HOMES[module] if hasattr(home, name))
            wanted = getattr(home, name)
            assert (list(wanted) if isinstance(wanted, tuple) else wanted) == value, (module, name)
            n_compared += 1
    assert n_compared >= 35
