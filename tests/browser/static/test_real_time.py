"""The page without a server in real time, with nothing else to do: no sample lost, and it never stops."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support.static_page import (
    BLOCKED,
    IN_CHROMIUM,
    download,
    drop,
    listen,
    live_part,
    open_live,
    stop,
)

pytestmark = pytest.mark.real_time
Open = Callable[..., Any]
LISTEN_S = 12.0
LONGEST_BLOCK_MS = 500
# How late each answer that is shown came, as the page says it.
DELAYS = """() => { window.delays = [];
  const status = document.querySelector("[data-part=status]");
  new MutationObserver(() => {
    const found = status.textContent.match(/answers lag (\\d\\.\\d) s/);
    if (found) window.delays.push(Number(found[1]));
  }).observe(status, { childList: true, characterData: true, subtree: true }); }"""


def fact(page: Any, name: str) -> int:
    return int(live_part(page, f"detail-{name}").text_content().replace(",", "") or -1)


def test_a_live_voice_is_answered_and_no_sample_is_lost(
    open_page: Open, voice: tuple[Path, str], tmp_path: Path
) -> None:
    page = open_live(open_page)
    page.evaluate(f"({DELAYS})()")
    listen(page, LISTEN_S)
    live_part(page, "marks").locator("svg").first.wait_for()
    stop(page)
    assert live_part(page, "scope").inner_text() == "Taken as a whole"
    assert voice[1] in live_part(page, "says").inner_text().lower()
    assert fact(page, "captured") == fact(page, "received") >= LISTEN_S * 16_000
    assert fact(page, "lost") == 0
    delays = page.evaluate("window.delays")
    print(f"answers lag {np.median(delays):.1f} s at the median")
    assert np.median(delays) < 3  # on a busy machine
    told = json.loads(
        download(page, tmp_path, page.get_by_role("button", name="Download JSON")).read_text()
    )
    ends = np.diff([segment["end_s"] for segment in told["segments"]])
    assert np.median(ends) == pytest.approx(0.5)
    sound = download(page, tmp_path, page.get_by_role("button", name="Download WAV"))
    assert soundfile.info(sound).duration == pytest.approx(
        told["sound_end_s"] - told["sound_start_s"], abs=1e-3
    )


@IN_CHROMIUM
def test_the_page_never_stops(open_page: Open, clips: list[Path]) -> None:
    """Neither while a model loads nor while it answers."""
    page = open_page(script=f"({BLOCKED})();", permissions=["microphone"])
    drop(page, *clips[:3])
    page.locator("[data-pick]").nth(min(3, len(clips)) - 1).wait_for()
    page.get_by_role("tab", name="Live").click()
    page.get_by_role("button", name="Watch an example voice").click()
    page.locator(".sd-live [data-part=marks] svg").first.wait_for()
    page.get_by_role("tab", name="Explore").click()
    page.locator(".sd-map[data-state=open]").wait_for()
    longest = page.evaluate("window.longest")
    print(f"the page stood still for {longest:.0f} ms at most")
    assert longest < LONGEST_BLOCK_MS
