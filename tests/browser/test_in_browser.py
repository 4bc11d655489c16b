"""Answers in the browser, on the page of the full app: what is said does not leave the browser."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from serdemo.audio import waveform

RATE = 48_000
RUN_S = 12.0
QUIET_CALLS = {"list_local", "example", "close"}  # of Live to the server that carry no sound


@pytest.fixture(scope="module")
def spoken(clips: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips with pauses between, as the microphone of `speaking` plays them."""
    pause = np.zeros(RATE, np.float32)
    sound = [pause]
    for path in clips[:3]:
        samples = waveform.decode(path).samples
        sound += [soxr.resample(samples, waveform.SAMPLE_RATE, RATE), pause]
    path = tmp_path_factory.mktemp("microphone") / "spoken.wav"
    soundfile.write(path, np.clip(np.concatenate(sound), -1, 1), RATE, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def speaking(launch: Callable[..., Any], spoken: Path) -> Any:
    return launch(spoken)


@pytest.fixture
def live(visit: Callable[..., Any], speaking: Any) -> Any:
    """The tab Live, with the switch still off."""
    page = visit(browser=speaking, permissions=["microphone"])
    page.set_default_timeout(120_000)  # what answers is loaded first
    page.get_by_role("tab", name="Live").click()
    page.locator(".sd-live").wait_for()
    return page


def part(page: Any, name: str) -> Any:
    return page.locator(f".sd-live [data-part={name}]")


def fact(page: Any, name: str) -> int:
    return int(part(page, f"detail-{name}").text_content().replace(",", ""))


def switch_on(page: Any) -> None:
    page.get_by_role("switch", name="Answer in this browser").check()


def listen(page: Any) -> None:
    page.get_by_role("button", name="Start listening").click()
    page.locator(".sd-live[data-state=live]").wait_for()


def calls(requests: list[Any]) -> list[str]:
    """The calls of Live among requests; every other one with a body fails the test."""
    found = []
    for request in requests:
        if body := request.post_data:
            assert len(body) < 2000, (request.url, len(body))
            if "component_server" in request.url and json.loads(body)["fn_name"] == "live":
                found.append(json.loads(body)["data"]["call"])
    return found


def test_a_voice_is_answered_and_does_not_leave_the_browser(live: Any) -> None:
    page = live
    described = page.locator("#sd-live-where").inner_text()
    assert re.search(r"your voice does not leave this machine.* 1\d MB are loaded once", described)
    requests: list[Any] = []
    page.on("request", lambda request: requests.append(request))
    switch_on(page)
    listen(page)
    page.wait_for_timeout(1000 * RUN_S)
    page.wait_for_function(
        "document.querySelector('.sd-live [data-part=marks]').children.length > 0"
    )
    assert re.fullmatch(
        r"Answered by (base|compact) in this browser", part(page, "model").inner_text()
    )
    lag = re.search(r"answers lag (\d\.\d) s", part(page, "status").inner_text())
    assert lag
    assert float(lag[1]) < 2  # on a machine busy with other tests
    page.get_by_role("button", name="Stop").click()
    part(page, "scope").filter(has_text="Taken as a whole").wait_for()
    assert fact(page, "lost") == 0
    # A busy machine captures less than a second of sound in a second.
    assert fact(page, "captured") == fact(page, "received") > 16_000 * RUN_S / 2
    assert {*calls(requests)} <= QUIET_CALLS
    assert any("model.onnx" in request.url for request in requests)


def test_the_switch_is_remembered_and_nothing_is_loaded_before_it_is_on(live: Any) -> None:
    page = live
    loaded = page.evaluate("performance.getEntriesByType('resource').map(({ name }) => name)")
    assert not [name for name in loaded if ".onnx" in name or "onnxruntime" in name]
    switch_on(page)
    page.reload()
    page.get_by_role("tab", name="Live").click()
    switch = page.get_by_role("switch", name="Answer in this browser")
    switch.wait_for()
    assert switch.is_checked()


def test_the_map_follows_a_voice_in_the_browser_that_answers_it(live: Any) -> None:
    page = live
    requests: list[Any] = []
    page.on("request", lambda request: requests.append(request))
    switch_on(page)
    listen(page)
    page.get_by_role("switch", name="Answer in this browser").uncheck()  # from the next start on
    page.get_by_role("tab", name="Explore").click()
    page.locator("#explore [data-part=near] li").first.wait_for()
    assert {*calls(requests)} <= QUIET_CALLS
    of_voices = re.compile('"call": ?"(follow|voice)"')
    assert not [request.url for request in requests if of_voices.search(request.post_data or "")]


def test_where_the_server_is_full_the_browser_answers_and_says_so(live: Any) -> None:
    page = live
    full = {"refused": "All 64 places are taken.", "full": True, "gone": False}

    def refuse(route: Any) -> None:
        opening = json.loads(route.request.post_data)["data"].get("call") == "open"
        if opening:
            route.fulfill(json=full)
        else:
            route.continue_()

    page.route("**/component_server/", refuse)
    listen(page)
    part(page, "note").filter(
        has_text=re.compile("The server is full: this browser answers by (base|compact), and")
    ).wait_for()
    page.wait_for_function(
        "document.querySelector('.sd-live [data-part=marks]').children.length > 0"
    )
    page.get_by_role("button", name="Stop").click()
    part(page, "scope").filter(has_text="Taken as a whole").wait_for()
    assert fact(page, "lost") == 0
