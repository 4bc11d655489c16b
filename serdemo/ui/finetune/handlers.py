"""What Fine-tune does with what is asked: data, a check, the command, a run. Plain functions."""

from __future__ import annotations

import re
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from html import escape
from pathlib import Path
from types import MappingProxyType

from serdemo.data.corpora.corpus import AUDIO_SUFFIXES
from serdemo.data.splits import Split
from serdemo.runs.job import Job
from serdemo.runs.queue import JobQueue
from serdemo.runs.request import HELD_OUT, SplitChoice, TrainingRequest, require_corpora
from serdemo.schema.errors import SerdemoError
from serdemo.schema.options import Value
from serdemo.schema.types import Utterance
from serdemo.schema.zipfiles import MOST_BYTES, unpack
from serdemo.ui.shell import visitor_store, zerogpu
from serdemo.ui.shell.html import duration
from serdemo.ui.shell.zerogpu import GpuTrain

VISITOR_BYTES = 500_000_000  # of clips that a visitor sends at once
PICKED = {"workers": 0}  # a run beside a page leaves the machine to it


def build_request(
    recipe: str = "supervised",
    named: Sequence[str] = (),
    folder: str = "",
    start: Path | None = None,
    minutes: float = 5.0,
    options: Mapping[str, Value] = MappingProxyType({}),
) -> TrainingRequest:
    """The request for a run on `named` corpora and a `folder` of clips, "" for none.

    `start` is the checkpoint to begin with, None to train from scratch. Raises UsageError where there is
    nothing to train on.
    """
    begun = {"init_from": str(start)} if start else {}
    return TrainingRequest(
        recipe,
        require_corpora([*named, folder]),
        SplitChoice(shipped=bool(named and start and not folder.strip())),
        {**PICKED, "budget_minutes": float(minutes), **begun, **options},
    )


def load_clips(request: TrainingRequest) -> tuple[TrainingRequest, list[Utterance]]:
    """The clips of a request, and the request with as many held-out speakers as they allow.

    Raises SerdemoError where clips cannot be found.
    """
    clips = request.clips()
    if request.split.shipped:
        return request, clips
    return replace(request, split=split_choice(clips)), clips


def split_choice(clips: Sequence[Utterance]) -> SplitChoice:
    """Speakers to validate and to test on, as far as the largest corpus has enough."""
    speakers = Counter(corpus for corpus, _ in {(u.corpus, u.speaker) for u in clips})
    most = max(speakers.values())
    return SplitChoice(
        valid=HELD_OUT if most > 1 else "none", test=HELD_OUT if most > 2 else "none"
    )


def free_name(request: TrainingRequest, jobs: JobQueue) -> str:
    """The next free name of a run, after its recipe and its corpora."""
    corpora = "-".join(Path(name).name for name in request.corpora)
    slug = re.sub(r"[^a-z0-9]+", "-", f"{request.recipe}-{corpora}".lower()).strip("-")[:60]
    number = 1
    while jobs.path(f"{slug}-{number}").exists():
        number += 1
    return f"{slug}-{number}"


def receive_zip(archive: Path, uploads: Path, owner: str | None) -> Path:
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


def discard_upload(place: str, jobs: JobQueue) -> None:
    """Delete the upload that `receive_zip` put there, unless a run was begun with it."""
    for folder in jobs.orphaned_uploads():
        if Path(place).is_relative_to(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _plain(name: str) -> str:
    return re.sub(r"[^\w-]+", "-", name).strip("-")[:40] or "clips"


def split_html(split: Split) -> str:
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


def estimate_html(request: TrainingRequest, split: Split) -> str:
    """How long it takes here and what becomes possible in that time, in a sentence of HTML."""
    from serdemo.runs import estimate

    minutes = float(request.options["budget_minutes"])
    if zerogpu.is_zerogpu():
        return (
            '<p class="sd-reckoned">This Space lends a GPU for it: it reads the clips and trains for'
            f" <b>at most {60 * minutes:.0f} s</b>, then it stops with what it has learnt, is"
            " scored, and can go on.</p>"
        )
    found = estimate.estimate_duration(request.recipe, request.options, split)
    if found.epochs < 1:
        told = (
            f"not one pass over the clips fits into {minutes:g} minutes here: give it more, or"
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


def command(request: TrainingRequest, name: str) -> str:
    """The command that carries a request out in a terminal."""
    return replace(request, run_dir=Path("runs", name)).command()


def new_job(request: TrainingRequest, jobs: JobQueue, owner: str | None) -> Job:
    """A job for a request, not queued yet; raises SerdemoError for what cannot be trained, UsageError
    for a visitor whose token is not known."""
    from serdemo.runs import preflight
    from serdemo.training.options import resolve_recipe

    visitor_store.require_token(owner)
    resolve_recipe(request.recipe, request.options)
    request, clips = load_clips(request)
    preflight.preflight_warnings(request.split.split(clips))
    return Job(free_name(request, jobs), request, owner or "")


def start(
    job: Job, jobs: JobQueue, gpu_train: GpuTrain | None, seconds: float = zerogpu.FIRST_S
) -> Iterator[object]:
    """Start or resume a job; with `gpu_train` in this process, on a GPU lent for so many seconds.

    Yields whenever there is something new to show.
    """
    if gpu_train is not None:
        yield from zerogpu.run_on_gpu(gpu_train, jobs, job, seconds)
    elif job.request.resume:
        yield jobs.resume(job.name)
    else:
        yield jobs.submit(job.name, job.request, job.owner)
