"""Teach it your voice as a visitor meets it: say, teach, use it in Live, delete; by keyboard too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from serdemo.nn.checkpoint_files import SHIPPED

Visit = Callable[..., Any]

RATE = 16_000


def opened(visit: Visit, **options: Any) -> Any:
    page = visit(**options)
    page.get_by_role("tab", name="Fine-tune").click()
    page.get_by_role("button", name="Teach it your voice").click()
    page.get_by_role("button", name="Record", exact=True).wait_for()
    return page


def voice(page: Any) -> Any:
    return page.locator("#voice-panel")


def take(page: Any, seconds: float = 2.5) -> None:
    """One take, by keyboard: the button that records is the one that stops."""
    button = voice(page).locator("[data-act=record]")
    button.focus()
    page.keyboard.press("Enter")
    voice(page).get_by_role("button", name="Stop", exact=True).wait_for()
    page.wait_for_timeout(1000 * seconds)
    page.keyboard.press("Enter")


def kept(page: Any, words: str) -> None:
    voice(page).get_by_text(words).wait_for()
    page.wait_for_function(
        "() => document.activeElement && document.activeElement.dataset.act === 'record'"
    )


def model_of(page: Any) -> str:
    return str(page.locator(".sd-footer strong").inner_text())


@pytest.fixture
def speaking(
    launch: Callable[..., Any], surest: tuple[Path, Any], as_wav: Callable[[Path], Path]
) -> Any:
    """A browser whose microphone hears a person speak."""
    return launch(as_wav(surest[0]))


@pytest.fixture
def silent(launch: Callable[..., Any], tmp_path: Path) -> Iterator[Any]:
    """A browser whose microphone is muted."""
    path = tmp_path / "silence.wav"
    soundfile.write(path, np.zeros(RATE), RATE, subtype="PCM_16")
    return launch(path)


def test_from_takes_to_a_model_in_live_and_gone_again(visit: Visit, speaking: Any) -> None:
    page = opened(visit, browser=speaking, permissions=["microphone"])
    panel = voice(page)
    for name in ("happy", "sad"):
        panel.get_by_role("checkbox", name=name).focus()
        page.keyboard.press("Space")
        panel.locator(f"[value={name}]:not(:checked)").wait_for()
    panel.get_by_text("neutral, take 1 of 5").wait_for()
    assert panel.get_by_role("button", name="Train").count() == 0

    take(page)
    kept(page, "Kept: neutral")
    take(page)
    panel.get_by_text("neutral, take 3 of 5").wait_for()
    panel.get_by_role("button", name="Record the last take again").click()
    panel.get_by_text("neutral, take 2 of 5").wait_for()
    take(page)
    kept(page, "Kept: neutral")
    panel.get_by_role("button", name="Skip neutral").click()
    for number in (1, 2):
        panel.get_by_text(f"angry, take {number} of 5").wait_for()
        take(page)
        kept(page, "Kept: angry")

    page.reload()  # what is recorded is still there
    page.get_by_role("tab", name="Fine-tune").click()
    page.get_by_role("button", name="Teach it your voice").click()
    panel.get_by_text("angry, take 3 of 5").wait_for()
    teach = panel.get_by_role("button", name="Train the model")
    teach.focus()
    page.keyboard.press("Enter")
    panel.get_by_text("Recognised of 100 other takes").wait_for(timeout=120_000)
    bars = panel.locator(".sd-voice-bars li").all_inner_texts()
    assert [bar.split()[0] for bar in bars] == ["before", "now"]
    assert all(bar.split()[-2] == "about" for bar in bars)

    panel.get_by_role("button", name="Use this model now").focus()
    page.keyboard.press("Enter")
    panel.get_by_text("Your model answers you now").wait_for(timeout=120_000)
    assert model_of(page) == "my-voice"
    page.get_by_role("tab", name="Live").click()
    page.get_by_role("button", name="Start listening").click()
    page.wait_for_function(
        "() => document.querySelectorAll('#live .sd-span').length > 0", timeout=120_000
    )
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("tab", name="Models").click()  # it is listed there, without a reload
    page.locator("#models-list").get_by_role("radio", name="runs/my-voice").check()
    page.locator("#models-card").get_by_text("answers you now").wait_for()

    page.get_by_role("tab", name="Fine-tune").click()
    page.on("dialog", lambda dialog: dialog.accept())
    panel.get_by_role("button", name="Delete recordings and model").click()
    panel.get_by_text("Recordings and model are deleted").wait_for()
    assert model_of(page) == SHIPPED
    panel.get_by_text("neutral, take 1 of 5").wait_for()
    assert panel.get_by_role("button", name="Delete").count() == 0


def test_a_take_without_a_voice_is_not_kept(visit: Visit, silent: Any) -> None:
    page = opened(visit, browser=silent, permissions=["microphone"])
    take(page, 1.5)
    alert = voice(page).get_by_role("alert").filter(visible=True)
    alert.get_by_text("Not kept. The recording is silent").wait_for()
    assert voice(page).get_by_role("button", name="Keep it all the same").count() == 0
    voice(page).get_by_text("neutral, take 1 of 5").wait_for()


def test_a_microphone_refused_is_a_sentence(visit: Visit, launch: Callable[..., Any]) -> None:
    page = opened(visit, browser=launch(allowed=False))
    voice(page).get_by_role("button", name="Record", exact=True).click()
    voice(page).get_by_text("The microphone is not allowed here").wait_for()
    assert voice(page).get_by_role("button", name="Record", exact=True).is_enabled()


def test_a_visitor_from_afar_leaves_nothing_behind(visit: Visit, speaking: Any) -> None:
    here = opened(visit)
    told = voice(here).locator(".sd-live-small").inner_text()
    runs = Path(told.partition(", in ")[2].partition(", until")[0]).parent
    afar = opened(
        visit,
        browser=speaking,
        permissions=["microphone"],
        extra_http_headers={"X-Forwarded-For": "203.0.113.7"},
    )
    voice(afar).get_by_text("deleted within ten minutes of your leaving").wait_for()
    take(afar)
    kept(afar, "Kept: neutral")
    folder = "[!.]*/voice/my-voice/recordings/neutral/*"
    assert [path.name for path in runs.glob(f".visitors/*/{folder}")] == ["1.wav"]
    here.reload()
    here.get_by_role("tab", name="Fine-tune").click()
    here.get_by_role("button", name="Teach it your voice").click()
    voice(here).get_by_text("neutral, take 1 of 5").wait_for()  # nobody sees another's
    afar.on("dialog", lambda dialog: dialog.accept())
    afar.get_by_role("button", name="Forget me").press("Enter")
    afar.get_by_text("Deleted from the server: takes 1, models 0, runs 0").wait_for()
    assert not list(runs.glob(".visitors/*/[!.]*"))
