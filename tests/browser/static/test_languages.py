"""The page without a server in another language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from support.leftovers import leftovers, overflow
from support.static_page import IN_CHROMIUM


@IN_CHROMIUM
def test_nothing_in_sight_is_left_in_english(open_page: Callable[..., Any]) -> None:
    page = open_page(width=390, locale="ar")
    assert page.locator("html").get_attribute("dir") == "rtl"
    for tab in page.get_by_role("tab").all():
        tab.click()
        if page.locator(".sd-map").is_visible():
            page.locator(".sd-map[data-state=open]").wait_for()
        page.wait_for_timeout(300)
        assert leftovers(page) == []
        assert overflow(page) <= 0
    page.locator(".sd-language select").select_option("es")
    page.get_by_role("tab", name="Reconocer").wait_for()
    assert page.locator("html").get_attribute("lang") == "es"
