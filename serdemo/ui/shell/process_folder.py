"""Folders of running processes: a lock in each tells those in use from what a killed process left."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".lock"


def make_own(parent: Path, prefix: str) -> Path:
    """A new folder below `parent` that only this user can open. It is this process's until that ends,
    however it ends. Raises OSError where it cannot be made."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        lock = FileLock(folder / LOCK, thread_local=False)
        with suppress(
            FileNotFoundError
        ):  # another process took it for abandoned before it was locked
            lock.acquire()
            if (folder / LOCK).exists():
                atexit.register(lock.release)  # which also holds on to the lock till then
                return folder
            lock.release()


@contextmanager
def abandoned(folder: Path) -> Iterator[bool]:
    """Context manager that yields whether no process has the folder; if so, none can take it inside."""
    lock = FileLock(folder / LOCK, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except (Timeout, OSError):
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def delete_abandoned(parent: Path, prefix: str) -> None:
    """Delete the folders below `parent` that killed processes left."""
    for folder in parent.glob(f"{prefix}*"):
        with abandoned(folder) as is_free:
            if is_free:
                shutil.rmtree(folder, ignore_errors=True)
