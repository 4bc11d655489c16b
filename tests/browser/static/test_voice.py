"""A voice on the page without a server: live, recorded, and on the map."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support.answers import shown, wait_for_answer
from support.static_page import IN_CHROMIUM, download

from serdemo.embeddings import embedding_map

Open = Callable[..., Any]
LISTEN_S = 12.0
REFUSING = """if (navigator.mediaDevices) navigator.mediaDevices.getUserMedia = async () => {
  throw new DOMException("no", "NotAllowedError");
};"""
# How late each answer that is shown came, as the page says it.
DELAYS = """() => { window.delays = [];
  const status = document.querySelector("[data-part=status]");
  new MutationObserver(() => {
    const found = status.textContent.match(/answers lag (\\d\\.\\d) s/);
    if (found) window.delays.push(Number(found[1]));
  }).observe(status, { childList: true, characterData: true, subtree: true }); }"""


def part(page: Any, name: str) -> Any:
    return page.locator(f".sd-live [data-part={name}]")


def fact(page: Any, name: str) -> int:
    return int(part(page, f"detail-{name}").text_content().replace(",", "") or -1)


def open_live(open_page: Open, **options: Any) -> Any:
    page = open_page("#live", **{"permissions": ["microphone"], "ready": False, **options})
    page.get_by_role("button", name="Start listening").wait_for()
    return page


def listen(page: Any, seconds: float = LISTEN_S) -> None:
    """Start, and wait until the sound of so many seconds has come."""
    page.get_by_role("button", name="Start listening").click()
    page.locator(".sd-live[data-state=live]").wait_for()
    page.wait_for_function(
        """(samples) => Number(document.querySelector("[data-part=detail-captured]")
             .textContent.replaceAll(",", "")) >= samples""",
        arg=seconds * 16_000,
    )


def stop(page: Any) -> None:
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Start listening").wait_for()


@pytest.mark.real_time
def test_a_live_voice_is_answered_and_no_sample_is_lost(
    open_page: Open, voice: tuple[Path, str], tmp_path: Path
) -> None:
    page = open_live(open_page)
    page.evaluate(f"({DELAYS})()")
    listen(page)
    part(page, "marks").locator("svg").first.wait_for()
    stop(page)
    assert part(page, "scope").inner_text() == "Taken as a whole"
    assert voice[1] in part(page, "says").inner_text().lower()
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


def test_the_browsers_own_microphone_is_answered_in_words(open_page: Open, kind: str) -> None:
    """Firefox's plays a tone, which is no voice."""
    own = "delete navigator.mediaDevices?.getUserMedia;" if kind == "firefox" else ""
    page = open_live(open_page, script=own)
    listen(page, 4.0)
    stop(page)
    words = part(page, "says").inner_text()
    assert words == "No voice heard" if kind == "firefox" else re.match("Sounds |Not sure", words)


@IN_CHROMIUM
def test_an_example_voice_needs_no_microphone(open_page: Open) -> None:
    page = open_live(open_page, script=REFUSING)
    page.get_by_role("button", name="Watch an example voice").click()
    part(page, "marks").locator("svg").first.wait_for()
    assert re.match("Sounds |Not sure", part(page, "says").inner_text())
    stop(page)


def test_a_refused_microphone_is_a_sentence(open_page: Open) -> None:
    page = open_live(open_page, script=REFUSING)
    page.get_by_role("button", name="Start listening").click()
    part(page, "note").filter(has_text="allow the microphone").wait_for()
    assert page.get_by_role("button", name="Start listening").is_enabled()
    page.get_by_role("tab", name="Explore").click()
    page.locator(".sd-map[data-state=open]").wait_for()
    page.get_by_role("button", name="Speak", exact=True).click()
    page.locator("[data-part=you]").filter(has_text="not allowed").wait_for()


def test_a_recorded_voice_is_answered(open_page: Open, voice: tuple[Path, str]) -> None:
    page = open_page(permissions=["microphone"])
    recorder = page.locator(".sd-recorder")
    recorder.get_by_role("button", name="Record").click()
    recorder.locator("[data-part=time]", has_text="0:06").wait_for()
    recorder.get_by_role("button", name="Stop").click()
    wait_for_answer(page, "Your recording")
    assert voice[1] in shown(page, ".sd-says").inner_text().lower()


# On the map


def open_map(open_page: Open, **options: Any) -> Any:
    page = open_page("#explore", **{"permissions": ["microphone"], "ready": False, **options})
    page.locator(".sd-map[data-state=open]").wait_for()
    return page


def explore(page: Any, name: str) -> Any:
    return page.locator(f".sd-map [data-part={name}]")


def test_the_shipped_map_is_there(open_page: Open) -> None:
    page = open_map(open_page)
    clips = f"{len(embedding_map.read(embedding_map.default_path()).table):,}"
    assert explore(page, "count").inner_text() == f"{clips} of {clips} clips shown"
    assert "NMI" in explore(page, "metrics").inner_text()
    page.get_by_label("Colour by").select_option("Speaker")
    assert explore(page, "legend-title").inner_text() == "Speaker"


@IN_CHROMIUM
def test_a_clip_is_placed_on_the_map(open_page: Open, clips: list[Path]) -> None:
    page = open_map(open_page)
    page.set_input_files("[data-part=clip-file]", str(clips[0]))
    explore(page, "near").locator("li").first.wait_for()
    assert clips[0].name in explore(page, "you").inner_text()


def test_a_live_voice_is_followed_on_the_map(open_page: Open) -> None:
    page = open_map(open_page)
    page.get_by_role("button", name="Speak", exact=True).click()
    explore(page, "near").locator("li").first.wait_for()
    over = "() => document.querySelector('.sd-map [data-part=over]').toDataURL()"
    one = page.evaluate(over)
    page.wait_for_function(f"(before) => ({over})() !== before", arg=one)  # it moves
    page.get_by_role("button", name="Stop", exact=True).first.click()
    explore(page, "you").filter(
        has_text=re.compile("Your voice as a whole: .*nearest clips are")
    ).wait_for()
