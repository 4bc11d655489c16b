"""The long promises of Live, kept for 20 s: `bench load` and `bench live` as a user runs them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.app_server import ROOT
from support.command import there

pytestmark = pytest.mark.slow


@pytest.mark.real_time
@pytest.mark.parametrize("command", ["load", "live"])
def test_eight_streams_lose_nothing(command: str, tmp_path: Path) -> None:
    model = ["--checkpoint", str(ROOT / "checkpoints/compact")] if command == "load" else []
    asked = ["--streams", "8", "--seconds", "20", "--json"]
    ran = there("bench", command, *model, *asked, cwd=tmp_path)
    figures = ran.json()
    assert figures["streams"] == 8
    assert figures["lost_samples"] == 0
    assert 0 < figures["delay_s"]["p50"] <= figures["delay_s"]["p99"]
    assert {"start", "end"} <= set(figures["rss_mb"])
    if command == "load":
        assert figures["windows"]["answered"] > 8 * 20
        assert len(figures["labels_as_file"]["streams"]) == 8
        # A busy machine leaves windows out, which moves a label here and there.
        assert min(figures["labels_as_file"]["streams"]) >= 0.9
