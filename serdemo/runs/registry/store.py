"""The store of checkpoints: shipped ones, those of own runs, those taken in from elsewhere.

Runs lie in a folder of theirs, what is taken in lies in the folder `models` beside it.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

from serdemo.nn.checkpoint_files import SHIPPED, bundled_checkpoint
from serdemo.runs import process
from serdemo.runs.job import JOB
from serdemo.runs.queue import Jobs
from serdemo.runs.registry.entry import PART, PREFIXES, Entry, files_of, is_checkpoint
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import replace_folder
from serdemo.schema.settings import runs_root
from serdemo.schema.zipfiles import WINDOWS_DEVICES

LEFT_S = 3600.0  # such a folder older than that was left behind by a process that was killed


class Registry:
    """The checkpoints at hand. `mine`, where given, names the runs that may be seen."""

    def __init__(
        self, runs: Path, models: Path | None = None, mine: Collection[str] | None = None
    ) -> None:
        self.runs = runs.absolute()
        self.models = self.runs.parent / "models" if models is None else models.absolute()
        self.mine = mine

    def entries(self) -> list[Entry]:
        """All of them: shipped ones (the default first), runs, imported ones, each by name."""
        return [*self._shipped(), *self._runs(), *self._imported()]

    def get(self, key: str) -> Entry:
        """The one of that key; raises SerdemoError when there is none."""
        for entry in self.entries():
            if entry.key == key:
                return entry
        raise SerdemoError(f"There is no model {key!r} any more.")

    def find(self, name: str) -> Entry:
        """The one that a user means: by key, by a name that only one has, or by any folder.

        Raises UsageError where several have the name, SerdemoError where there is none.
        """
        asked = name.replace("\\", "/").rstrip("/")
        entries = self.entries()
        for entry in entries:
            if entry.key == asked:
                return entry
        named = [entry for entry in entries if entry.name == asked]
        if len(named) > 1:
            keys = " or ".join(entry.key for entry in named)
            raise UsageError(f"{asked} is the name of several models: say {keys}.")
        if named:
            return named[0]
        if not os.path.isdir(name):
            raise SerdemoError(
                f"There is no model {name!r}: name one that `serdemo models` lists, or a folder."
            )
        return Entry(Path(name).resolve().name, "folder", Path(name))

    def take(self, name: str, fill: Callable[[Path], None], *, force: bool = False) -> Entry:
        """Keep what `fill` puts into an empty folder as the model `name`, if it is a checkpoint.

        All or nothing. Raises UsageError for a name that is none or, without `force`, is taken;
        SerdemoError for what is no checkpoint, which is then not kept.
        """
        from serdemo.runs.registry.archive import verify

        target = self._place(name, force)
        try:
            self.models.mkdir(parents=True, exist_ok=True)
            sweep(self.models)
            with tempfile.TemporaryDirectory(
                prefix=PART, dir=self.models, ignore_cleanup_errors=True
            ) as scratch:
                fresh = Path(scratch) / name
                fresh.mkdir()
                fill(fresh)
                verify(fresh)
                self._place(name, force)  # another may have taken the name meanwhile

                def move(place: Path) -> None:
                    for part in files_of(fresh):
                        os.replace(fresh / part, place / part)

                replace_folder(target, move)
        except OSError as problem:
            raise SerdemoError(f"{name} could not be kept: {problem.strerror}.") from problem
        return Entry(name, "imported", target)

    def delete(self, entry: Entry) -> None:
        """Remove an imported model, or a run with all that it made.

        Raises UsageError for any other, and for a run that still runs.
        """
        if entry.origin not in PREFIXES:
            why = "comes with serdemo" if entry.origin == "shipped" else "is a folder of your own"
            raise UsageError(f"{entry.name} {why} and is not deleted here.")
        folder = self.runs / entry.name if entry.origin == "run" else entry.folder
        if (folder / JOB).exists():
            Jobs(self.runs).delete(entry.name)
        elif process.is_locked(folder):
            raise UsageError(f"{entry.name} still runs: stop it first.")
        try:
            sweep(folder.parent)
            if folder.exists():
                aside = folder.with_name(f"{PART}{entry.name}-{time.time_ns()}")
                os.replace(folder, aside)  # gone at once, or not at all
                shutil.rmtree(aside, ignore_errors=True)
        except OSError as problem:
            raise SerdemoError(
                f"{entry.name} could not be deleted: {problem.strerror}."
            ) from problem

    def _place(self, name: str, force: bool) -> Path:
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

    def _shipped(self) -> Iterator[Entry]:
        folders = [
            folder for folder in bundled_checkpoint().parent.iterdir() if is_checkpoint(folder)
        ]
        for folder in sorted(folders, key=lambda one: (one.name != SHIPPED, one.name)):
            yield Entry(folder.name, "shipped", folder)

    def _runs(self) -> Iterator[Entry]:
        for folder in sorted(self.runs.glob("[!.]*/")):
            mine = self.mine is None or folder.name in self.mine
            if mine and is_checkpoint(folder / "checkpoint"):
                yield Entry(folder.name, "run", folder / "checkpoint")

    def _imported(self) -> Iterator[Entry]:
        for folder in sorted(self.models.glob("[!.]*/")):
            if is_checkpoint(folder):
                yield Entry(folder.name, "imported", folder)


def default_registry(runs: Path | None = None) -> Registry:
    """The store with this folder of runs, else that of SERDEMO_RUNS, else `runs`."""
    return Registry(runs or runs_root())


def slugify(name: str) -> str:
    """A name for the store made out of any other, such as that of a zip or of a repository."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:80].rstrip("-.") or "model"


def sweep(folder: Path) -> None:
    """Remove what a process that was killed left behind."""
    for left in folder.glob(f"{PART}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > LEFT_S:
                shutil.rmtree(left, ignore_errors=True)
