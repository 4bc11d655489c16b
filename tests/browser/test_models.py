"""Models as a visitor meets them: read a card, compare, export, import, use, delete."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.accessibility import faults

from serdemo.nn import checkpoint
from serdemo.nn.checkpoint_files import SHIPPED

Visit = Callable[..., Any]


def opened(visit: Visit, **options: Any) -> Any:
    page = visit(**options)
    tab(page, "Models")
    page.locator("#models-card").get_by_role("heading", name="How good it is").first.wait_for()
    return page


def tab(page: Any, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def model_of(page: Any) -> str:
    return str(page.locator(".sd-footer strong").inner_text())


@pytest.fixture
def parcel(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A zip of a tiny model, as `models export` writes it."""
    archive = tmp_path / "my tiny.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for path in tiny_checkpoint.iterdir():
            opened.write(path, path.name)
    return archive


def test_from_a_zip_to_answers_and_back(
    visit: Visit, parcel: Path, corpus_root: Path, tmp_path: Path
) -> None:
    page = opened(visit)
    card = page.locator("#models-card")
    assert "11.76" in card.inner_text() and "emodb" in card.inner_text()
    card.get_by_text("Its card").click()
    card.get_by_text("What it was trained on").wait_for()
    assert page.get_by_role("button", name="Delete", exact=True).is_disabled()

    page.set_input_files("#models-zip input", str(parcel))
    told = page.locator("#models-told")
    told.get_by_text("It is kept as models/my-tiny").wait_for()
    assert page.get_by_role("radio", name="models/my-tiny").first.is_checked()
    card.get_by_text("angry, happy, sad").wait_for()

    page.get_by_text("Compare with another").click()
    page.get_by_role("button", name="Compare on the clip").click()
    page.locator("#models-duel article").nth(1).wait_for(timeout=120_000)
    assert page.locator("#models-duel article .sd-bars").count() == 2
    assert faults(page) == []
    page.get_by_label("Or a folder or table").last.fill(str(corpus_root))
    page.get_by_role("button", name="Compare on the corpus").click()
    verdict = page.locator("#models-duel .sd-verdict")
    verdict.wait_for(timeout=120_000)
    assert "clips of 1 unseen speaker" in verdict.inner_text()
    assert faults(page) == []

    assert "speed here" not in card.inner_text()
    page.get_by_role("button", name="Measure its speed").click()
    card.get_by_text("times real time").wait_for(timeout=120_000)

    page.get_by_role("button", name="Use this model").focus()
    page.keyboard.press("Enter")
    told.get_by_text("answers you now").wait_for(timeout=120_000)
    card.get_by_text("answers you now").wait_for()
    assert model_of(page) == "tiny"
    tab(page, "Recognise")
    page.get_by_role("button", name="German, slow and low").click()
    page.locator(".sd-file", has_text="German, slow and low").wait_for()
    page.locator("#recognise-result .sd-says").wait_for()
    assert (
        page.locator("#recognise-result .sd-bars li").count() == 3
    )  # as many emotions as the tiny model knows

    page.reload()  # the choice stays with the browser
    page.wait_for_function(
        "() => (document.querySelector('.sd-footer strong') || {}).innerText === 'tiny'"
    )
    tab(page, "Models")
    card.get_by_text("angry, happy, sad").wait_for()
    with page.expect_download() as coming:
        page.get_by_role("button", name="Export", exact=True).click()
        page.locator("#models-exported a").first.click()
    saved = tmp_path / "back.zip"
    coming.value.save_as(saved)
    with zipfile.ZipFile(saved) as archive:
        archive.extractall(tmp_path / "back")
    assert checkpoint.load(tmp_path / "back")[1].name == "tiny"

    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete", exact=True).click()
    told.get_by_text("models/my-tiny is deleted").wait_for()
    assert page.get_by_role("radio", name="models/my-tiny").count() == 0


