"""The notice at the head of the page, what is stored, and Keep and Forget, by keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from serdemo.ui.shell import privacy

FAR = {"X-Forwarded-For": "203.0.113.7"}
STORED = "JSON.stringify({ ...localStorage, ...sessionStorage })"


def test_a_visitor_is_informed_keeps_and_is_forgotten(visit: Callable[..., Any]) -> None:
    page = visit(extra_http_headers=FAR, width=390, height=844)
    notice = page.get_by_role("note").filter(has_text=privacy.NOTICE)
    assert notice.bounding_box()["y"] < 300  # in sight before anything is recorded
    assert notice.locator("button").count() == 0
    for name in ("Live", "Models"):
        page.get_by_role("tab", name=name).click()
        assert notice.is_visible() and page.get_by_text(privacy.STORED).is_visible()
    page.get_by_role("button", name="Keep for a day").press("Enter")
    page.get_by_role("button", name="Kept until").wait_for()
    page.evaluate("localStorage.setItem('serdemo-voice', '{}secret')")
    page.evaluate("sessionStorage.setItem('serdemo-voice', '{}secret')")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Forget me").press("Enter")
    page.get_by_text("Deleted from the server: takes 0").wait_for()
    assert "secret" not in page.evaluate(STORED)
    assert page.evaluate("document.activeElement.dataset.part") == "message"
    page.get_by_role("button", name="Keep for a day").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


BOTH = """() => [false, true].map((local) => {
  const part = (name) => document.querySelector(`.sd-stored [data-part=${name}]`);
  part("stored").hidden = part("keep").hidden = local;
  part("stored-locally").hidden = !local;
  const [footer, forget] = [document.querySelector(".sd-footer"), part("forget")];
  return [footer.getBoundingClientRect().top, forget.getBoundingClientRect().left];
})"""


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_moves_once_it_is_known_whose_computer_it_is(
    visit: Callable[..., Any], width: int
) -> None:
    afar, local = visit(width=width).evaluate(BOTH)
    assert afar == local


def test_a_local_user_is_told_that_runs_stay(visit: Callable[..., Any]) -> None:
    page = visit()
    page.get_by_text(privacy.STORED_LOCALLY).wait_for()
    assert not page.get_by_role("button", name="Keep for a day").is_visible()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Forget me").press("Enter")
    page.get_by_text(privacy.STAYS).wait_for()
