"""Deletion of visitors' files some time after their use: when the page starts, and regularly."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from gradio.utils import get_upload_folder

from serdemo.runs.queue import JobQueue
from serdemo.runs.registry.store import Registry
from serdemo.schema.settings import runs_root
from serdemo.ui.shell.gradio_settings import UPLOADS
from serdemo.ui.shell.session import Visitors
from serdemo.ui.shell.visitor_store import EXPORTS, VISITORS, VOICE_SESSIONS

HOUR_S = 3600.0
UPLOAD_S = HOUR_S  # clips that no run was begun with
VOICE_S = 3 * HOUR_S  # recordings of a session without activity whose end was not noticed
MODEL_S = 24 * HOUR_S  # a visitor's model
EXPORT_S = 600.0  # a file that waits to be fetched
ABANDONED_S = (
    24 * HOUR_S
)  # a folder of uploads whose page was killed; it is touched regularly till then
EVERY_S = 600.0


def begin(visitors: Visitors) -> None:
    """Start a thread that watches the queue of runs and sweeps, as long as the page runs."""
    jobs = JobQueue(runs_root())

    def run() -> None:
        while True:
            jobs.start_watcher()  # what an earlier page left waiting
            for folder in sweep(jobs):
                visitors.forget(folder)
            time.sleep(EVERY_S)

    threading.Thread(target=run, name="cleanup", daemon=True).start()


def sweep(jobs: JobQueue) -> list[Path]:
    """Delete what is too old beside the runs and among the served files; returns the deleted paths."""
    served = Path(get_upload_folder())
    with suppress(OSError):
        os.utime(served)
    due: tuple[tuple[Iterable[Path], float], ...] = (
        (jobs.orphaned_uploads(), UPLOAD_S),
        ((jobs.folder / VOICE_SESSIONS).glob("*"), VOICE_S),
        ((Registry(jobs.folder).models / VISITORS).glob("*/*"), MODEL_S),
        ((served / EXPORTS).glob("*"), EXPORT_S),
        (Path(tempfile.gettempdir()).glob(f"{UPLOADS}*"), ABANDONED_S),
        ((path for path in served.glob("tmp*") if path.is_file()), UPLOAD_S),  # left by gradio
    )
    return [path for paths, max_age_s in due for path in paths if _deleted(path, max_age_s)]


def _deleted(path: Path, max_age_s: float) -> bool:
    """Delete a folder or an empty file that is too old; whether it is gone. Others may delete it too."""
    with suppress(OSError):
        status = path.stat()
        if time.time() - status.st_mtime <= max_age_s:
            return False
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif not status.st_size:
            path.unlink()
    return not path.exists()
