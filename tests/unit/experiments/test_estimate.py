"""`bench estimate`: estimated beside actual duration of a training run."""

from __future__ import annotations

from pathlib import Path

import pytest

from serdemo.experiments import estimate as estimate_bench
from serdemo.runs.request import SplitChoice
from serdemo.schema.errors import SerdemoError


@pytest.mark.slow
def test_a_run_is_estimated_and_then_timed(corpus_root: Path, tiny_checkpoint: Path) -> None:
    figures = estimate_bench.estimate(str(corpus_root), None, tiny_checkpoint, epochs=1, rounds=1)
    assert figures["clips"] == {"train": 12, "valid": 6, "test": 6}
    assert figures["epochs"] == 1 and figures["measuring_s"] > 0
    (estimated,), (actual,) = figures["told_s"], figures["took_s"]
    assert estimated > 0.5 and actual > 0.5
    assert figures["ratio"] == pytest.approx(estimated / actual, rel=0.05)


def test_a_run_that_fails_is_a_sentence(
    corpus_root: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate_bench, "SPLIT", SplitChoice(valid="nobody"))
    with pytest.raises(SerdemoError, match="nobody"):
        estimate_bench.estimate(str(corpus_root), None, tiny_checkpoint, epochs=1, rounds=1)
