"""How soon the page is served, and what tests that are said to be fast may do."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from support.command import here

from serdemo.experiments import page_start as start_bench


@pytest.mark.slow
@pytest.mark.real_time
def test_the_page_is_served_soon_after_a_bare_one() -> None:
    ran = here("bench", "start", "--rounds", "3", "--json")  # a single one may meet cold caches
    figures = ran.json()
    assert list(figures) == ["page_s", "gradio_s", "ratio", "rounds"]
    assert figures["ratio"] == pytest.approx(figures["page_s"] / figures["gradio_s"], abs=0.01)
    assert figures["gradio_s"] > 0 and figures["rounds"] == 3
    # 1.0 to 1.4 in turn on a machine that others share; README tells it as measured on one of its own.
    assert figures["ratio"] < 1.8


@pytest.mark.slow
def test_a_page_that_is_not_served_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_bench, "BARE", "1 / 0")
    ran = here("bench", "start", "--rounds", "1")
    assert (ran.code, ran.out) == (1, "")
    assert "was not served: start it alone" in ran.err


def test_a_fast_test_starts_no_process_and_does_not_wait() -> None:
    for command in (lambda: subprocess.run([sys.executable, "-c", ""]), lambda: time.sleep(1)):
        with pytest.raises(pytest.fail.Exception, match="mark it slow"):
            command()
