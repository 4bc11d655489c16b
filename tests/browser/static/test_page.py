"""The page without a server as a whole: without a network, by keyboard, on a phone, in the dark, and in
browsers that lack what it needs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.accessibility import faults
from support.answers import shown, wait_for_answer
from support.folder_server import FolderServer
from support.page_scripts import FAINT_TEXTS
from support.static_page import IN_CHROMIUM, drop

Open = Callable[..., Any]
TABS = ("Recognise", "Live", "Explore")
FITS = "document.scrollingElement.scrollWidth <= innerWidth"
# What the element in focus is called, by its label, its text or the label around it.
FOCUSED = """() => { const at = document.activeElement; const label = at.closest("label");
  return (at.getAttribute("aria-label") || (label || at).innerText || "").toLowerCase(); }"""


def wait_for_worker(page: Any) -> None:
    """Until the service worker has what the page needs without a network."""
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")


def say(page: Any, kind: str) -> None:
    """Speak live until an answer is there, then stop."""
    page.get_by_role("tab", name="Live").click()
    page.get_by_role("button", name="Start listening").click()
    page.locator(".sd-live [data-part=marks] svg").first.wait_for()
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Start listening").wait_for()


def test_with_the_cable_pulled_it_answers_a_clip_and_a_voice(
    open_page: Open, kind: str, site: FolderServer, clips: list[Path]
) -> None:
    page = open_page(permissions=["microphone"])
    wait_for_worker(page)
    with site.stopped():
        drop(page, clips[0])
        wait_for_answer(page, clips[0].name)
        again = page.context.new_page()
        page.close()
        again.set_default_timeout(60_000)
        again.goto(f"{site.url}/")  # as the one who comes back the next day, in a train
        again.locator("#recognise-result .sd-says").wait_for()
        drop(again, clips[1])
        wait_for_answer(again, clips[1].name)
        assert re.match("Sounds |Not sure", shown(again, ".sd-says").inner_text())
        say(again, kind)


# Browsers that lack something


LACKING = {
    "SIMD": "WebAssembly.validate = () => false;",
    "WebAssembly": "delete globalThis.WebAssembly;",
    "workers": "delete globalThis.Worker;",
    "unpacking": "delete globalThis.DecompressionStream;",
}


@IN_CHROMIUM
@pytest.mark.parametrize("lack", LACKING)
def test_a_browser_that_lacks_something_is_told_so(open_page: Open, lack: str) -> None:
    page = open_page(script=LACKING[lack], ready=False)
    sentence = page.locator("[role=alert], .sd-notes li").filter(
        has_text=re.compile(r"[Bb]rowser.*\.$")
    )
    sentence.first.wait_for()
    assert len(sentence.first.inner_text()) < 250


# The look


def test_a_keyboard_is_enough(open_page: Open, clips: list[Path]) -> None:
    page = open_page(permissions=["microphone"])
    page.get_by_role("tab", name="Recognise").focus()
    for key, tab in (("ArrowRight", "Live"), ("ArrowRight", "Explore"), ("Home", "Recognise")):
        page.keyboard.press(key)
        selected = page.get_by_role("tab", name=tab)
        if selected.get_attribute("aria-selected") != "true":
            page.keyboard.press("Enter")
        assert selected.get_attribute("aria-selected") == "true"
        assert page.get_by_role("tabpanel", name=tab).is_visible()
        assert page.get_by_role("tabpanel").count() == 1
    tab_to(
        page, "choose audio or video files", "record", "english", "play", "segments", "save this"
    )
    page.get_by_role("button", name="German, slow and low").focus()
    page.keyboard.press("Enter")
    wait_for_answer(page, "German, slow and low")
    page.get_by_role("tab", name="Live").focus()
    page.keyboard.press("Enter")
    tab_to(page, "start listening", "let the browser clean up", "details")
    page.get_by_role("button", name="Watch an example voice").focus()
    page.keyboard.press("Enter")
    page.locator(".sd-live [data-part=marks] svg").first.wait_for()


def tab_to(page: Any, *names: str) -> None:
    """Press the Tab key until it has come by all these, and no further: it leaves the page at the end."""
    reached = ""
    missing = set(names)
    for _ in range(60):
        page.keyboard.press("Tab")
        reached += "|" + page.evaluate(FOCUSED)
        missing = {name for name in missing if name not in reached}
        if not missing:
            return
    pytest.fail(f"{missing} not in {reached}")


@IN_CHROMIUM
def test_axe_finds_no_fault_and_a_window_of_320_pixels_no_sideways_scroll(open_page: Open) -> None:
    page = open_page(width=320, height=640)
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        if tab == "Explore":
            page.locator(".sd-map[data-state=open]").wait_for()
        assert page.evaluate(FITS), tab
        assert faults(page) == [], tab


@IN_CHROMIUM
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable(open_page: Open, scheme: str, clips: list[Path], broken: Path) -> None:
    page = open_page(color_scheme=scheme)
    shade = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    lightest = max(map(float, re.findall(r"[\d.]+", shade)[:3]))
    assert (lightest < 80) == (scheme == "dark"), shade
    drop(page, clips[0], broken)
    page.locator("[data-pick]").nth(1).wait_for()
    seen = 0
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        if tab == "Explore":
            page.locator(".sd-map[data-state=open]").wait_for()
        found = page.evaluate(FAINT_TEXTS)
        assert found["faint"] == [], tab
        seen += found["seen"]
    assert seen > 60
