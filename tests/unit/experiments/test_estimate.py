"""The time told before a run beside the time it takes: what `bench estimate` finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from serdemo.experiments import estimate as estimate_bench
from serdemo.schema.errors import SerdemoError


@pytest.mark.slow
def test_a_run_is_told_and_then_timed(corpus_root: Path, tiny_checkpoint: Path) -> None:
    figures = estimate_bench.estimate(str(corpus_root), None, tiny_checkpoint, epochs=1, rounds=1)
    assert figures["clips"] == {"train": 12, "valid": 6, "test": 6}
    assert figures["epochs"] == 1 and figures["measuring_s"] > 0
    (told,), (took,) = figures["told_s"], figures["took_s"]
    assert told > 0.5 and took > 0.5
    assert figures["ratio"] == pytest.approx(told / took, rel=0.05)


def test_a_run_that_fails_is_a_sentence(
    corpus_root: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serdemo.runs.estimate.estimate_duration", lambda *asked: None)
    monkeypatch.setattr(estimate_bench, "HELD", "nobody")
    with pytest.raises(SerdemoError, match="nobody"):
        estimate_bench.estimate(str(corpus_root), None, tiny_checkpoint, epochs=1, rounds=1)
