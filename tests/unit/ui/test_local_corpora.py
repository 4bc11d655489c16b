"""The known corpora that a page's visitors may choose from."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from serdemo.data import corpora
from serdemo.ui.shell import local_corpora
from serdemo.ui.shell.examples import EXAMPLES, EXAMPLES_DIR
from serdemo.ui.shell.local_corpora import LocalCorpora

VOICE = EXAMPLES_DIR / next(iter(EXAMPLES.values()))
FOUND = [("EMO-DB (1 clips)", "emodb")]


@pytest.fixture
def searches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A data folder with one corpus; an entry for each search of it."""
    (tmp_path / "emodb").mkdir()
    shutil.copy(VOICE, tmp_path / "emodb" / "03a01Fa.flac")
    monkeypatch.setenv("SERDEMO_DATA", str(tmp_path))
    counted: list[int] = []
    search = corpora.available_corpora
    monkeypatch.setattr(corpora, "available_corpora", lambda: counted.append(1) or search())
    return counted


def test_visitors_who_come_together_share_a_search(searches: list[int]) -> None:
    shared, found = LocalCorpora(), []
    visits = [threading.Thread(target=lambda: found.append(shared.choices())) for _ in range(8)]
    for visit in visits:
        visit.start()
    for visit in visits:
        visit.join()
    assert (found, len(searches)) == ([FOUND] * 8, 1)


def test_a_corpus_that_is_added_is_found_a_little_later(
    searches: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = LocalCorpora()
    assert shared.choices() == FOUND
    shutil.copy(VOICE, tmp_path / "emodb" / "03a01Wa.flac")
    assert shared.choices() == FOUND and len(searches) == 1
    monkeypatch.setattr(local_corpora, "SEARCH_S", 0.0)
    assert shared.choices() == [("EMO-DB (2 clips)", "emodb")]


def test_another_data_folder_is_searched_at_once(
    searches: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = LocalCorpora()
    assert shared.choices() == FOUND
    monkeypatch.setenv("SERDEMO_DATA", str(tmp_path / "gone"))
    assert shared.choices() == []
    monkeypatch.delenv("SERDEMO_DATA")
    assert shared.choices() == []
