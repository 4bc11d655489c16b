"""What is stored of visitors, until when, and how they are told, without a browser."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import constants

from serdemo.runs.job import Job
from serdemo.runs.queue import JobQueue
from serdemo.runs.request import TrainingRequest
from serdemo.schema.files import write_json
from serdemo.ui import build
from serdemo.ui.shell import cleanup, privacy, process_folder, visitor_store
from serdemo.ui.shell.page import Page
from serdemo.ui.shell.presence import Presence
from serdemo.ui.shell.privacy import Privacy
from serdemo.ui.shell.session import WarmPredictor

REQUEST = TrainingRequest("supervised", ("clips",))


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobQueue:
    monkeypatch.setenv("SERDEMO_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "page" / "files"))
    (tmp_path / "page" / "files").mkdir(parents=True)
    return JobQueue(tmp_path / "runs")


@pytest.fixture
def page() -> Page:
    return Page(WarmPredictor(lambda: pytest.fail("no model is needed")))


def visit(**headers: str) -> Any:
    """A request of a visitor, or with LOCAL of whoever sits here."""
    return SimpleNamespace(
        client=SimpleNamespace(host="127.0.0.1"), headers=headers, session_hash=None
    )


LOCAL = {"host": "localhost:7860", "origin": "http://localhost:7860"}


def stock(owner: str, jobs: JobQueue) -> Path:
    """A take, a model and a run of a visitor."""
    folder = visitor_store.made_folder_of(owner)
    for path in ("voice/my-voice/recordings/sad/1.wav", "models/mine/model.json"):
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text("x")
    jobs.write(Job(f"run-of-{owner}", REQUEST, owner, queued_at=1.0, withdrawn=True))
    return folder


def leave(folder: Path) -> None:
    """Let a visitor have shown no sign of life for as long as it takes."""
    long_ago = time.time() - visitor_store.LEFT_S - 1
    os.utime(folder, (long_ago, long_ago))


def test_all_goes_with_a_visitor_who_leaves_and_nothing_of_others(jobs: JobQueue) -> None:
    anna, bert = stock("anna", jobs), stock("bert", jobs)
    jobs.write(Job("local", REQUEST, queued_at=1.0, withdrawn=True))
    assert cleanup.sweep(jobs) == []
    leave(anna)
    assert cleanup.sweep(jobs) == [anna, jobs.path("run-of-anna")]
    assert not anna.exists() and not jobs.path("run-of-anna").exists()
    assert bert.exists() and {job.name for job in jobs.all()} == {"run-of-bert", "local"}


def test_what_is_kept_goes_at_its_term(jobs: JobQueue) -> None:
    anna = stock("anna", jobs)
    until = visitor_store.retain("anna")
    assert until == pytest.approx(time.time() + 24 * 3600, abs=5)
    assert (
        visitor_store.retained_until("anna") == until and visitor_store.retained_until("bert") == 0
    )
    leave(anna)
    assert cleanup.sweep(jobs) == [] and anna.exists()
    write_json(anna / visitor_store.RETENTION, time.time() - 1)
    os.utime(anna)  # whoever is here has it go at the term too
    assert cleanup.sweep(jobs) == [anna, jobs.path("run-of-anna")]


def test_what_a_dead_page_left_goes_at_once_unless_it_is_kept(jobs: JobQueue) -> None:
    own = visitor_store.made_folder_of("anna")
    killed = own.parent.with_name("page-killed")
    for name in ("bert", "cleo"):
        (killed / name).mkdir(parents=True)
    write_json(killed / "cleo" / visitor_store.RETENTION, time.time() + 60)
    assert cleanup.sweep(jobs) == [killed / "bert"]
    assert own.exists() and (killed / "cleo").exists()
    write_json(killed / "cleo" / visitor_store.RETENTION, time.time() - 1)
    assert cleanup.sweep(jobs) == [killed / "cleo"] and not killed.exists()


def test_a_page_that_ends_leaves_only_what_is_kept(jobs: JobQueue) -> None:
    anna, bert = stock("anna", jobs), stock("bert", jobs)
    visitor_store.retain("bert")
    cleanup.end()
    assert not anna.exists() and bert.exists()
    assert [job.name for job in jobs.all()] == ["run-of-bert"]


def test_a_returning_visitor_finds_what_another_page_kept(jobs: JobQueue) -> None:
    first = visitor_store.made_folder_of("anna")
    moved = first.parent.rename(first.parent.with_name("page-earlier")) / first.name
    assert visitor_store.made_folder_of("anna") == moved


def test_no_library_reports_its_use() -> None:
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
    assert constants.HF_HUB_DISABLE_TELEMETRY is True


def test_a_folder_is_a_processes_own_until_it_ends(tmp_path: Path) -> None:
    folder = process_folder.make_own(tmp_path, "page-")
    (tmp_path / "page-dead").mkdir()
    with process_folder.abandoned(folder) as is_free:
        assert not is_free
    process_folder.delete_abandoned(tmp_path, "page-")
    assert list(tmp_path.iterdir()) == [folder]


def test_a_run_under_way_is_ended_with_its_visitor(
    jobs: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(
        "serdemo.runs.process.kill_tree", lambda pid, born: ended.append(pid) if pid else None
    )
    anna = stock("anna", jobs)
    jobs.write(Job("under-way", REQUEST, "anna", queued_at=2.0, pid=4242, born=1.0))
    leave(anna)
    cleanup.sweep(jobs)
    assert ended == [4242] and jobs.all() == []


def test_a_run_that_was_being_made_leaves_nothing(jobs: JobQueue) -> None:
    (jobs.folder / ".new.part").mkdir(parents=True)
    stock("anna", jobs)
    jobs.delete_unfinished()
    assert not (jobs.folder / ".new.part").exists() and len(jobs.all()) == 1


def test_signs_of_life_tell_sessions_and_visitors(
    jobs: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    presence, anna = Presence(), stock("anna", jobs)
    presence.note("s", "anna")
    presence.note("s")
    assert presence.owner_of("s") == "anna" and presence.owner_of("t") == ""
    assert presence.is_here("s") and not presence.is_here("t")
    later = time.monotonic() + visitor_store.LEFT_S - 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    leave(anna)
    presence.note("s")  # as an open page does each minute
    assert cleanup.sweep(jobs) == []
    monkeypatch.setattr(time, "monotonic", lambda: later + visitor_store.LEFT_S)
    assert not presence.is_here("s")


def test_forgetting_deletes_all_of_a_visitor_and_says_what(
    jobs: JobQueue, page: Page, tmp_path: Path
) -> None:
    anna, calls = stock("anna", jobs), Privacy(page)
    sent = tmp_path / "page" / "files" / "hash" / "secret.wav"
    elsewhere = tmp_path / "elsewhere.wav"
    for path in (sent, elsewhere):
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    page.visitors._chosen["s"] = anna / "models" / "mine"
    forgotten: list[str] = []
    page.forgets.append(forgotten.append)
    request = {"call": "forget", "visitor": "s", "uploads": [str(sent), str(elsewhere), 7]}
    assert calls.call(request, visit()) == {"refused": privacy.NO_SESSION}  # no sign of it yet
    page.presence.note("s", "anna")
    response = calls.call(request, visit())
    assert response["message"].startswith("Deleted from the server: takes 1, models 1, runs 1,")
    assert not anna.exists() and jobs.all() == [] and not sent.exists()
    assert elsewhere.exists() and not page.visitors.has_chosen("s") and forgotten[-1] == "s"


def test_a_local_users_runs_are_not_forgotten(jobs: JobQueue, page: Page) -> None:
    jobs.write(Job("local", REQUEST, queued_at=1.0, withdrawn=True))
    response = Privacy(page).call({"call": "forget", "visitor": "s"}, visit(**LOCAL))
    assert response["message"] == f"{privacy.FORGOTTEN} {privacy.STAYS}"
    assert [job.name for job in jobs.all()] == ["local"]
    here = Privacy(page).call({"call": "here", "visitor": "s"}, visit(**LOCAL))
    assert here == {"local": True, "retained": 0}


def test_a_visitor_has_all_kept_for_a_day(jobs: JobQueue, page: Page) -> None:
    calls, request = Privacy(page), {"visitor": "s"}
    assert calls.call({"call": "keep", **request}, visit()) == {"refused": privacy.NO_SESSION}
    page.presence.note("s", "anna")
    assert calls.call({"call": "here", **request}, visit()) == {"local": False, "retained": 0}
    until = calls.call({"call": "keep", **request}, visit())["retained"]
    assert until == pytest.approx(time.time() + visitor_store.RETENTION_S, abs=5)
    assert calls.call({"call": "here", **request}, visit()) == {"local": False, "retained": until}


def test_the_page_says_what_it_does_and_who_hosts_it(
    jobs: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERDEMO_CONTACT", "Anna <anna@example.org>")
    page = build(lambda: pytest.fail("no model is needed"))
    (line,) = (block for block in page.blocks.values() if block.elem_id == "privacy")
    assert "Host of this page: Anna &lt;anna@example.org&gt;." in line.html_template
    assert privacy.STORED in line.html_template and privacy.READ in line.html_template
    notices = [b for b in page.blocks.values() if privacy.NOTICE in str(getattr(b, "value", ""))]
    assert len(notices) == 1 and 'role="note"' in str(notices[0].value)
