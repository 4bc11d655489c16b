"""The page in other languages: all of it is translated, runs in their direction, and answers the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.leftovers import leftovers, overflow

OPEN_ALL = """() => document.querySelectorAll('details').forEach((box) => {
  if (box.checkVisibility()) box.open = true; })"""


@pytest.mark.parametrize(("locale", "direction"), [("ar-EG", "rtl"), ("zh-CN", "ltr")])
def test_nothing_in_sight_is_left_in_english(
    visit: Callable[..., Any], locale: str, direction: str
) -> None:
    page = visit(width=390, locale=locale)
    root = page.locator("html")
    assert root.get_attribute("dir") == direction
    assert root.get_attribute("lang") == {"ar-EG": "ar", "zh-CN": "zh-CN"}[locale]
    for tab in page.get_by_role("tab").all():
        tab.click()
        if page.locator(".sd-map").is_visible():
            page.locator(".sd-map[data-state=open]").wait_for()
        page.evaluate(OPEN_ALL)
        page.wait_for_timeout(300)
        assert leftovers(page) == []
        assert overflow(page) <= 0


def test_the_choice_is_remembered_and_the_data_stay_english(
    visit: Callable[..., Any], tmp_path: Path
) -> None:
    page = visit(locale="en-US")
    picker = page.get_by_label("Language")
    assert picker.input_value() == "en"
    wanted = answer(page, tmp_path)
    picker.select_option("de")
    page.get_by_role("tab", name="Erkennen").wait_for()
    page.reload()
    page.get_by_role("tab", name="Erkennen").wait_for()
    assert page.get_by_label("Sprache").input_value() == "de"
    assert page.evaluate("document.title") == "serdemo: Welche Emotion trägt eine Stimme?"
    page.wait_for_selector(".sd-says")
    assert page.locator(".sd-says").first.inner_text().startswith(("Klingt ", "Unsicher: "))
    assert answer(page, tmp_path) == wanted


def answer(page: Any, folder: Path) -> Any:
    """The answer in sight, saved as JSON."""
    page.locator(".sd-save summary").first.click()
    with page.expect_download() as download:
        page.locator(".sd-save a[download$='.json']").first.click()
    download.value.save_as(folder / "answer.json")
    return json.loads((folder / "answer.json").read_text(encoding="utf-8"))
