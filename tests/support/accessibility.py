"""What people who use the keyboard, a screen reader or colours of their own need of a page."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

PHONE = {"width": 390, "height": 844}

# What the element in focus is called, and whether it, or what stands for it, looks different than without.
FOCUSED = """() => {
  const at = document.activeElement;
  const look = () => [at, at.parentElement, ...at.children].map((node) => {
    const { outline, boxShadow, borderColor } = getComputedStyle(node);
    return outline + boxShadow + borderColor;
  }).join();
  const label = at.closest("label");
  const name = (at.getAttribute("aria-label") || (label || at).innerText || at.title || at.tagName)
    .trim().toLowerCase();
  const focused = look();
  at.blur();
  const differs = focused !== look();
  at.focus({ preventScroll: true, focusVisible: true });
  return { name, differs, isBody: at === document.body };
}"""


@cache
def _axe() -> Any:
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        pytest.skip('needs axe-core: pip install "serdemo[test]"')
    return Axe()


def faults(page: Any) -> list[str]:
    """What axe-core finds at fault, of any impact, in the page as it stands: rule, impact and element."""
    found = _axe().run(page).response["violations"]
    return [
        f"{rule['id']} ({rule['impact']}): {' '.join(node['target'])}"
        for rule in found
        for node in rule["nodes"]
    ]


def faults_in_both_looks(page: Any) -> list[str]:
    """The same for the page as it stands, in the light on a desk, and in the dark on a phone."""
    window = page.viewport_size
    found = faults(page)
    page.set_viewport_size(PHONE)
    page.evaluate("document.body.classList.toggle('dark')")
    page.wait_for_timeout(300)  # colours and sizes change within a moment
    found += [f"dark, on a phone: {fault}" for fault in faults(page)]
    page.evaluate("document.body.classList.toggle('dark')")
    page.set_viewport_size(window)
    return found


def stops(page: Any, limit: int = 80) -> list[dict[str, Any]]:
    """What the Tab key comes by until the end of the page, each with its `name` and whether its look
    `differs` while it has the focus; fails the test where there is no end."""
    found: list[dict[str, Any]] = []
    for _ in range(limit):
        page.keyboard.press("Tab")
        stop = page.evaluate(FOCUSED)
        if stop["isBody"]:
            return found
        found.append(stop)
    pytest.fail(f"The Tab key does not leave the page: {[stop['name'] for stop in found[-5:]]}")
