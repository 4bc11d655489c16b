"""The model registry: shipped checkpoints, those of own runs, and imported ones.

Runs lie in one folder; imported checkpoints lie in the folder `models` beside it.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from serdemo.nn.checkpoint_files import SHIPPED, bundled_checkpoint
from serdemo.runs import process
from serdemo.runs.job import JOB
from serdemo.runs.queue import JobQueue
from serdemo.runs.registry.archive import verify
from serdemo.runs.registry.entry import PART, PREFIXES, Entry, files_of, is_checkpoint
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import replace_folder
from serdemo.schema.settings import runs_root
from serdemo.schema.zipfiles import WINDOWS_DEVICES

LEFTOVER_AGE_S = 3600.0  # an older unfinished folder is that of a process that was killed


class Registry:
    """The checkpoints that a user can choose from.

    `models` is the folder of the imported ones, by default `models` beside that of the `runs`. `visible_runs` are
    the names of the runs that are shown, None for all.
    """

    def __init__(
        self, runs: Path, models: Path | None = None, visible_runs: Collection[str] | None = None
    ) -> None:
        self.runs = runs.absolute()
        self.models = self.runs.parent / "models" if models is None else models.absolute()
        self.visible_runs = visible_runs

    def entries(self) -> list[Entry]:
        """All entries: shipped ones (the default first), runs, imported ones, each by name."""
        names, folders = self.visible_runs, bundled_checkpoint().parent.iterdir()
        shipped = sorted(folders, key=lambda path: (path.name != SHIPPED, path.name))
        runs = [path for path in _folders(self.runs) if names is None or path.name in names]
        entries = [
            *(Entry(folder.name, "shipped", folder) for folder in shipped),
            *(Entry(folder.name, "run", folder / "checkpoint") for folder in runs),
            *(Entry(folder.name, "imported", folder) for folder in _folders(self.models)),
        ]
        return [entry for entry in entries if is_checkpoint(entry.folder)]

    def get(self, key: str) -> Entry:
        """The entry of a key; raises SerdemoError when there is none."""
        entries = {entry.key: entry for entry in self.entries()}
        if key not in entries:
            raise SerdemoError(f"There is no model {key!r} any more.")
        return entries[key]

    def find(self, name: str) -> Entry:
        """The entry that a user names: by key, by a unique name, or by the path of any folder.

        Raises UsageError for the name of several, SerdemoError when there is none.
        """
        key = name.replace("\\", "/").rstrip("/")
        entries = self.entries()
        matches = [entry for entry in entries if entry.key == key]
        matches = matches or [entry for entry in entries if entry.name == key]
        if len(matches) > 1:
            keys = " or ".join(entry.key for entry in matches)
            raise UsageError(f"{key} is the name of several models: say {keys}.")
        if matches:
            return matches[0]
        if not os.path.isdir(name):
            raise SerdemoError(
                f"There is no model {name!r}: name one that `serdemo models` lists, or a folder."
            )
        return Entry(Path(name).resolve().name, "folder", Path(name))

    def add(self, name: str, fill: Callable[[Path], None], *, force: bool = False) -> Entry:
        """Import a checkpoint under `name`: `fill` writes it into an empty folder, then it is verified.

        All or nothing. Raises UsageError for a bad name or, without `force`, one that exists;
        SerdemoError for what is no sound checkpoint.
        """
        target = self._target(name, force)
        try:
            self.models.mkdir(parents=True, exist_ok=True)
            delete_leftovers(self.models)
            with tempfile.TemporaryDirectory(
                prefix=PART, dir=self.models, ignore_cleanup_errors=True
            ) as scratch:
                fresh = Path(scratch) / name
                fresh.mkdir()
                fill(fresh)
                verify(fresh)
                self._target(name, force)  # another process may have taken the name meanwhile

                def move(folder: Path) -> None:
                    for file in files_of(fresh):
                        os.replace(fresh / file, folder / file)

                replace_folder(target, move)
        except OSError as problem:
            raise SerdemoError(f"{name} could not be kept: {problem.strerror}.") from problem
        return Entry(name, "imported", target)

    def delete(self, entry: Entry) -> None:
        """Delete an imported checkpoint, or a run with all its files.

        Raises UsageError for any other entry, and for a run that has not ended.
        """
        if entry.origin not in PREFIXES:
            why = "comes with serdemo" if entry.origin == "shipped" else "is a folder of your own"
            raise UsageError(f"{entry.name} {why} and is not deleted here.")
        folder = self.runs / entry.name if entry.origin == "run" else entry.folder
        if (folder / JOB).exists():
            JobQueue(self.runs).delete(entry.name)
        elif process.is_locked(folder):
            raise UsageError(f"{entry.name} still runs: stop it first.")
        try:
            delete_leftovers(folder.parent)
            if folder.exists():
                aside = folder.with_name(f"{PART}{entry.name}-{time.time_ns()}")
                os.replace(folder, aside)  # gone at once, or not at all
                shutil.rmtree(aside, ignore_errors=True)
        except OSError as problem:
            raise SerdemoError(
                f"{entry.name} could not be deleted: {problem.strerror}."
            ) from problem

    def _target(self, name: str, force: bool) -> Path:
        device = name.split(".")[0].lower() in WINDOWS_DEVICES
        if device or not re.fullmatch(r"\w[\w.-]{0,79}", name) or name.endswith("."):
            raise UsageError(f"{name!r} cannot name a model: use letters, digits, dots and dashes.")
        target = self.models / name
        if target.exists() and not force:
            raise UsageError(
                f"There is a model {PREFIXES['imported']}{name} already: give another --name, or"
                " --force to replace it."
            )
        return target


def _folders(parent: Path) -> list[Path]:
    return sorted(parent.glob("[!.]*/"))


def default_registry(runs: Path | None = None) -> Registry:
    """The registry of this folder of runs, by default that of SERDEMO_RUNS, else `runs`."""
    return Registry(runs or runs_root())


def slugify(name: str) -> str:
    """Turn any name, such as that of a zip or a repository, into one that `Registry.add` takes."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:80].rstrip("-.") or "model"


def delete_leftovers(folder: Path) -> None:
    """Delete what processes that were killed left in a folder of checkpoints or runs."""
    for leftover in folder.glob(f"{PART}*"):
        with suppress(OSError):
            if time.time() - leftover.stat().st_mtime > LEFTOVER_AGE_S:
                shutil.rmtree(leftover, ignore_errors=True)
