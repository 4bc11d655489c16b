"""Recognise with "Answer in this browser" on: the answers are the server's, and no sound is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serdemo.inference.predictor import Predictor
from serdemo.schema import palette
from serdemo.schema.types import Prediction
from serdemo.ui.shell.examples import EXAMPLES, EXAMPLES_DIR

Visit = Callable[..., Any]
MOST_BYTES = 2000  # of a call of gradio's own that carries no sound


def switch_on(page: Any) -> list[tuple[str, int]]:
    """Switch it on; the address and size of whatever is sent from then on."""
    page.set_default_timeout(180_000)  # the model is loaded, on whatever cores there are
    sent: list[tuple[str, int]] = []

    def note(request: Any) -> None:
        if request.method != "GET":
            sent.append((request.url, len(request.post_data_buffer or b"")))

    page.context.on("request", note)
    page.locator("#recognise-here").get_by_role("switch").check()
    return sent


def wait_for_answer(page: Any, name: str) -> str:
    page.locator(".sd-detail:not([hidden]):not(.sd-waiting) .sd-file", has_text=name).wait_for()
    text: str = page.locator(".sd-detail:not([hidden]) .sd-says").inner_text()
    return text


def assert_silent(sent: list[tuple[str, int]]) -> None:
    assert [one for one in sent if "/upload" in one[0] or one[1] > MOST_BYTES] == []


def test_files_and_examples_are_answered_as_by_the_server_and_not_sent(
    visit: Visit,
    clips: list[Path],
    as_wav: Callable[[Path], Path],
    predictor: Predictor,
    tmp_path: Path,
    broken: Path,
) -> None:
    page = visit()
    sent = switch_on(page)
    clip = as_wav(clips[0])
    expected = predictor.predict(clip)
    page.set_input_files("#recognise-drop input", str(clip))
    assert wait_for_answer(page, f"{clip.name} ·") == palette.sentence(expected)
    page.get_by_text("Save this answer as").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="JSON").click()
    download.value.save_as(tmp_path / "answer.json")
    (told,) = json.loads((tmp_path / "answer.json").read_text(encoding="utf-8"))
    assert told["probabilities"] == pytest.approx(expected.probabilities, abs=1e-3)
    assert [(s["start_s"], s["end_s"], s["label"]) for s in told["segments"]] == [
        (s.start_s, s.end_s, s.label) for s in expected.segments
    ]
    label = list(EXAMPLES)[1]
    page.get_by_role("button", name=label).click()
    assert wait_for_answer(page, f"{label} ·").startswith(("Sounds", "Not sure"))
    assert "synthetic" in page.locator(".sd-detail .sd-file").inner_text()
    examples = [str(EXAMPLES_DIR / name) for name in EXAMPLES.values()]
    page.set_input_files("#recognise-drop input", [examples[0], str(broken), examples[1]])
    page.locator("[data-pick]").nth(2).wait_for()
    rows = page.locator(".sd-picker tbody tr").all_inner_texts()
    assert "No answer" in rows[1] and "broken.wav holds no sound" in rows[1]
    assert "2 of 3 files answered" in page.locator(".sd-spoken[role=status]").first.inner_text()
    assert_silent(sent)


def test_a_take_stays_in_the_browser(
    visit: Visit,
    launch: Callable[..., Any],
    as_wav: Callable[[Path], Path],
    surest: tuple[Path, Prediction],
) -> None:
    clip, expected = surest
    page = visit(browser=launch(as_wav(clip)), permissions=["microphone"])
    sent = switch_on(page)
    page.get_by_role("button", name="Record").click()
    page.get_by_role("button", name="Stop", exact=True).wait_for()
    page.wait_for_timeout(1000 * expected.duration_s + 300)
    page.get_by_role("button", name="Stop", exact=True).click()
    assert expected.label in wait_for_answer(page, "Your recording ·")
    page.get_by_role("button", name="Record").wait_for()  # ready for the next one
    assert_silent(sent)


def test_the_choice_is_remembered_and_a_refused_microphone_has_its_sentence(
    visit: Visit, launch: Callable[..., Any]
) -> None:
    page = visit(browser=launch(allowed=False))
    switch_on(page)
    page.reload()
    page.wait_for_selector(".sd-says")
    switch = page.locator("#recognise-here").get_by_role("switch")
    assert switch.is_checked()
    assert not page.locator("#recognise-recorder").is_visible()
    page.get_by_role("button", name="Record").click()
    page.get_by_text("The microphone is not allowed here").wait_for()
    switch.uncheck()
    page.locator("#recognise-recorder").wait_for()
    assert page.locator(".sd-recorder").is_hidden()


def test_a_full_server_leaves_files_takes_and_examples_to_the_browser(
    visit: Visit, launch: Callable[..., Any], as_wav: Callable[[Path], Path]
) -> None:
    name = next(iter(EXAMPLES.values()))
    page = visit(browser=launch(as_wav(EXAMPLES_DIR / name)), permissions=["microphone"])
    page.set_default_timeout(180_000)
    page.wait_for_selector(".sd-says")  # gradio's own first call
    full = {"detail": "Queue is full. Max size is 20 and size is 20."}
    page.route("**/queue/join*", lambda route: route.fulfill(status=503, json=full))

    def assert_answered(named: str) -> None:
        assert wait_for_answer(page, f"{named} ·").startswith(("Sounds", "Not sure"))
        note = page.locator(".sd-run-note").inner_text()
        assert note == "The server is full: this browser answered instead, by base."

    page.set_input_files("#recognise-drop input", str(EXAMPLES_DIR / name))
    assert_answered(name)
    label = list(EXAMPLES)[1]
    page.get_by_role("button", name=label).click()
    assert_answered(label)
    assert "synthetic" in page.locator(".sd-detail .sd-file").inner_text()
    page.get_by_role("button", name="Record").click()
    page.locator("#recognise-recorder .timestamps").wait_for()
    page.wait_for_timeout(3000)
    page.get_by_role("button", name="Stop", exact=True).click()
    assert_answered("Your recording")


def test_a_model_of_the_server_alone_switches_it_off_and_says_why(visit: Visit) -> None:
    page = visit()
    sent = switch_on(page)
    switch = page.locator("#recognise-here").get_by_role("switch")
    page.wait_for_function("document.querySelector('.sd-footer').dataset.model")
    assert switch.is_enabled()
    rename = "name => { document.querySelector('.sd-footer').dataset.inBrowser = name; }"
    page.evaluate(rename, "")
    page.get_by_text("The model that answers is on the server alone").first.wait_for()
    assert switch.is_disabled() and not switch.is_checked()
    assert page.locator("#recognise-recorder").is_visible()
    page.get_by_role("button", name=list(EXAMPLES)[1]).click()
    wait_for_answer(page, f"{list(EXAMPLES)[1]} ·")
    assert [url for url, _ in sent if "/queue/join" in url]  # the server answers
    page.get_by_role("tab", name="Live").click()
    assert page.locator(".sd-live [data-part=in-browser]").is_disabled()
    assert "on the server alone" in page.locator("#sd-live-where").inner_text()
    page.get_by_role("tab", name="Recognise").click()
    page.evaluate(rename, "compact")
    page.get_by_text("Your recordings do not leave this machine").wait_for()
    assert switch.is_enabled() and switch.is_checked()
