"""The answers of Recognise, which both pages draw alike."""

from __future__ import annotations

from typing import Any


def wait_for_answer(page: Any, name: str) -> None:
    page.locator(".sd-detail:not([hidden]):not(.sd-waiting) .sd-file", has_text=name).wait_for()


def shown(page: Any, selector: str) -> Any:
    return page.locator(f".sd-detail:not([hidden]) {selector}")
