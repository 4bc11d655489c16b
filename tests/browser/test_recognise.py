"""Recognise as a visitor meets it: send, speak, read, listen, download."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.answers import shown, wait_for_answer

from serdemo.inference.predictor import Predictor
from serdemo.schema import palette
from serdemo.schema.types import Prediction
from serdemo.ui.shell.examples import EXAMPLES, EXAMPLES_DIR

Visit = Callable[..., Any]


def send(page: Any, *files: Path) -> None:
    page.set_input_files("#recognise-drop input", [str(file) for file in files])


def as_read(prediction: Prediction) -> Any:
    return json.loads(json.dumps(prediction.to_json()))


def close(told: Any, expected: Any) -> bool:
    """Equal, with numbers equal to five digits."""
    if isinstance(expected, dict):
        same = told.keys() == expected.keys()
        return same and all(close(told[key], value) for key, value in expected.items())
    if isinstance(expected, list):
        return len(told) == len(expected) and all(map(close, told, expected))
    return bool(told == (pytest.approx(expected, abs=1e-5) if expected is not None else None))


@pytest.mark.smoke
def test_first_screen_answers_an_example_and_says_it_is_synthetic(
    visit: Visit, predictor: Predictor
) -> None:
    page = visit()
    first = next(iter(EXAMPLES))
    expected = predictor.predict(EXAMPLES_DIR / EXAMPLES[first])
    assert shown(page, ".sd-says").inner_text() == palette.sentence(expected)
    assert "synthetic" in shown(page, ".sd-file").inner_text()
    page.get_by_text("deleted from the server").first.wait_for()
    page.get_by_text("Not for medical, hiring or policing use").wait_for()


def test_a_page_at_rest_draws_nothing(visit: Visit, browser: Any) -> None:
    """gradio's loading screen would be timed at every frame for ever."""
    page = visit()
    page.wait_for_timeout(3000)
    browser.start_tracing(page=page, categories=["devtools.timeline"])
    page.wait_for_timeout(2000)
    events = json.loads(browser.stop_tracing())["traceEvents"]
    names = [event["name"] for event in events]
    assert "FunctionCall" in names
    assert names.count("FireAnimationFrame") < 20  # of 120


@pytest.mark.smoke
def test_an_uploaded_clip_gets_the_predictors_answer(
    visit: Visit, clips: list[Path], predictor: Predictor
) -> None:
    page = visit()
    send(page, clips[0])
    wait_for_answer(page, clips[0].name)
    expected = predictor.predict(clips[0])
    assert shown(page, ".sd-says").inner_text() == palette.sentence(expected)
    names = shown(page, ".sd-bar-name").all_inner_texts()
    assert names == expected.nearest(len(expected.probabilities))
    assert palette.sentence(expected) in page.locator("[role=status].sd-spoken").inner_text()


def test_a_recording_gets_the_predictors_answer(
    visit: Visit,
    launch: Callable[..., Any],
    as_wav: Callable[[Path], Path],
    surest: tuple[Path, Prediction],
) -> None:
    clip, expected = surest
    page = visit(browser=launch(as_wav(clip)), permissions=["microphone"])
    page.get_by_role("button", name="Record").click()
    page.locator("#recognise-recorder .timestamps").wait_for()
    page.wait_for_timeout(1000 * expected.duration_s + 300)
    page.get_by_role("button", name="Stop", exact=True).click()
    wait_for_answer(page, "Your recording")
    assert expected.label in shown(page, ".sd-says").inner_text()
    page.get_by_role("button", name="Record").wait_for()  # ready for the next one


def test_the_microphone_is_left_as_it_is(visit: Visit) -> None:
    page = visit(permissions=["microphone"])
    settings = page.evaluate(
        """async () => (await navigator.mediaDevices.getUserMedia({ audio: true }))
             .getAudioTracks()[0].getSettings()"""
    )
    for wish in ("autoGainControl", "noiseSuppression", "echoCancellation"):
        assert settings[wish] is False, wish


def test_a_bad_file_is_told_in_a_toast_and_in_the_page(visit: Visit, broken: Path) -> None:
    page = visit()
    send(page, broken)
    toast = page.get_by_test_id("toast-body")
    toast.wait_for()
    assert "broken.wav" in toast.inner_text()
    wait_for_answer(page, "broken.wav")
    assert shown(page, ".sd-says").inner_text() == "No answer"
    assert shown(page, ".sd-notes").inner_text() in toast.inner_text()


