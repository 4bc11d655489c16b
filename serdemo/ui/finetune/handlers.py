"""What Fine-tune does with what is asked: data, a check, the command, a run. Plain functions."""

from __future__ import annotations

import re
import shlex
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from serdemo.data import corpora, splits
from serdemo.data.corpora.corpus import AUDIO_SUFFIXES
from serdemo.data.splits import Split
from serdemo.nn.checkpoint_files import bundled_checkpoint
from serdemo.runs.job import Job
from serdemo.runs.queue import Jobs
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.options import Value
from serdemo.schema.types import Utterance
from serdemo.schema.zipfiles import MOST_BYTES, unpack
from serdemo.ui.finetune import option_widgets
from serdemo.ui.shell import visitor_store, zerogpu
from serdemo.ui.shell.html import duration
from serdemo.ui.shell.zerogpu import Train

VISITOR_BYTES = 500_000_000  # of clips that a visitor sends at once
PICKED = {"workers": 0}  # a run beside a page leaves the machine to it


@dataclass(frozen=True)
class TrainingRequest:
    """What a visitor asks for: a recipe, data, what to begin with, minutes, further options.

    `start` is a checkpoint folder, None to begin from scratch.
    """

    recipe: str = "supervised"
    named: tuple[str, ...] = ()
    folder: str = ""
    start: Path | None = field(default_factory=bundled_checkpoint)
    minutes: float = 5.0
    more: Mapping[str, Value] = field(default_factory=dict)

    @property
    def corpus(self) -> str:
        """The data as `--corpus` takes it; raises UsageError where none is chosen."""
        chosen = [*self.named, *([self.folder.strip()] if self.folder.strip() else [])]
        if not chosen:
            raise UsageError("Choose what to train on: a corpus, or clips of your own.")
        if any("," in name for name in chosen):
            raise UsageError("A folder whose name has a comma cannot be trained on: rename it.")
        return ",".join(chosen)

    @property
    def values(self) -> dict[str, Value]:
        """Every option that differs from the recipe's own."""
        begun = {} if self.start is None else {"start": str(self.start)}
        return {**PICKED, "budget_minutes": float(self.minutes), **begun, **self.more}

    def clips(self, root: Path | None) -> list[Utterance]:
        """The clips named; raises SerdemoError where they cannot be found."""
        return corpora.load_many(self.corpus, root)

    def arguments(self, clips: Sequence[Utterance]) -> list[str]:
        """The command line's arguments, without `--run`."""
        held = ["--shipped-split"]
        if not self.shipped_split():
            valid, test = kept_apart(clips)
            held = ["--valid", valid, "--test", test]
        told = ["train", self.recipe, "--corpus", self.corpus, *held]
        return [*told, *option_widgets.flags(self.values)]

    def shipped_split(self) -> bool:
        """Whether the speakers that the shipped model never heard are those to test."""
        return bool(self.named) and not self.folder and self.start is not None

    def split(self, clips: Sequence[Utterance]) -> Split:
        """The clips as the run will split them; raises SerdemoError where that cannot be done."""
        return (
            splits.shipped(clips)
            if self.shipped_split()
            else splits.plan(clips, *kept_apart(clips))
        )


def kept_apart(clips: Sequence[Utterance]) -> tuple[str, str]:
    """Who chooses the model and who tests it, as far as there are speakers enough."""
    most = max(Counter(corpus for corpus, _ in {(u.corpus, u.speaker) for u in clips}).values())
    share = "0.15"
    return (share, share) if most > 2 else (share, "none") if most == 2 else ("none", "none")


def name_for(wish: TrainingRequest, jobs: Jobs) -> str:
    """The next free name after the recipe and the data."""
    data = Path(wish.folder.strip()).name if wish.folder.strip() else "-".join(wish.named)
    plain = re.sub(r"[^a-z0-9]+", "-", f"{wish.recipe}-{data}".lower()).strip("-")[:60]
    number = 1
    while jobs.path(f"{plain}-{number}").exists():
        number += 1
    return f"{plain}-{number}"


def received(archive: Path, uploads: Path, owner: str | None) -> Path:
    """An uploaded zip as a folder of its own below `uploads`, the zip deleted.

    A table in it counts, and of one folder in it that folder. Raises SerdemoError for a bad zip, and
    where there is no room for a visitor's.
    """
    folder = uploads / uuid.uuid4().hex / _plain(archive.stem)
    most = MOST_BYTES
    try:
        if owner is not None:
            visitor_store.require_token(owner)
            visitor_store.check_quota(uploads, "zip")
            most = VISITOR_BYTES
        unpack(archive, folder, {*AUDIO_SUFFIXES, ".csv"}, most)
    except SerdemoError:
        shutil.rmtree(folder.parent, ignore_errors=True)
        raise
    finally:
        archive.unlink(missing_ok=True)
        with suppress(OSError):  # each upload has a folder of its own
            archive.parent.rmdir()
    tables = sorted(folder.rglob("*.csv"))
    return tables[0] if len(tables) == 1 else folder


