"""Processes of the command line that outlive the one that began them."""

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
PROCESS = "process.json"  # in a folder: whose it is for now


def start(arguments: Sequence[str], log: Path) -> tuple[int, float]:
    """Run `serdemo` with these arguments, its words behind those in `log`.

    Returns the process's number and the time it was born, in seconds since 1970, which together
    tell it from any later one. Raises SerdemoError when it cannot be started.
    """
    # Apart from the terminal and the group of this process, whose Ctrl-C is not meant for it.
    apart: dict[str, Any] = {"start_new_session": True}
    if os.name == "nt":
        apart = {"creationflags": 0x00000208}  # DETACHED_PROCESS, CREATE_NEW_PROCESS_GROUP
    try:
        with log.open("ab") as said:
            child = subprocess.Popen(
                [sys.executable, "-m", "serdemo", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                **apart,
            )
    except OSError as problem:
        raise SerdemoError(f"The run could not be started: {problem.strerror}.") from problem
    threading.Thread(target=child.wait, daemon=True).start()  # so that it is no zombie when it ends
    with suppress(psutil.NoSuchProcess):
        return child.pid, psutil.Process(child.pid).create_time()
    return child.pid, time.time()


def log_tail(log: Path) -> str:
    """The end of what a process wrote to its log, "" where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def current_process() -> tuple[int, float]:
    """This process's number and the time it was born."""
    own = psutil.Process()
    return own.pid, own.create_time()


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """While inside, a folder tells that this process works in it; raises SerdemoError where it cannot
    be written."""
    write_json(folder / PROCESS, current_process())
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / PROCESS).unlink()


def is_locked(folder: Path) -> bool:
    """Whether a process works in a folder at this moment."""
    with suppress(SerdemoError, TypeError, ValueError):
        pid, born = read_json(folder / PROCESS)
        return alive(pid, born)
    return False


def alive(pid: int, born: float) -> bool:
    """Whether that process still runs."""
    return _process(pid, born) is not None


def kill_tree(pid: int, born: float) -> None:
    """End it and all its children at once."""
    process = _process(pid, born)
    if process is None:
        return
    with suppress(psutil.Error):
        for child in process.children(recursive=True):
            child.kill()
        process.kill()


def _process(pid: int, born: float) -> psutil.Process | None:
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        living = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        return process if living and abs(process.create_time() - born) < 2 else None
    return None
