"""Deletion of what belongs to visitors who have left: when the page starts, each minute, and when it ends."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path

from gradio.utils import get_upload_folder

from serdemo.runs.queue import JobQueue
from serdemo.schema import memory
from serdemo.schema.errors import SerdemoError, trace
from serdemo.schema.settings import runs_root
from serdemo.ui.shell import visitor_store
from serdemo.ui.shell.page import Page

EVERY_S = 60.0
SERVED_S = 300.0  # a file that was sent and not read, or that waits to be fetched
LOCAL_UPLOAD_S = 3600.0  # a local user's clips that no run was begun with
FORMER = (".voices", "../models/.visitors")  # what visitors had in version 0.2, below the runs

log = logging.getLogger(__name__)


def begin(page: Page) -> None:
    """Start a thread that watches the queue of runs and sweeps, as long as the page runs."""
    jobs = JobQueue(runs_root())

    def run() -> None:
        with suppress(SerdemoError, OSError):
            jobs.delete_unfinished()
        for name in FORMER:
            shutil.rmtree(jobs.folder / name, ignore_errors=True)
        while True:
            jobs.start_watcher()  # what an earlier page left waiting
            try:
                for folder in sweep(jobs):
                    page.visitors.forget(folder)
                for give_up in page.sweeps:
                    give_up()
            except (
                Exception
            ) as problem:  # such as a folder that another page deletes: in a minute again
                log.error("a sweep failed: %s", trace(problem))
            memory.trim()
            time.sleep(EVERY_S)

    threading.Thread(target=run, name="cleanup", daemon=True).start()


def end() -> None:
    """Delete what visitors have here, but for what is retained, before this page ends."""
    for _ in visitor_store.delete_departed(JobQueue(runs_root()), ending=True):
        pass


def sweep(jobs: JobQueue) -> list[Path]:
    """Delete what belongs to visitors who have left, and what nobody uses; returns the deleted paths."""
    served = Path(get_upload_folder())
    local = [path for path in jobs.orphaned_uploads() if path.parent == jobs.uploads]
    return [
        *visitor_store.delete_departed(jobs),
        *(path for path in local if _deleted(path, LOCAL_UPLOAD_S)),
        *(path for path in served.rglob("*") if path.is_file() and _deleted(path, SERVED_S)),
        *(path for path in served.rglob("*") if path.is_dir() and _emptied(path)),
    ]


def _emptied(folder: Path) -> bool:
    """Delete a folder that has been empty for a while; whether it is gone. Its name is a hash of an upload."""
    with suppress(OSError):
        if time.time() - folder.stat().st_mtime > EVERY_S:
            folder.rmdir()
    return not folder.exists()


def _deleted(path: Path, max_age_s: float) -> bool:
    """Delete a file or folder that is too old; whether it is gone. Others may delete it too."""
    with suppress(OSError):
        if time.time() - path.stat().st_mtime <= max_age_s:
            return False
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    return not path.exists()
