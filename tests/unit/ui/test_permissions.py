"""What a visitor may do while the owner has training and imports off, as by default."""

from __future__ import annotations

from collections import defaultdict
from inspect import isgenerator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from serdemo.schema.errors import UsageError
from serdemo.ui import Page, default_page
from serdemo.ui.explore.handlers import Explore
from serdemo.ui.shell import permissions
from serdemo.ui.shell.permissions import NO_IMPORT, NO_TRAINING

HERE, AFAR = "127.0.0.1", "192.168.1.5"


@pytest.fixture
def page(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    monkeypatch.setenv("SERDEMO_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr("serdemo.ui.shell.uploads.get_upload_folder", lambda: str(tmp_path))
    for name in ("SERDEMO_TRAINING", "SERDEMO_IMPORT"):
        monkeypatch.delenv(name, raising=False)
    return default_page(tiny_checkpoint)


def visit(address: str = AFAR) -> Any:
    headers = {"host": "localhost:7860", "origin": "http://localhost:7860"}
    return SimpleNamespace(session_hash="a", client=SimpleNamespace(host=address), headers=headers)


def call(page: Page, handler: str, *given: Any, address: str = AFAR) -> str:
    """What the handler of that name, as `Handlers.on_submit`, answers, all of it."""
    (found, *_) = (
        one.fn for one in page.fns.values() if getattr(one.fn, "__qualname__", "") == handler
    )
    assert found is not None
    answer = found(*given, visit(address))
    return str(list(answer) if isgenerator(answer) else answer)


def block(page: Page, elem_id: str) -> Any:
    return next(one for one in page.blocks.values() if one.elem_id == elem_id)


def values(page: Page, **by_id: Any) -> dict[Any, Any]:
    given = {block(page, name.replace("_", "-")): value for name, value in by_id.items()}
    return defaultdict(lambda: None, {page.token: "anna", page.chosen: "", **given})


def test_no_handler_of_fine_tune_trains(page: Page, tmp_path: Path) -> None:
    filled = values(page, finetune_hub="me/model")  # which is not fetched either
    for handler in ("on_check", "on_submit"):
        assert NO_TRAINING in call(page, f"Handlers.{handler}", filled)
    archive = tmp_path / "sent" / "clips.zip"
    archive.parent.mkdir()
    archive.write_bytes(b"PK")
    assert NO_TRAINING in call(page, "Handlers.on_zip", str(archive), "", "anna")
    assert not archive.parent.exists()  # nothing of it stays
    assert not list((tmp_path / "runs").rglob("*.wav"))


def test_no_handler_of_the_voice_panel_records_or_trains(page: Page, tmp_path: Path) -> None:
    event: Any = SimpleNamespace(_data={"act": "take", "emotion": "sad", "samples": "", "rate": 1})
    assert NO_TRAINING in call(page, "Handlers.act", event, "anna")
    for action in ("list", "use", "choose", "skip"):
        event._data["act"] = action
        assert NO_TRAINING in call(page, "Handlers.act", event, "anna")
    assert NO_TRAINING in call(page, "Handlers.train", "anna")
    assert not list((tmp_path / "runs").rglob("*.wav"))


def test_no_handler_of_models_imports_or_scores_a_corpus(page: Page, tmp_path: Path) -> None:
    archive = tmp_path / "model.zip"
    archive.write_bytes(b"PK")
    sent = values(page, models_zip=str(archive))
    assert NO_IMPORT in call(page, "Handlers.import_zip", sent)
    assert not archive.exists()
    assert NO_IMPORT in call(page, "Handlers.pull", values(page, models_repo="me/model"))
    assert NO_TRAINING in call(page, "Handlers.compare_corpus", values(page))


def test_explore_opens_no_table_of_a_visitor(page: Page, tmp_path: Path) -> None:
    explore = Explore(page)
    for address, refusal in ((AFAR, NO_IMPORT), (HERE, "")):
        who = visit(address)
        assert explore.call({"call": "here"}, who)["no_tables"] == refusal
        (path := tmp_path / "map.parquet").write_bytes(b"no table")
        told = explore.call({"call": "table", "path": str(path), "name": "map.parquet"}, who)
        assert (told["refused"] == NO_IMPORT) is bool(refusal)
        assert not path.exists()


def test_the_tabs_say_so_in_place_of_what_is_off(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    shows = [one.fn for one in page.fns.values() if one.name == "show"]
    assert len(shows) == 2

    def visible(address: str) -> list[tuple[bool, bool]]:
        """Of each part: whether the sentence is seen, and the widgets."""
        return [tuple(one.visible for one in show("anna", visit(address))) for show in shows]  # type: ignore[misc]

    assert visible(AFAR) == [(True, False)] * 2
    assert visible(HERE) == [(False, True)] * 2
    monkeypatch.setenv("SERDEMO_TRAINING", "on")
    assert visible(AFAR) == [(False, True), (True, False)]
    hidden = [
        block(page, name) for name in ("finetune-start", "voice", "models-zip", "models-pull")
    ]
    for one in hidden:
        assert any(isinstance(parent, gr.Column) for parent in parents(one))


def parents(one: Any) -> list[Any]:
    return [] if one.parent is None else [one.parent, *parents(one.parent)]


def test_the_owner_decides_and_a_local_user_may_do_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for owner in (None, "anna"):
        for setting, require in (
            ("SERDEMO_TRAINING", permissions.require_training),
            ("SERDEMO_IMPORT", permissions.require_import),
        ):
            monkeypatch.setenv(setting, "on")
            require(owner)
            monkeypatch.setenv(setting, "off")
            if owner is None:
                require(owner)
            else:
                with pytest.raises(UsageError, match="switched off"):
                    require(owner)
