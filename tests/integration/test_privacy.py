"""What is on the disk while a visitor from elsewhere does everything, after it, and after a kill."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.command import here

from serdemo.experiments.kill_visits import SECRET, visitor_acts, visitors_files
from serdemo.experiments.page_client import ELSEWHERE
from serdemo.experiments.page_client import Page as Client
from serdemo.inference.predictor import Predictor
from serdemo.runs import process
from serdemo.runs.queue import JobQueue
from serdemo.schema.errors import SerdemoError
from serdemo.ui import build
from serdemo.ui.shell import cleanup, visitor_store
from serdemo.ui.shell.uploads import FAULT

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("generous_owner")]


class Watcher:
    """All files of visitors that were ever below a folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.seen, self._ended = root, set[str](), threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            self.seen.update(map(str, self.files()))

    def files(self) -> list[Path]:
        """Those that are there now."""
        return visitors_files(self.root)

    def end(self) -> None:
        self._ended.set()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder below which all lies that a page may write."""
    for name, path in (
        ("TMPDIR", "tmp"),
        ("HOME", "home"),
        ("XDG_CACHE_HOME", "cache"),
        ("SERDEMO_RUNS", "runs"),
        ("GRADIO_TEMP_DIR", "tmp/page/files"),
    ):
        (tmp_path / path).mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv(name, str(tmp_path / path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path


@pytest.fixture
def visitor(root: Path, tiny_checkpoint: Path) -> Iterator[Client]:
    """A visitor of a page on a tiny model."""
    page = build(lambda: Predictor(tiny_checkpoint, device="cpu"))
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    client = Client(address, visitor=True)
    client.happen("load", "finetune-run")
    yield client
    client.close()
    page.close()


def test_nothing_of_a_visitor_outlasts_the_visit(
    root: Path, visitor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher, jobs = Watcher(root), JobQueue(root / "runs")
    acts = visitor_acts()
    for name in ("recognise", "speak"):
        acts[name](visitor)
        deadline = time.monotonic() + 10
        while watcher.files() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert watcher.files() == []  # as soon as it is answered
    for name in ("record", "import_model", "train"):
        acts[name](visitor)
    elsewhere = [path for path in watcher.files() if path.parts[0] != "runs"]
    assert elsewhere == []  # no temporary file, no cache
    (job,) = jobs.all()
    visitor.call("keep", part="privacy")
    monkeypatch.setattr(visitor_store, "LEFT_S", -1.0)
    cleanup.sweep(jobs)
    assert watcher.files() != [] and jobs.all() != []

    deleted = visitor.call("forget", part="privacy", uploads=[])
    assert deleted["message"].startswith("Deleted from the server: takes 1, models 1, runs 1,")
    assert watcher.files() == [] and not process.alive(job.pid, job.born)
    for name in ("record", "import_model"):
        acts[name](visitor)
    assert watcher.files() != []
    cleanup.sweep(jobs)  # the visitor has left
    assert watcher.files() == []
    watcher.end()
    assert any(SECRET in path for path in watcher.seen)  # it sees what is there for a moment
    assert not [path for path in watcher.seen if path.startswith(("home", "cache"))]


def test_what_is_logged_names_no_visitor(
    visitor: Client,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(f"{SECRET} of {ELSEWHERE}")

    def recognise() -> str:
        file = visitor.upload(f"{SECRET}.wav", b"no sound")
        sent = {"name": f"{SECRET}.wav", "path": file["path"]}
        return visitor.happen(
            "upload", "recognise-result", at="recognise-drop", data={"files": [sent]}
        )

    def import_zip() -> str:
        file = visitor.upload(f"{SECRET}.zip", b"no zip")
        return visitor.happen("upload", "models-told", at="models-zip", models_zip=file)

    def speak() -> None:
        visitor.call("open", rate=16_000)

    assert SECRET in recognise() and SECRET in import_zip()  # on the page it is named
    monkeypatch.setattr("serdemo.ui.recognise.handlers.check_size", fail)
    monkeypatch.setattr("serdemo.ui.live.handlers.Live._choose", fail)
    monkeypatch.setattr(visitor_store, "import_archive", fail)
    assert FAULT in recognise()
    with pytest.raises(SerdemoError, match="Something went wrong"):
        speak()
    with suppress(SerdemoError):
        import_zip()
    for event, count in (("recognising", 1), ("a request", 2)):
        assert caplog.text.count(f"{event} failed: Traceback") == count
    assert "RuntimeError" in caplog.text and 'handlers.py", line' in caplog.text
    out, err = capfd.readouterr()
    for secret in (SECRET, ELSEWHERE):
        assert secret not in out + err + caplog.text


def test_a_killed_page_leaves_nothing_of_its_visitors_to_the_next() -> None:
    figures = here("bench", "kill", "--visits", "1", "--json").json()
    assert figures["kills"] == 1
    assert (figures["files_after_start"], figures["faults"]) == (0, [])
