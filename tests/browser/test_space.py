"""The page as a ZeroGPU Space serves it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import space_package as space
from support.app_server import ROOT, App

from serdemo.ui.shell.examples import EXAMPLES


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("space")
    path = os.pathsep.join([str(space.put(folder)), str(ROOT)])
    app = App(folder, {**space.ENVIRONMENT, "SERDEMO_TRAINING": "on", "PYTHONPATH": path})
    app.wait()
    yield app.address
    app.end()


def test_many_visitors_are_not_told_that_it_is_busy(visit: Callable[..., Any], url: str) -> None:
    """gradio lets a single call wait on such a Space, unless told otherwise."""
    pages = [visit() for _ in range(3)]
    for page in pages:
        page.goto(url, wait_until="commit")  # all of them at once
    for page in pages:
        page.wait_for_selector(".sd-says")
        page.get_by_role("button", name=list(EXAMPLES)[1]).click()
    for page in pages:
        page.get_by_text(f"{list(EXAMPLES)[1]}", exact=False).first.wait_for()
        page.wait_for_timeout(500)
        assert page.get_by_test_id("toast-body").count() == 0


def test_a_minute_of_its_gpu_is_asked_for(visit: Callable[..., Any]) -> None:
    page = visit(width=390)
    page.get_by_role("tab", name="Fine-tune").click()
    asked = page.get_by_role("spinbutton", name="Seconds of a GPU to borrow")
    asked.wait_for()
    assert asked.input_value() == "60"
    assert page.get_by_text("2 minutes a day, 5 if you have an account").is_visible()
    assert page.get_by_test_id("toast-body").count() == 0
