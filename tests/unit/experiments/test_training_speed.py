from __future__ import annotations

import pytest

from serdemo.experiments import training_speed as train_bench
from serdemo.schema.errors import UsageError


@pytest.mark.slow
def test_both_loops_are_timed() -> None:
    figures = train_bench.train(
        "compact", "", steps=5, rounds=1, batch_size=2, seconds=0.5, threads=1
    )
    assert figures["clips_per_s"] > 0
    assert figures["trainer_clips_per_s"] > 0
    ratio = figures["clips_per_s"] / figures["trainer_clips_per_s"]
    assert figures["ratio"] == pytest.approx(ratio, abs=0.02)


def test_too_few_steps_are_refused() -> None:
    with pytest.raises(UsageError, match="--steps must be more than the 3"):
        train_bench.train("compact", "", steps=3, rounds=1, batch_size=2, seconds=0.5, threads=1)