def test_a_file_too_large_is_told_without_sending_it(visit: Visit, tmp_path: Path) -> None:
    page = visit(extra_http_headers={"X-Forwarded-For": "192.0.2.1"})
    large = tmp_path / "large.wav"
    large.write_bytes(bytes(21 * 1024 * 1024))
    sent = []
    page.on("request", lambda request: sent.append(request.url) if "upload" in request.url else 0)
    send(page, large)
    page.get_by_test_id("toast-body").wait_for()
    wait_for_answer(page, "large.wav")
    assert "larger than 20 MB" in shown(page, ".sd-notes").inner_text()
    assert sent == []


def test_several_files_one_of_them_bad(
    visit: Visit, clips: list[Path], predictor: Predictor, broken: Path
) -> None:
    page = visit()
    send(page, clips[0], broken, clips[1])
    assert "broken.wav" in page.get_by_test_id("toast-body").inner_text()
    page.locator("[data-pick]").nth(2).wait_for()
    rows = page.locator(".sd-picker tbody tr").all_inner_texts()
    for clip, row in ((clips[0], rows[0]), (clips[1], rows[2])):
        assert clip.name in row
        assert palette.sentence(predictor.predict(clip)) in row
    assert "No answer" in rows[1]
    page.get_by_role("button", name=clips[1].name).click()
    wait_for_answer(page, clips[1].name)
    assert shown(page, ".sd-says").inner_text() == palette.sentence(predictor.predict(clips[1]))
    assert page.locator(".sd-detail:visible").count() == 1


def test_stop_keeps_what_is_answered(visit: Visit, clips: list[Path], tmp_path: Path) -> None:
    page = visit()
    copies = []
    for number in range(40):
        copies.append(tmp_path / f"copy {number}{clips[0].suffix}")
        copies[-1].write_bytes(clips[0].read_bytes())
    send(page, *copies)
    page.locator(".sd-progress").get_by_role("button", name="Stop").click()
    note = page.locator(".sd-run-note").inner_text()
    assert note.startswith("Stopped after ")
    assert note.endswith(" of 40 files.")
    assert int(note.split()[2]) == max(1, page.locator("[data-pick]").count()) < 40


def test_downloads_equal_the_prediction(
    visit: Visit, clips: list[Path], predictor: Predictor, tmp_path: Path
) -> None:
    page = visit()
    send(page, clips[0])
    wait_for_answer(page, clips[0].name)
    page.get_by_text("Save this answer as").click()
    for name in ("JSON", "Segments (CSV)", "Subtitles (SRT)", "Praat TextGrid"):
        with page.expect_download() as download:
            page.get_by_role("link", name=name).click()
        download.value.save_as(tmp_path / download.value.suggested_filename)
    stem = clips[0].stem
    told = json.loads((tmp_path / f"{stem}.json").read_text(encoding="utf-8"))
    assert close(told, [as_read(predictor.predict(clips[0]))])
    lines = (tmp_path / f"{stem}.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(told[0]["segments"])
    assert (tmp_path / f"{stem}.srt").read_text().startswith("1\n00:00:")
    assert (tmp_path / f"{stem}.TextGrid").read_text().startswith("File type")


def test_subtitles_beside_a_recording_get_an_answer_each(
    visit: Visit, clips: list[Path], tmp_path: Path
) -> None:
    cues = tmp_path / f"{clips[0].stem}.srt"
    cues.write_text(
        "1\n00:00:00,500 --> 00:00:02,000\nfirst\n\n2\n01:00:00,000 --> 01:00:01,000\nlate\n"
    )
    page = visit()
    send(page, clips[0], cues)
    rows = shown(page, ".sd-cues tbody tr")
    rows.first.wait_for()
    assert rows.count() == 2
    assert "first" in rows.first.inner_text() and "%" in rows.first.inner_text()
    assert "begins after the end" in rows.nth(1).inner_text()


def test_pressing_the_waveform_plays_from_there(visit: Visit) -> None:
    page = visit()
    box = shown(page, ".sd-spans").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.6)
    page.wait_for_selector(".sd-playing")
    audio = "document.querySelector('.sd-detail:not([hidden]) audio')"
    page.wait_for_function(f"{audio}.currentTime > {audio}.duration * 0.52")
    page.get_by_role("button", name="Pause").click()
    page.wait_for_selector(".sd-timeline:not(.sd-playing)")
    assert page.evaluate(f"{audio}.currentTime") < page.evaluate(f"{audio}.duration")


