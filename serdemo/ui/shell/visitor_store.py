"""What visitors have on this machine, a folder for each: recordings, clips and models; and what is exported.

A visitor is known by the token of the browser, of which the folder's name is a hash. The folder lies in that
of the page that made it. It goes once its visitor has left, when the page is no more, or, where the visitor
chose retention, at its term.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from gradio.utils import get_upload_folder

from serdemo.runs.job import VISITORS
from serdemo.runs.queue import JobQueue
from serdemo.runs.registry.archive import MAX_BYTES, pack, unpack
from serdemo.runs.registry.entry import Entry
from serdemo.runs.registry.store import Registry, slugify
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import make_folder, read_json, write_json
from serdemo.schema.settings import runs_root
from serdemo.ui.shell import permissions, process_folder
from serdemo.ui.shell.uploads import delete

PAGE = "page-"  # how the folder of a page begins, below that of all visitors
# In the folder of a visitor, beside UPLOADS.
VOICE, MODELS, RETENTION = "voice", "models", "retention.json"
EXPORTS = "exports"  # below what the page serves: files to download, each in a folder
LEFT_S = 240.0  # without a sign of life, after which a visitor has left
RETENTION_S = 24 * 3600.0  # where the visitor chose it
MAX_VISITOR_BYTES = 200_000_000  # of one model of a remote visitor
MAX_TOTAL_BYTES = 4_000_000_000  # of all that visitors have


def folder_of(owner: str) -> Path:
    """The folder of a visitor, by the token of the browser; it may not exist."""
    root = _root()
    name = _name(owner)
    return next(root.glob(f"{PAGE}*/{name}"), root / f"{PAGE}none" / name)


def made_folder_of(owner: str) -> Path:
    """The same, made where it did not exist. Raises UsageError for a visitor without a token, SerdemoError
    when nothing can be written."""
    require_token(owner)
    folder = folder_of(owner)
    if not folder.exists():
        folder = _page_folder(_root()) / _name(owner)
        make_folder(folder)
    return folder


def note_presence(owner: str) -> None:
    """Note that a visitor is here now."""
    with suppress(OSError):
        os.utime(folder_of(owner))


def retain(owner: str) -> float:
    """Retain what a visitor has until the time returned, in seconds since 1970."""
    until = time.time() + RETENTION_S
    write_json(made_folder_of(owner) / RETENTION, until)
    return until


def retained_until(owner: str) -> float:
    """The time until which all of a visitor is retained, 0 where only till the visitor leaves."""
    return _term(folder_of(owner))


def delete_all(owner: str, jobs: JobQueue) -> tuple[int, int, int]:
    """Delete all that a visitor has here; returns the numbers of recordings, models and runs."""
    folder = folder_of(owner)
    own = jobs.all(owner) if owner else []
    recordings = sum(1 for _ in folder.glob(f"{VOICE}/*/recordings/*/*.wav"))
    models = sum(1 for _ in folder.glob(f"{MODELS}/[!.]*"))
    models += sum(path.is_dir() for path in folder.glob(f"{VOICE}/*/checkpoint"))
    for job in own:
        jobs.discard(job.name)
    shutil.rmtree(folder, ignore_errors=True)
    return recordings, models, len(own)


def delete_departed(jobs: JobQueue, *, ending: bool = False) -> Iterator[Path]:
    """Delete what belongs to visitors who have left, or whose page is no more, or is this one and `ending`;
    yields the deleted folders."""
    own = _own_folder(_root()) if ending and _own_folder.cache_info().currsize else None
    for page in _root().glob(f"{PAGE}*"):
        with process_folder.abandoned(page) as is_abandoned:
            for folder in page.glob("[!.]*"):
                if _is_due(folder, is_abandoned or page == own):
                    shutil.rmtree(folder, ignore_errors=True)
                    yield folder
            if is_abandoned and not any(page.glob("[!.]*")):
                shutil.rmtree(page, ignore_errors=True)
    for job in jobs.all():
        if job.owner and not folder_of(job.owner).exists() and jobs.discard(job.name):
            yield jobs.path(job.name)


def _is_due(folder: Path, is_abandoned: bool) -> bool:
    if term := _term(folder):
        return time.time() >= term
    with suppress(OSError):
        return is_abandoned or time.time() - folder.stat().st_mtime > LEFT_S
    return False


def _term(folder: Path) -> float:
    if not (folder / RETENTION).exists():
        return 0.0
    with suppress(SerdemoError, TypeError, ValueError):
        return float(read_json(folder / RETENTION))
    return 0.0


def _root() -> Path:
    return runs_root().absolute() / VISITORS


def _name(owner: str) -> str:
    return hashlib.sha256(owner.encode()).hexdigest()[:32]


def _page_folder(root: Path) -> Path:
    """The folder of this page; raises SerdemoError where it cannot be made."""
    make_folder(root)
    try:
        if not _own_folder(root).exists():  # deleted from outside
            _own_folder.cache_clear()
        return _own_folder(root)
    except OSError as problem:
        raise SerdemoError(f"Nothing can be stored in {root}: {problem.strerror}.") from problem


@cache
def _own_folder(root: Path) -> Path:
    return process_folder.make_own(root, PAGE)


def registry_for(owner: str | None) -> Registry:
    """The registry of a user: all models for a local one (`owner` None), else the shipped models and
    the visitor's own. `owner` is the token of the browser, "" where it sends none."""
    registry = Registry(runs_root())
    if owner is None:
        return registry
    own_runs = {job.name for job in JobQueue(registry.runs).all(owner)} if owner else set()
    return Registry(registry.runs, folder_of(owner) / MODELS, own_runs)


