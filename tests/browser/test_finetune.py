"""Fine-tune as a visitor meets it: start, watch, leave and come back, stop, resume."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import hub_server
from support.accessibility import faults

Visit = Callable[..., Any]


def opened(visit: Visit, **options: Any) -> Any:
    page = visit(**options)
    page.get_by_role("tab", name="Fine-tune").click()
    page.get_by_role("button", name="Start", exact=True).wait_for()
    return page


def run_of(page: Any) -> Any:
    return page.locator("#finetune-run")


def says(page: Any, words: str) -> None:
    run_of(page).get_by_text(words).first.wait_for(timeout=120_000)


def endless(page: Any) -> None:
    """A run that goes on until it is stopped, however fast the machine."""
    page.get_by_text("More options").click()
    page.get_by_label("Epochs", exact=True).fill("5000")


@pytest.fixture
def asked(corpus_root: Path) -> Callable[[Any], None]:
    """A function that fills the form in: a folder of clips, from the smallest shipped model."""

    def fill(page: Any) -> None:
        page.locator("#finetune-folder input").fill(str(corpus_root))
        page.get_by_label("compact, shipped too").check()
        page.get_by_label("Cross-entropy with supervised contrastive", exact=False).check()

    return fill


def test_a_run_from_start_to_end(visit: Visit, asked: Callable[[Any], None]) -> None:
    page = opened(visit)
    says(page, "No run yet")
    asked(page)
    page.get_by_role("button", name="Check", exact=True).click()
    told = page.locator("#finetune-told")
    told.get_by_text("12 clips of 2 speakers to train on").wait_for()
    told.get_by_text("passes over the clips").wait_for(timeout=120_000)
    told.get_by_text("The same in a terminal").click()
    assert "serdemo train supervised --corpus" in told.locator("pre").inner_text()
    endless(page)

    page.get_by_role("button", name="Start", exact=True).focus()
    page.keyboard.press("Enter")
    says(page, "Training:")
    uar = run_of(page).locator("figure", has_text="UAR").locator("polyline")
    page.wait_for_function(
        "() => { const f = [...document.querySelectorAll('#finetune-run figure')]"
        ".find((n) => n.textContent.includes('UAR')); return f && f.dataset.points >= 2 }",
        timeout=120_000,
    )
    assert uar.count() == 1
    matrix = run_of(page).locator("details", has_text="Confusion matrix")
    matrix.locator("summary").click()
    page.wait_for_timeout(2500)  # the view is renewed each second
    assert matrix.locator("table").is_visible()
    assert faults(page) == []

    page.reload()
    page.get_by_role("tab", name="Fine-tune").click()
    says(page, "Training:")
    asked(page)
    page.get_by_role("button", name="Start", exact=True).click()  # a second one waits its turn
    says(page, "1 before it")
    page.get_by_role("button", name="Stop", exact=True).click()
    says(page, "Taken out of the queue")

    first = page.locator("#finetune-runs").get_by_role("radio", name="supervised-simple-1")
    first.check()
    says(page, "Training:")
    stopped = time.monotonic()
    page.get_by_role("button", name="Stop", exact=True).click()
    says(page, "Stopped (asked to stop)")
    assert time.monotonic() - stopped < 30
    assert "finished" not in run_of(page).inner_text()

    page.get_by_role("button", name="Resume", exact=True).click()
    says(page, "Training:")
    page.get_by_role("button", name="Stop", exact=True).click()
    says(page, "Stopped (asked to stop)")

    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete", exact=True).click()
    first.wait_for(state="detached")
    page.get_by_role("button", name="Delete", exact=True).click()
    says(page, "No run yet")


def test_the_end_tells_what_it_brought_and_the_model_is_used(
    visit: Visit, asked: Callable[[Any], None]
) -> None:
    page = opened(visit)
    asked(page)
    page.get_by_text("More options").click()
    epochs = page.get_by_label("Epochs", exact=True)
    epochs.fill("1")
    epochs.press("Tab")
    page.get_by_role("button", name="Start", exact=True).click()
    verdict = run_of(page).locator(".sd-verdict")
    verdict.wait_for(timeout=120_000)
    assert verdict.get_by_role("columnheader", name="Before").count() == 1
    said = verdict.locator(".sd-verdict-said").inner_text()
    assert said == "No difference that 6 clips can show." or said.endswith("points, sure."), said
    use = page.get_by_role("button", name="Use this model").first
    use.focus()
    page.keyboard.press("Enter")
    page.locator("#finetune-used").get_by_text("answers you now").wait_for(timeout=120_000)
    run = page.locator("#finetune-runs input:checked").input_value()
    assert page.locator(".sd-footer strong").inner_text() == run
    page.get_by_role("tab", name="Recognise").click()
    page.get_by_role("button", name="German, slow and low").click()
    page.locator("#recognise-result .sd-says").wait_for(timeout=120_000)

    page.get_by_role("tab", name="Fine-tune").click()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete", exact=True).click()
    says(page, "No run yet")


def test_a_run_begins_with_a_model_of_the_hub(
    visit: Visit, asked: Callable[[Any], None], hub: hub_server.Hub, tiny_checkpoint: Path
) -> None:
    hub.repos["me/tiny"] = hub_server.Repo()
    hub.repos["me/tiny"].add({path.name: path.read_bytes() for path in tiny_checkpoint.iterdir()})
    page = opened(visit)
    asked(page)
    typed, told = (
        page.get_by_label("Or a model of the Hugging Face"),
        page.locator("#finetune-told"),
    )
    typed.fill("me/none")
    page.get_by_role("button", name="Start", exact=True).click()
    told.get_by_text("There is no model me/none on the hub").wait_for()
    says(page, "No run yet")
    typed.fill("me/tiny")
    page.get_by_role("button", name="Check", exact=True).click()
    told.get_by_text("12 clips of 2 speakers to train on").wait_for()
    fetched = page.get_by_role("radio", name="tiny, imported")
    assert fetched.is_checked() and typed.input_value() == ""
    told.get_by_text("The same in a terminal").click(timeout=120_000)
    assert "models/tiny --run" in told.locator("pre").inner_text()

    page.get_by_role("tab", name="Models").click()  # it is listed there, without a reload
    page.locator("#models-list").get_by_role("radio", name="models/tiny").check()
    page.locator("#models-card").get_by_text("angry, happy, sad").wait_for()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete", exact=True).filter(visible=True).click()
    page.locator("#models-told").get_by_text("models/tiny is deleted").wait_for()
    page.get_by_role("tab", name="Fine-tune").click()
    fetched.wait_for(state="detached")
    assert page.get_by_role("radio", name="the shipped model").is_checked()


def test_a_zip_is_received_and_a_bad_one_refused(
    visit: Visit, corpus_root: Path, tmp_path: Path
) -> None:
    page = opened(visit)
    good, bad = tmp_path / "voices.zip", tmp_path / "out.zip"
    with zipfile.ZipFile(good, "w") as archive:
        for clip in corpus_root.rglob("*.wav"):
            archive.write(clip, clip.relative_to(corpus_root))
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("../../out.wav", b"")
    told = page.locator("#finetune-told")
    page.set_input_files("#finetune-zip input", str(bad))
    told.get_by_text("leads out of it").wait_for()
    page.locator("#finetune-zip").get_by_label("Clear").or_(
        page.locator("#finetune-zip").get_by_label("Remove this file")
    ).first.click()
    page.set_input_files("#finetune-zip input", str(good))
    told.get_by_text("Received voices").wait_for()
    page.get_by_role("button", name="Check", exact=True).click()
    told.get_by_text("12 clips of 2 speakers to train on").wait_for()


def test_nothing_chosen_is_one_sentence(visit: Visit) -> None:
    page = opened(visit)
    page.get_by_role("button", name="Start", exact=True).click()
    page.locator("#finetune-told").get_by_text("Choose what to train on").wait_for()
    assert page.locator("#finetune-told [role=alert]").count() == 1


def test_a_head_is_the_first_choice(visit: Visit) -> None:
    page = opened(visit)
    first = page.locator("#finetune-recipe label").first
    first.filter(has_text="2 minutes: a head on a pretrained encoder.").wait_for()


def test_every_option_of_a_recipe_is_asked(visit: Visit) -> None:
    page = opened(visit)
    page.get_by_text("More options").click()
    page.get_by_label("Contrastive temperature").wait_for()
    page.get_by_label("Contrast emotions across corpora", exact=False).check()
    page.get_by_label("Margin scale").wait_for()


def test_a_visitor_is_asked_for_no_place_on_the_server(visit: Visit) -> None:
    for headers, places in (({}, 1), ({"X-Forwarded-For": "203.0.113.7"}, 0)):
        page = opened(visit, extra_http_headers=headers)
        page.get_by_text("More options").click()
        page.get_by_label("Contrastive temperature").wait_for()
        page.get_by_label("Contrast emotions across corpora", exact=False).wait_for()
        source = page.get_by_text("a hub id, a folder")
        source.wait_for(state="visible" if places else "detached")
        recipes = page.locator("#finetune-recipe input[value=distill]")
        recipes.wait_for(state="attached" if places else "detached")


def test_the_run_is_in_sight_of_the_button_that_begins_it(
    visit: Visit, asked: Callable[[Any], None]
) -> None:
    page = opened(visit, width=390, height=844)
    asked(page)
    endless(page)
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_function(
        "() => { const at = document.querySelector('#finetune-run').getBoundingClientRect();"
        " return at.height > 0 && at.top >= 0 && at.top < innerHeight; }"
    )
    page.get_by_role("button", name="Stop", exact=True).click()
    says(page, "Stopped (asked to stop)")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete", exact=True).click()
    says(page, "No run yet")
