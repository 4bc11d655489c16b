"""Child processes of the command line that outlive their parent, and locks on the folders they work in."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import read_json, write_json

TAIL_BYTES = 4000
KILL_TIMEOUT_S = 5.0
PROCESS = "process.json"  # in a locked folder: which process holds it


def start(arguments: Sequence[str], log: Path) -> tuple[int, float]:
    """Start `serdemo` with these arguments, its output appended to `log`.

    Returns the process's number and its start in seconds since 1970, which together identify it. Raises
    SerdemoError when it cannot be started.
    """
    # Away from this process's terminal and group, whose Ctrl-C is not meant for it.
    detached: dict[str, Any] = {"start_new_session": True}
    if os.name == "nt":
        detached = {"creationflags": 0x00000208}  # DETACHED_PROCESS, CREATE_NEW_PROCESS_GROUP
    try:
        with log.open("ab") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", "serdemo", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                **detached,
            )
    except OSError as problem:
        raise SerdemoError(f"The run could not be started: {problem.strerror}.") from problem
    threading.Thread(target=child.wait, daemon=True).start()  # so that it is no zombie when it ends
    with suppress(psutil.NoSuchProcess):
        return child.pid, psutil.Process(child.pid).create_time()
    return child.pid, time.time()


def log_tail(log: Path) -> str:
    """The last 4000 bytes of a log as text, "" where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def current_process() -> tuple[int, float]:
    """The number and the start of this process."""
    own = psutil.Process()
    return own.pid, own.create_time()


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Context manager: `is_locked(folder)` while inside; raises SerdemoError where it cannot be written."""
    write_json(folder / PROCESS, current_process())
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / PROCESS).unlink()


def is_locked(folder: Path) -> bool:
    """Whether a living process holds the lock of a folder."""
    with suppress(SerdemoError, TypeError, ValueError):
        pid, born = read_json(folder / PROCESS)
        return alive(pid, born)
    return False


def alive(pid: int, born: float) -> bool:
    """Whether the process of that number and start still runs."""
    return _process(pid, born) is not None


def kill_tree(pid: int, born: float) -> None:
    """Kill a process and all its children, and wait until they are gone."""
    if process := _process(pid, born):
        family = [process]
        with suppress(psutil.Error):
            family += process.children(recursive=True)
        for member in reversed(family):
            with suppress(psutil.Error):
                member.kill()
        psutil.wait_procs(family, timeout=KILL_TIMEOUT_S)


def _process(pid: int, born: float) -> psutil.Process | None:
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        living = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        return process if living and abs(process.create_time() - born) < 2 else None
    return None
