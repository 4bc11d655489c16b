"""The models that a visitor of the page sees, and what becomes of a zip that is sent or asked for."""

from __future__ import annotations

import hashlib
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gradio.utils import get_upload_folder

from serdemo.runs.queue import Jobs
from serdemo.runs.registry.entry import Entry
from serdemo.runs.registry.store import Registry, slugify
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.settings import data_root, runs_root
from serdemo.ui.shell.uploads import check_size

if TYPE_CHECKING:
    from serdemo.schema.types import Prediction
    from serdemo.ui.shell.session import Visitors

VISITORS = ".visitors"  # what is taken in by those who do not sit at this machine
EXPORTS = "exports"  # zips that wait to be fetched, each in a folder
VISITOR_BYTES, ALL_BYTES = 200_000_000, 2_000_000_000  # of one such model, and of all


def registry_for(owner: str | None) -> Registry:
    """All models to whoever sits at this machine (`owner` None), else shipped ones and the owner's."""
    runs = runs_root()
    store = Registry(runs)
    if owner is None:
        return store
    own = store.models / VISITORS / hashlib.sha256(owner.encode()).hexdigest()[:32]
    return Registry(runs, own, {job.name for job in Jobs(runs).all(owner)} if owner else set())


def take_in(archive: Path, store: Registry, owner: str | None) -> Entry:
    """Keep an uploaded zip's model under a free name, the zip deleted.

    Raises SerdemoError for what is no model, and where there is no room for a visitor's.
    """
    from serdemo.runs.registry.archive import MOST_BYTES, unpack

    most = MOST_BYTES
    try:
        if owner is not None:
            most = VISITOR_BYTES
            require_token(owner)
            check_quota(store.models.parent, "model")
        name = free_name(slugify(archive.stem), store)
        return store.take(name, lambda folder: unpack(archive, folder, most))
    finally:
        archive.unlink(missing_ok=True)


def pull_in(repo: str, store: Registry, owner: str | None) -> Entry:
    """Keep a model of the hub under a free name; a visitor's is one that all may see.

    Raises SerdemoError for what cannot be had, is no model, or has no room.
    """
    from serdemo.runs.registry import hub
    from serdemo.runs.registry.archive import MOST_BYTES

    most = MOST_BYTES if owner is None else VISITOR_BYTES
    if owner is not None:
        require_token(owner)
        check_quota(store.models.parent, "model")
    name, repo = free_name(slugify(repo.rpartition("/")[2]), store), repo.strip()

    def fill(folder: Path) -> None:
        hub.pull(repo, folder, most_bytes=most, own_token=owner is None)

    return store.take(name, fill)


def corpora_here() -> list[tuple[str, str]]:
    """The known corpora that lie under SERDEMO_DATA, each as a title and its name."""
    from serdemo.data import corpora

    root = data_root(None)
    try:
        found = corpora.status(root) if root else []
    except SerdemoError:
        return []
    return [(f"{row.title} ({row.clips} clips)", row.name) for row in found if row.clips]


def free_name(name: str, store: Registry) -> str:
    """The name itself, or the first of NAME-2, NAME-3, ... that is free."""
    found, number = name, 2
    while (store.models / found).exists():
        found, number = f"{name[:70]}-{number}", number + 1
    return found


def require_token(owner: str | None) -> None:
    """Raise UsageError for a visitor without a token, whose things would be those of all such."""
    if owner == "":
        raise UsageError("This page does not know your browser yet: reload it, then try again.")


def check_quota(place: Path, what: str) -> None:
    """Raise SerdemoError where visitors have filled what they may of a folder, in which `what` is
    to be kept."""
    used = 0
    for path in place.rglob("*"):
        with suppress(OSError):  # others' things come and go
            used += path.stat().st_size if path.is_file() else 0
    if used > ALL_BYTES:
        raise SerdemoError(f"There is no room for another {what} here: try again later.")


def export(entry: Entry) -> Path:
    """A zip of a model where the page may serve it from, for some minutes."""
    from serdemo.runs.registry.archive import pack

    archive = Path(get_upload_folder()) / EXPORTS / uuid.uuid4().hex / f"{entry.name}.zip"
    try:
        archive.parent.mkdir(parents=True)
    except OSError as problem:
        raise SerdemoError(f"{archive.name} could not be made: {problem.strerror}.") from problem
    pack(entry, archive)
    return archive


def both_hear(
    visitors: Visitors, entries: tuple[Entry, Entry], path: Path, name: str, *, keep: bool
) -> tuple[Prediction, Prediction]:
    """The answers of two models to a clip, which is deleted once it is read unless `keep`.

    Raises SerdemoError when it cannot be read or a model does not answer.
    """
    from serdemo.audio import waveform

    try:
        check_size(path, name)
        clip = waveform.decode(path, name=name)
    finally:
        if not keep:
            path.unlink(missing_ok=True)
    first, second = (visitors.at(entry.folder).predict(clip) for entry in entries)
    return first, second