def take_back(place: str, jobs: Jobs) -> None:
    """Delete the upload that `received` put there, unless a run was begun with it."""
    for folder in jobs.unnamed():
        if Path(place).is_relative_to(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _plain(name: str) -> str:
    return re.sub(r"[^\w-]+", "-", name).strip("-")[:40] or "clips"


def examined(split: Split) -> str:
    """The data as HTML: clips of each emotion and speakers in each part, and what to know."""
    from serdemo.runs import preflight
    from serdemo.schema.text import counted

    told = preflight.preflight_warnings(split)
    count = Counter(u.emotion for part in split.parts.values() for u in part)
    parts = ", ".join(
        f"{counted(len(part), 'clip')} of {counted(len(split.speakers(name)), 'speaker')} to {use}"
        for (name, part), use in zip(
            split.parts.items(), ("train on", "choose by", "test on"), strict=True
        )
    )
    emotions = ", ".join(f"{number} {name}" for name, number in count.most_common())
    notes = "".join(f"<li>{escape(note)}</li>" for note in told)
    seconds = _seconds([u for part in split.parts.values() for u in part])
    return (
        f'<div class="sd-check"><p><b>{parts}.</b></p><p>{emotions}{seconds}. No speaker is in two'
        f" parts.</p>{f'<ul class=sd-notes>{notes}</ul>' if notes else ''}</div>"
    )


def _seconds(clips: list[Utterance]) -> str:
    known = [u.duration_s for u in clips if u.duration_s]
    return f"; {min(known):.1f} to {max(known):.1f} s long" if known else ""


def reckoned(wish: TrainingRequest, split: Split) -> str:
    """How long it takes here and what becomes possible in that time, in a sentence of HTML."""
    from serdemo.runs import estimate

    if zerogpu.is_zerogpu():
        return (
            '<p class="sd-reckoned">This Space lends a GPU for it: it reads the clips and trains for'
            f" <b>at most {60 * wish.minutes:.0f} s</b>, then it stops with what it has learnt, is"
            " scored, and can go on.</p>"
        )
    found = estimate.estimate_duration(wish.recipe, wish.values, split)
    if found.epochs < 1:
        told = (
            f"not one pass over the clips fits into {wish.minutes:g} minutes here: give it more, or"
            " choose fewer clips or a smaller encoder"
        )
    else:
        whole = found.epochs >= found.of_epochs - 0.5
        passes = "all" if whole else f"about {found.epochs:.0f} of"
        told = f"{passes} {found.of_epochs} passes over the clips"
    return (
        f'<p class="sd-reckoned">On {escape(found.device)}: <b>{duration(found.seconds)}</b>,'
        f" {told}; {found.clips_per_s:.0f} clips a second.</p>"
    )


def terminal(arguments: list[str], name: str) -> str:
    """The command that does the same in a terminal."""
    return shlex.join(["serdemo", *arguments, "--run", f"runs/{name}"])


def ask(wish: TrainingRequest, jobs: Jobs, root: Path | None, owner: str | None) -> Job:
    """The run as it is asked for; raises SerdemoError for what cannot be trained, UsageError for a
    visitor whose token is not known."""
    from serdemo.runs import preflight
    from serdemo.training.options import resolve_recipe

    visitor_store.require_token(owner)
    resolve_recipe(wish.recipe, wish.values)
    clips = wish.clips(root)
    preflight.preflight_warnings(wish.split(clips))
    return Job(name_for(wish, jobs), tuple(wish.arguments(clips)), owner or "")


def begun(
    job: Job, jobs: Jobs, lent: Train | None, seconds: float = zerogpu.FIRST_S
) -> Iterator[object]:
    """Begin a run, or let it go on; on a GPU lent for so many seconds the page carries it out, until
    it is over.

    Yields whenever there is something new to show.
    """
    if lent is not None:
        yield from zerogpu.run_on_gpu(lent, jobs, job, seconds)
    elif "--resume" in job.arguments:
        yield jobs.resume(job.name)
    else:
        yield jobs.ask(job.name, job.arguments, job.owner)