def test_what_is_chosen_last_is_shown(visit: Visit, parcel: Path) -> None:
    page = opened(visit)
    page.set_input_files("#models-zip input", str(parcel))
    page.locator("#models-told").get_by_text("It is kept as models/my-tiny").wait_for()
    card, listed = page.locator("#models-card"), page.locator("#models-list")
    for first, last in (("speaker", SHIPPED), (SHIPPED, "models/my-tiny")):
        page.evaluate(  # before the first is answered
            "names => names.forEach((name) => document.querySelector("
            "`#models-list input[value='${name}']`).click())",
            [first, last],
        )
        card.get_by_role("heading", name=last.removeprefix("models/")).wait_for()
        page.wait_for_timeout(500)
        assert listed.get_by_role("radio", name=last, exact=True).is_checked()
        assert card.get_by_role("heading", name=last.removeprefix("models/")).count() == 1
    tab(page, "Recognise")
    tab(page, "Models")
    page.wait_for_timeout(500)
    assert listed.get_by_role("radio", name="models/my-tiny", exact=True).is_checked()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete", exact=True).click()
    page.locator("#models-told").get_by_text("is deleted").wait_for()


def test_live_answers_by_the_model_chosen(visit: Visit, parcel: Path) -> None:
    from playwright.sync_api import Error

    page = opened(visit)
    page.set_input_files("#models-zip input", str(parcel))
    page.locator("#models-told").get_by_text("It is kept as").wait_for()
    page.get_by_role("button", name="Use this model").click()
    page.locator("#models-told").get_by_text("answers you now").wait_for(timeout=120_000)
    tab(page, "Live")
    told: list[str] = []

    def tells(response: Any) -> bool:
        with suppress(Error):  # of some the browser keeps no text
            told.append(response.text())
        return '"probabilities":{"angry"' in told[-1] if told else False

    with page.expect_response(tells):
        page.get_by_role("button", name="Watch an example voice").click()
    segments = json.loads(told[-1])["segments"]
    assert set(segments[0]["probabilities"]) == {"angry", "happy", "sad"}
    page.on("dialog", lambda dialog: dialog.accept())
    tab(page, "Models")
    page.get_by_role("button", name="Delete", exact=True).click()
    page.locator("#models-told").get_by_text("is deleted").wait_for()


def test_visitors_of_a_shared_page_see_their_own(visit: Visit, parcel: Path) -> None:
    far = {"extra_http_headers": {"x-forwarded-for": "203.0.113.7"}}
    mine, yours = opened(visit, **far), opened(visit, **far)
    mine.set_input_files("#models-zip input", str(parcel))
    told = mine.locator("#models-told p")
    told.wait_for(timeout=120_000)
    assert told.inner_text() == "It is kept as models/my-tiny."
    mine.get_by_role("button", name="Use this model").click()
    mine.locator("#models-told").get_by_text("answers you now").wait_for(timeout=120_000)
    for page, count in ((mine, 1), (yours, 0)):
        page.reload()
        page.wait_for_function("() => !!document.querySelector('.sd-footer strong')")
        tab(page, "Models")
        page.locator("#models-card").get_by_role("heading", name="How good it is").wait_for()
        assert page.get_by_role("radio", name="models/").count() == count
        assert model_of(page) == ("tiny" if count else SHIPPED)
        page.get_by_text("Hugging Face hub").click()
        page.get_by_role("button", name="Pull it").wait_for()
        assert page.get_by_role("button", name="Push the model shown").count() == 0
        page.get_by_text("Compare with another").click()
        page.get_by_role("button", name="Compare on the clip").wait_for()
        assert page.locator("#models-folder").count() == 0
    mine.on("dialog", lambda dialog: dialog.accept())
    mine.get_by_role("button", name="Delete", exact=True).click()
    mine.locator("#models-told").get_by_text("is deleted").wait_for()
    mine.wait_for_function(
        "(name) => document.querySelector('.sd-footer strong').innerText === name", arg=SHIPPED
    )


def test_a_bad_zip_is_one_sentence(visit: Visit, tmp_path: Path) -> None:
    page = opened(visit)
    bad = tmp_path / "bad.zip"
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("model.pkl", b"no")
    page.set_input_files("#models-zip input", str(bad))
    refused = page.locator("#models-told [role=alert]")
    refused.wait_for()
    assert "bad.zip holds no file that counts here" in refused.inner_text()


def test_the_hub_needs_a_name_and_a_token(visit: Visit) -> None:
    page = opened(visit)
    page.get_by_text("Hugging Face hub").click()
    page.get_by_label("Model on the hub").fill("no name at all")
    refused = page.locator("#models-told [role=alert]")
    page.get_by_role("button", name="Pull it").click()
    refused.get_by_text("give OWNER/NAME").wait_for(timeout=120_000)
    page.get_by_role("button", name="Push the model shown").click()
    refused.get_by_text("set HF_TOKEN").or_(refused.get_by_text("give OWNER/NAME")).first.wait_for()
