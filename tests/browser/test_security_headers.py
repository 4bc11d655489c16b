"""The page under its own content security policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

TABS = ("Live", "Explore", "Fine-tune", "Models", "Recognise")
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation",
  (event) => violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""
FORBIDDEN = (
    "document.body.append(Object.assign(document.createElement('object'), { data: 'a.svg' }))"
)


@pytest.mark.parametrize("kind", ["chromium", "firefox"])
def test_every_tab_works_within_the_policy(
    visit: Callable[..., Any], request: pytest.FixtureRequest, kind: str
) -> None:
    options = {}
    if kind == "firefox":
        options["browser"] = request.getfixturevalue("launch_firefox")()
    page = visit(**options)
    page.context.add_init_script(WATCH)
    page.reload()
    page.wait_for_selector(".sd-says")
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(500)
    page.get_by_role("tab", name="Explore").click()
    page.wait_for_selector(".sd-map[data-state=open]")
    assert page.evaluate("crossOriginIsolated") is True
    assert page.evaluate("violations") == []
    if kind == "chromium":  # Firefox reports it as an error, which `visit` allows nowhere
        page.evaluate(FORBIDDEN)
        page.wait_for_function("violations.length == 1")
        assert page.evaluate("violations[0]").startswith("object-src")
