"""A voice on the page without a server: live, recorded, and on the map; `test_real_time.py` measures."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.answers import shown, wait_for_answer
from support.static_page import IN_CHROMIUM, listen, live_part, open_live, stop

from serdemo.embeddings import embedding_map

Open = Callable[..., Any]
REFUSING = """if (navigator.mediaDevices) navigator.mediaDevices.getUserMedia = async () => {
  throw new DOMException("no", "NotAllowedError");
};"""


def test_the_browsers_own_microphone_is_answered_in_words(open_page: Open, kind: str) -> None:
    """Firefox's plays a tone, which is no voice."""
    own = "delete navigator.mediaDevices?.getUserMedia;" if kind == "firefox" else ""
    page = open_live(open_page, script=own)
    listen(page, 4.0)
    stop(page)
    words = live_part(page, "says").inner_text()
    assert words == "No voice heard" if kind == "firefox" else re.match("Sounds |Not sure", words)


@IN_CHROMIUM
def test_an_example_voice_needs_no_microphone(open_page: Open) -> None:
    page = open_live(open_page, script=REFUSING)
    page.get_by_role("button", name="Watch an example voice").click()
    live_part(page, "marks").locator("svg").first.wait_for()
    assert re.match("Sounds |Not sure", live_part(page, "says").inner_text())
    stop(page)


def test_a_refused_microphone_is_a_sentence(open_page: Open) -> None:
    page = open_live(open_page, script=REFUSING)
    page.get_by_role("button", name="Start listening").click()
    live_part(page, "note").filter(has_text="allow the microphone").wait_for()
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
