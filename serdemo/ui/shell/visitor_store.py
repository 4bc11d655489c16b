"""Registries and quotas of the page's visitors, and the models that they import and export."""

from __future__ import annotations

import hashlib
import uuid
from contextlib import suppress
from pathlib import Path

from gradio.utils import get_upload_folder

from serdemo.runs.queue import JobQueue
from serdemo.runs.registry.archive import MAX_BYTES, pack, unpack
from serdemo.runs.registry.entry import Entry
from serdemo.runs.registry.store import Registry, slugify
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import make_folder
from serdemo.schema.settings import runs_root

VISITORS = ".visitors"  # below the models: those imported by remote visitors
VOICE_SESSIONS = ".voices"  # below the runs: recordings of remote visitors, a folder per session
EXPORTS = "exports"  # below what the page serves: files to download, each in a folder
MAX_VISITOR_BYTES = 200_000_000  # of one model of a remote visitor
MAX_TOTAL_BYTES = 2_000_000_000  # of all models, recordings or uploads of remote visitors


def registry_for(owner: str | None) -> Registry:
    """The registry of a user: all models for a local one (`owner` None), else the shipped models and
    the visitor's own. `owner` is the token of the browser, "" where it sends none."""
    registry = Registry(runs_root())
    if owner is None:
        return registry
    models = registry.models / VISITORS / hashlib.sha256(owner.encode()).hexdigest()[:32]
    own_runs = {job.name for job in JobQueue(registry.runs).all(owner)} if owner else set()
    return Registry(registry.runs, models, own_runs)


def import_archive(archive: Path, owner: str | None) -> Entry:
    """Add the model of an uploaded zip under a free name, and delete the zip.

    Raises SerdemoError for a zip that holds no sound model, and when the visitors' quota is spent.
    """
    try:
        registry, max_bytes = _importing(owner)
        name = free_name(slugify(archive.stem), registry)
        return registry.add(name, lambda folder: unpack(archive, folder, max_bytes))
    finally:
        archive.unlink(missing_ok=True)


def import_from_hub(repo: str, owner: str | None) -> Entry:
    """Add a model of the Hugging Face hub under a free name; a visitor reaches public ones only.

    Raises SerdemoError when it cannot be fetched, is no model, or the visitors' quota is spent.
    """
    from serdemo.runs.registry import hub

    repo = repo.strip()
    registry, max_bytes = _importing(owner)
    name = free_name(slugify(repo.rpartition("/")[2]), registry)

    def fill(folder: Path) -> None:
        hub.pull(repo, folder, max_bytes=max_bytes, own_token=owner is None)

    return registry.add(name, fill)


def _importing(owner: str | None) -> tuple[Registry, int]:
    """The registry to import into, and the largest model allowed; raises where that is refused."""
    registry = registry_for(owner)
    if owner is None:
        return registry, MAX_BYTES
    require_token(owner)
    check_quota(registry.models.parent, "model")
    return registry, MAX_VISITOR_BYTES


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


def check_quota(folder: Path, what: str) -> None:
    """Raise SerdemoError when the files below `folder` exceed the visitors' quota; `what` names the
    thing that is to be stored there."""
    used = 0
    for path in folder.rglob("*"):
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
    """Path of a file to be fetched by the browser, in a new folder that `cleanup` deletes later."""
    path = Path(get_upload_folder()) / EXPORTS / uuid.uuid4().hex / name
    make_folder(path.parent)
    return path
