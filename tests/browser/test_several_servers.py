"""Live beside a server that is started anew, and beside several that do not know each other's streams."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import path_proxy
from support.app_server import App
from support.static_page import as_wav

PATH = "/some/path"


@pytest.fixture(scope="module")
def speaking(
    launch: Callable[..., Any],
    surest: tuple[Path, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """A browser whose microphone hears a person speak."""
    return launch(as_wav(surest[0], tmp_path_factory.mktemp("microphone") / "voice.wav"))


@pytest.fixture(scope="module")
def started() -> Iterator[list[App]]:
    """The pages that were started, which end with the tests."""
    apps: list[App] = []
    yield apps
    for app in apps:
        if app.process.poll() is None:
            app.end()


@pytest.fixture
def apps(started: list[App], tmp_path_factory: pytest.TempPathFactory) -> list[App]:
    """Two pages that answer, each a process of its own."""
    alive = [app for app in started if app.process.poll() is None]
    fresh = [
        App(tmp_path_factory.mktemp("app"), {"GRADIO_ROOT_PATH": PATH})
        for _ in range(2 - len(alive))
    ]
    started += fresh
    for app in fresh:
        app.wait()
    return alive + fresh


@pytest.fixture
def listening(apps: list[App], speaking: Any) -> Iterator[tuple[Any, path_proxy.PathProxy]]:
    """A page that has listened for a while, through a proxy to the first of both."""
    context = speaking.new_context(permissions=["microphone"])
    errors: list[str] = []
    with path_proxy.serving(apps[0].address, PATH) as proxy:
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(proxy.address)
        page.wait_for_selector(".sd-says")
        page.get_by_role("tab", name="Live").click()
        page.get_by_role("button", name="Start listening").click()
        page.locator(".sd-live [data-part=marks] svg").first.wait_for()
        yield page, proxy
        context.close()
    assert errors == []


def live(page: Any, name: str) -> Any:
    return page.locator(f".sd-live [data-part={name}]")


def fact(page: Any, name: str) -> int:
    return int(live(page, f"detail-{name}").text_content().replace(",", ""))


def test_streams_that_land_on_either_server_end_in_a_sentence(listening: Any, apps: Any) -> None:
    page, proxy = listening
    proxy.others = [apps[1].address]  # each request is the next one's
    live(page, "note").filter(has_text="Several servers answer this page").wait_for()
    page.locator(".sd-live[data-state=idle]").wait_for()


def test_a_server_that_is_started_anew_costs_no_sample(listening: Any, apps: Any) -> None:
    page, proxy = listening
    apps[0].process.kill()
    page.wait_for_timeout(2000)
    proxy.app = apps[1].address  # which knows nothing of the stream
    live(page, "note").filter(has_text="nothing you said is lost").wait_for()
    page.wait_for_timeout(2000)
    page.get_by_role("button", name="Stop", exact=True).click()
    page.locator(".sd-live[data-state=idle]").wait_for()
    assert re.match(r"From \d:\d\d\.\d on, taken as a whole", live(page, "scope").inner_text())
    assert fact(page, "captured") == fact(page, "received") > 4 * 16_000
    assert fact(page, "lost") == 0
