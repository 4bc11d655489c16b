"""Both pages for everybody: axe-core, the keyboard alone, narrow windows, and what people set in their system."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.accessibility import faults_in_both_looks, stops
from support.answers import shown, wait_for_answer

from serdemo.schema.types import Prediction
from serdemo.ui import TABS

Visit = Callable[..., Any]
FITS = "document.scrollingElement.scrollWidth <= innerWidth"
FOCUS = "document.activeElement.innerText.trim() || document.activeElement.tagName"


def tab(page: Any, name: str) -> None:
    """Open a tab, and wait until it shows what it has."""
    page.get_by_role("tab", name=name).click()
    ready = {
        "Recognise": ".sd-says",
        "Live": ".sd-live",
        "Explore": ".sd-map[data-state=open]",
        "Fine-tune": "#finetune-run .sd-run",
        "Models": "#models-card .sd-model",
    }
    page.locator(ready[name]).first.wait_for()


def live(page: Any, name: str) -> Any:
    return page.locator(f".sd-live [data-part={name}]")


def test_axe_finds_no_fault(visit: Visit, clips: list[Path], broken: Path) -> None:
    page = visit()
    found: dict[str, list[str]] = {"Recognise": faults_in_both_looks(page)}
    page.set_input_files("#recognise-drop input", [str(clips[0]), str(broken)])
    page.locator("[data-pick]").nth(1).wait_for()
    page.get_by_test_id("toast-body").wait_for()
    for summary in shown(page, "summary").all():
        summary.click()
    found["an answer"] = faults_in_both_looks(page)
    tab(page, "Live")
    found["Live"] = faults_in_both_looks(page)
    page.get_by_role("button", name="Watch an example voice").click()
    page.locator(".sd-live .sd-span").first.wait_for()
    found["listening"] = faults_in_both_looks(page)
    live(page, "start").click()
    page.get_by_role("heading", name="Taken as a whole").wait_for()
    found["stopped"] = faults_in_both_looks(page)
    tab(page, "Explore")
    page.locator(".sd-map [data-act=example]").click()
    page.locator("[data-part=near] button").first.click()
    for summary in page.locator(".sd-map summary").all():
        summary.click()
    found["a voice placed"] = faults_in_both_looks(page)
    tab(page, "Fine-tune")
    for title in ("Teach it your voice", "More options"):
        page.get_by_text(title).click()
    page.get_by_label("Learning rate", exact=False).first.wait_for()
    found["Fine-tune"] = faults_in_both_looks(page)
    tab(page, "Models")
    for title in ("Its card", "Compare with another"):
        page.get_by_text(title).click()
    found["Models"] = faults_in_both_looks(page)
    assert {state: faults for state, faults in found.items() if faults} == {}


def test_whatever_has_the_focus_shows_it_and_the_tab_key_finds_the_end(visit: Visit) -> None:
    page = visit()
    for name in TABS:
        tab(page, name)
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("Shift")  # the keyboard is in use from now on
        page.get_by_role("link", name="Skip to the content").focus()
        found = stops(page)
        assert len(found) > 10, name
        assert [stop["name"] for stop in found if not stop["differs"]] == [], name
        assert "recognise" in [stop["name"] for stop in found[:3]], name


def test_from_the_empty_page_to_an_answer_by_keyboard(
    visit: Visit,
    launch: Callable[..., Any],
    as_wav: Callable[[Path], Path],
    surest: tuple[Path, Prediction],
) -> None:
    clip, expected = surest
    page = visit(browser=launch(as_wav(clip)), permissions=["microphone"])
    press = page.keyboard.press
    press("Tab")
    assert page.get_by_role("link", name="Skip to the content").is_visible()
    press("Enter")
    assert page.evaluate("document.activeElement.id") == "panel-recognise"
    press("Tab")
    press("Tab")
    assert page.evaluate(FOCUS) == "Record"
    press("Enter")
    page.locator("#recognise-recorder .timestamps").wait_for()
    page.wait_for_function(f"({FOCUS}) === 'Stop'")  # which took the place of Record
    page.wait_for_timeout(1000 * expected.duration_s + 300)
    press("Enter")
    wait_for_answer(page, "Your recording")
    assert expected.label in shown(page, ".sd-says").inner_text()
    page.wait_for_function("document.activeElement.closest('#recognise-recorder')")
    # To Live by arrows: start, pause, go on, stop, play.
    page.get_by_role("tab", name="Recognise").focus()
    press("ArrowRight")
    assert page.get_by_role("tab", name="Live").get_attribute("aria-selected") == "true"
    page.get_by_role("tabpanel", name="Live").wait_for()
    live(page, "start").focus()
    press("Enter")
    page.locator(".sd-live .sd-span").first.wait_for()
    live(page, "pause").focus()
    press("Enter")
    live(page, "status").get_by_text("Paused").wait_for()
    press("Enter")
    live(page, "status").get_by_text("Listening").wait_for()
    live(page, "start").focus()
    press("Space")
    live(page, "status").get_by_text("Stopped").wait_for()
    assert page.evaluate("document.activeElement.dataset.part") == "start"
    page.locator(".sd-live .sd-span").first.focus()
    press("Enter")
    page.wait_for_selector(".sd-live .sd-playing")


def test_a_window_of_320_pixels_needs_no_sideways_scroll(visit: Visit) -> None:
    page = visit(width=320, height=640)  # 1280 at 400 %
    for name in TABS:
        tab(page, name)
        assert page.evaluate(FITS), name


def test_settings_of_the_system_are_followed(visit: Visit) -> None:
    page = visit(color_scheme="dark", forced_colors="active", reduced_motion="reduce")
    assert page.evaluate("document.body.classList.contains('dark')")
    fill = shown(page, ".sd-track span").first
    assert fill.evaluate("(node) => getComputedStyle(node).backgroundColor") != page.evaluate(
        "getComputedStyle(document.body).backgroundColor"
    )
    tab(page, "Live")
    switch = live(page, "adapt")
    assert switch.evaluate("(node) => parseFloat(getComputedStyle(node).borderTopWidth)") >= 1
    moving = """[...document.querySelectorAll("*")].filter((node) => {
      const { animationName, transitionDuration } = getComputedStyle(node);
      return node.checkVisibility() && (animationName !== "none" || parseFloat(transitionDuration) > 0);
    }).map((node) => node.className)"""
    assert page.evaluate(moving) == []


@pytest.fixture(scope="module")
def firefox(launch_firefox: Callable[..., Any]) -> Any:
    return launch_firefox()


def test_firefox_answers_records_listens_and_places(
    visit: Visit, firefox: Any, clips: list[Path], surest: tuple[Path, Prediction]
) -> None:
    page = visit(browser=firefox)
    clip, expected = surest
    page.set_input_files("#recognise-drop input", str(clip))
    wait_for_answer(page, clip.name)
    assert expected.label in shown(page, ".sd-says").inner_text()
    page.get_by_role("button", name="Record").click()
    page.locator("#recognise-recorder .timestamps").wait_for()
    page.wait_for_timeout(2000)
    page.get_by_role("button", name="Stop", exact=True).click()
    wait_for_answer(page, "Your recording")
    assert shown(page, ".sd-file").inner_text().startswith("Your recording · ")
    tab(page, "Live")
    live(page, "start").click()
    live(page, "status").get_by_text("Listening").wait_for()
    page.wait_for_function(
        "parseFloat(document.querySelector('[data-part=now]').textContent.slice(2)) > 2"
    )
    live(page, "start").click()
    live(page, "status").get_by_text("Stopped after").wait_for()
    page.locator(".sd-live .sd-segments summary").click()
    assert live(page, "detail-lost").inner_text() == "0"
    tab(page, "Explore")
    page.locator(".sd-map [data-act=example]").click()
    page.locator("[data-part=near] button").first.wait_for()