def import_archive(archive: Path, owner: str | None) -> Entry:
    """Add the model of an uploaded zip under a free name, and delete the zip.

    Raises SerdemoError for a zip that holds no sound model, for a visitor who may not import, and when the
    visitors' quota is spent.
    """
    try:
        permissions.require_import(owner)
        return add_archive(archive, owner)
    finally:
        archive.unlink(missing_ok=True)


def add_archive(archive: Path, owner: str | None) -> Entry:
    """The same for a zip that was made here."""
    try:
        registry, max_bytes = _importing(owner)
        name = free_name(slugify(archive.stem), registry)
        return registry.add(name, lambda folder: unpack(archive, folder, max_bytes))
    finally:
        delete(archive)


def import_from_hub(repo: str, owner: str | None) -> Entry:
    """Add a model of the Hugging Face hub under a free name; a visitor reaches public ones only.

    Raises SerdemoError when it cannot be fetched, is no model, the visitor may not import, or the visitors'
    quota is spent.
    """
    from serdemo.runs.registry import hub

    permissions.require_import(owner)
    repo = repo.strip()
    registry, max_bytes = _importing(owner)
    name = free_name(slugify(repo.rpartition("/")[2]), registry)

    def fill(folder: Path) -> None:
        hub.pull(repo, folder, max_bytes=max_bytes, own_token=owner is None)

    return registry.add(name, fill)


def _importing(owner: str | None) -> tuple[Registry, int]:
    """The registry to import into, and the largest model allowed; raises where that is refused."""
    if owner is None:
        return registry_for(None), MAX_BYTES
    check_quota("model")
    made_folder_of(owner)
    return registry_for(owner), MAX_VISITOR_BYTES


def free_name(name: str, registry: Registry) -> str:
    """The name itself, or the first free one of NAME-2, NAME-3, ..."""
    free, number = name, 2
    while (registry.models / free).exists():
        free, number = f"{name[:70]}-{number}", number + 1
    return free


def require_token(owner: str | None) -> None:
    """Raise UsageError for a visitor whose browser sends no token: such visitors cannot be told apart."""
    if owner == "":
        raise UsageError("This page does not know your browser yet: reload it, then try again.")


def check_quota(what: str, folder: Path | None = None) -> None:
    """Raise SerdemoError when all that visitors have, or is in `folder`, exceeds their quota; `what` names the
    thing that is to be stored."""
    used = 0
    for path in (folder or _root()).rglob("*"):
        with suppress(OSError):  # another visitor may delete files meanwhile
            used += path.stat().st_size if path.is_file() else 0
    if used > MAX_TOTAL_BYTES:
        raise SerdemoError(f"There is no room for another {what} here: try again later.")


def export(entry: Entry) -> Path:
    """Pack a model into a zip that the page may serve for some minutes; returns its path."""
    archive = export_path(f"{entry.name}.zip")
    pack(entry, archive)
    return archive


def export_path(name: str) -> Path:
    """Path of a file to be fetched by the browser, in a new folder that `cleanup` deletes later.

    Raises SerdemoError when the quota of such files is spent.
    """
    folder = Path(get_upload_folder()) / EXPORTS
    check_quota("download", folder)
    path = folder / uuid.uuid4().hex / name
    make_folder(path.parent)
    return path
