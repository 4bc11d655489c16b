"""The map on gradio's page where the visitor's browser answers: voices are placed, and none is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from serdemo.audio import waveform
from serdemo.inference.predictor import Predictor
from serdemo.ui import build
from serdemo.ui.explore.open_maps import MapSessions
from serdemo.ui.explore.placement import ClipPlacer
from serdemo.ui.shell.examples import EXAMPLES, EXAMPLES_DIR
from serdemo.ui.shell.session import Visitors, WarmPredictor

VOICE = EXAMPLES_DIR / EXAMPLES["English, quick and high"]
# What the page asks of its server about a voice; the map itself comes from there.
OF_VOICES = re.compile(b'"call": ?"(place|example|follow|voice|leave)"')


@pytest.fixture(scope="module")
def address(tiny_checkpoint: Path) -> Iterator[str]:
    """A page on the tiny model."""
    served = build(lambda: Predictor(tiny_checkpoint, device="cpu"))
    _, address, _ = served.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    yield address
    served.close()


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    """The example voice as the WAV file of a microphone."""
    path = tmp_path / "voice.wav"
    soundfile.write(path, waveform.decode(VOICE).samples, waveform.SAMPLE_RATE, subtype="PCM_16")
    return path


@pytest.fixture
def visit(launch: Callable[..., Any], address: str, spoken: Path) -> Iterator[Callable[[], Any]]:
    """A function that opens Explore where this browser answers. No page may raise an error, ask its server
    about a voice, or send it sound."""
    contexts, errors, sent = [], [], []

    def go() -> Any:
        context = launch(spoken).new_context(
            viewport={"width": 1280, "height": 1000}, permissions=["microphone"]
        )
        contexts.append(context)
        context.add_init_script('localStorage.setItem("serdemo-in-browser", "true")')
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        context.on(
            "request", lambda request: sent.append((request.url, request.post_data_buffer or b""))
        )
        page.goto(address)
        page.get_by_role("tab", name="Explore").click()
        page.locator(".sd-map[data-state=open]").wait_for()
        return page

    yield go
    for context in contexts:
        context.close()
    assert errors == []
    assert sent
    assert [url for url, body in sent if "/upload?" in url or OF_VOICES.search(body)] == []


def part(page: Any, name: str) -> Any:
    return page.locator(f"#explore [data-part={name}]")


def test_what_needs_the_map_waits_for_it(
    launch: Callable[..., Any], address: str, spoken: Path
) -> None:
    page = launch(spoken).new_context(viewport={"width": 1280, "height": 1000}).new_page()
    page.set_default_timeout(60_000)
    held: list[Any] = []

    def hold(route: Any) -> None:
        request = json.loads(route.request.post_data)
        if request["fn_name"] == "explore" and request["data"]["call"] == "open":
            held.append(route)
        else:
            route.continue_()

    page.route("**/component_server/", hold)
    page.goto(address)
    with page.expect_request(lambda request: '"open"' in (request.post_data or "")):
        page.get_by_role("tab", name="Explore").click()
    controls = page.locator("#explore :is(button, input, select):visible")
    assert controls.count() > 10
    assert not any(control.is_enabled() for control in controls.all())
    page.locator("#explore .sd-map-field").evaluate(
        """(field) => {
          const dropped = new DataTransfer();
          dropped.items.add(new File(["0"], "a.wav"));
          field.dispatchEvent(new DragEvent("drop", { dataTransfer: dropped, bubbles: true }));
        }"""
    )
    part(page, "note").filter(has_text="The map is not open yet").wait_for()
    page.locator("[data-part=own-box] summary").click()
    assert page.get_by_label("Open a table").is_enabled()  # it opens another map
    held[0].continue_()
    page.locator(".sd-map[data-state=open]").wait_for()
    assert part(page, "note").inner_text() == ""
    assert part(page, "speak").is_enabled() and part(page, "clip-file").is_enabled()
    page.context.close()


def test_a_live_voice_is_placed_without_the_server(visit: Callable[[], Any]) -> None:
    page = visit()
    assert "No sound leaves this browser." in part(page, "you").inner_text()
    page.get_by_role("button", name="Speak", exact=True).click()
    part(page, "near").locator("li").first.wait_for()
    page.get_by_role("button", name="Stop", exact=True).first.click()
    part(page, "you").filter(has_text="Your voice as a whole:").wait_for()
    page.get_by_role("button", name="Speak", exact=True).wait_for()


def test_a_clip_is_placed_beside_the_clips_that_the_server_finds(
    visit: Callable[[], Any], spoken: Path, tiny_checkpoint: Path
) -> None:
    page = visit()
    page.set_input_files("[data-part=clip-file]", str(spoken))
    part(page, "you").filter(has_text="nearest clips are").wait_for()
    assert part(page, "you").inner_text().startswith("voice.wav: ")
    near = [
        int(row.get_attribute("data-row")) for row in part(page, "near").locator("button").all()
    ]
    placer = ClipPlacer(Visitors(WarmPredictor(lambda: Predictor(tiny_checkpoint, device="cpu"))))
    theirs = placer.place(MapSessions().get("shipped"), waveform.decode(spoken), "")
    assert near == theirs["rows"][: len(near)]
    assert len(near) == 5


def test_a_file_that_is_no_sound_is_one_sentence(visit: Callable[[], Any], tmp_path: Path) -> None:
    picture = tmp_path / "picture.wav"
    picture.write_text(json.dumps({"no": "sound"}), encoding="utf-8")
    page = visit()
    page.set_input_files("[data-part=clip-file]", str(picture))
    part(page, "you").filter(has_text="picture.wav").filter(has_not_text="Listening").wait_for()
    assert part(page, "you").inner_text().endswith(".")
    assert part(page, "near").locator("li").count() == 0