def test_everything_is_reached_by_keyboard(visit: Visit) -> None:
    page = visit()
    wanted = [
        "choose audio or video files",
        "english, quick and high",
        "play from here",
        "play",
        "segments",
    ]
    reached = ""
    for _ in range(40):
        page.keyboard.press("Tab")
        reached += page.evaluate(
            """() => "|" + (document.activeElement.getAttribute("aria-label")
                 || document.activeElement.innerText || "").toLowerCase()"""
        )
        if all(name in reached for name in wanted) and "save this answer as" in reached:
            break
    for name in [*wanted, "record", "save this answer as"]:
        assert name in reached, f"{name} in {reached}"
    page.locator(".sd-span").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".sd-playing")
    page.get_by_role("button", name="German, slow and low").focus()
    page.keyboard.press("Enter")
    wait_for_answer(page, "German, slow and low")


def test_arrows_move_within_the_timeline(visit: Visit) -> None:
    page = visit()
    page.evaluate(
        """() => { const one = document.querySelector(".sd-span");
             const two = one.cloneNode(true); two.tabIndex = -1; two.id = "two"; one.after(two); }"""
    )
    page.locator(".sd-span").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "two"
    assert page.locator(".sd-span[tabindex='0']").count() == 1


def test_a_phone_needs_no_sideways_scroll(visit: Visit, clips: list[Path], broken: Path) -> None:
    page = visit(width=390, height=844)
    fits = "document.scrollingElement.scrollWidth <= innerWidth"
    assert page.evaluate(fits)
    send(page, clips[0], broken, clips[1])
    page.locator("[data-pick]").nth(2).wait_for()
    page.locator(".sd-segments summary").first.click()
    assert page.evaluate(fits)
    inside = "(n) => n.getBoundingClientRect().right <= innerWidth + 0.5"
    for part in (".sd-picker", ".sd-stage", ".sd-bars", ".sd-drop", ".sd-save"):
        assert page.locator(f"{part}:visible").first.evaluate(inside), part


def test_nothing_jumps_when_the_answer_arrives(visit: Visit, url: str) -> None:
    page = visit()
    page.add_init_script(
        """window.shifts = []; new PerformanceObserver((list) => {
             for (const entry of list.getEntries()) window.shifts.push(entry.value);
           }).observe({ type: "layout-shift", buffered: true });"""
    )
    page.goto(url)
    page.wait_for_selector(".sd-waiting")
    before = page.evaluate("window.shifts.length")
    page.wait_for_selector(".sd-says")
    footer = page.locator(".sd-footer").bounding_box()["y"]
    page.get_by_role("button", name="Polish, even").click()
    wait_for_answer(page, "Polish, even")
    assert sum(page.evaluate("window.shifts")[before:]) < 0.05
    assert abs(page.locator(".sd-footer").bounding_box()["y"] - footer) < 60


def test_two_visitors_send_the_same_file_and_nothing_is_kept(
    visit: Visit, clips: list[Path], uploads: Path
) -> None:
    pages = [visit(), visit()]
    before = holding(uploads)
    for page in pages:
        send(page, clips[0])
    for page in pages:
        wait_for_answer(page, clips[0].name)
        assert shown(page, ".sd-says").inner_text() != "No answer"
    deadline = time.monotonic() + 5
    while left := holding(uploads) - before:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def holding(folder: Path) -> set[Path]:
    """The files below the folder that hold anything: of a refused upload gradio leaves an empty one."""
    found = set()
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # deleted meanwhile
            if path.is_file() and path.stat().st_size:
                found.add(path)
    return found


def test_several_files_of_one_person(adapting: str, browser: Any, clips: list[Path]) -> None:
    page = browser.new_context().new_page()
    page.set_default_timeout(120_000)
    page.goto(adapting)
    page.wait_for_selector(".sd-says")
    assert page.locator("[data-same-person]").count() == 0
    page.set_input_files(".sd-drop input", [str(clip) for clip in clips[:2]])
    box = page.get_by_role("checkbox", name="All of one person")
    box.wait_for()
    assert not box.is_checked()
    box.check()
    page.get_by_text("Used to this voice by").wait_for()
    assert box.is_checked()
    assert box.evaluate("(node) => node === document.activeElement")
    assert page.locator("[data-pick]").count() == 2
    box.uncheck()
    page.get_by_text("if one person speaks in all of these files").wait_for()
    assert not box.is_checked()
    page.context.close()
