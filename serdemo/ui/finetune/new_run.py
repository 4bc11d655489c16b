"""New runs of Fine-tune: from what is filled in and uploaded to a job that is started."""

from __future__ import annotations

import re
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from serdemo.data.corpora.corpus import AUDIO_SUFFIXES, Note, ignore
from serdemo.runs.job import UPLOADS, Job
from serdemo.runs.queue import JobQueue
from serdemo.runs.request import HELD_OUT, SplitChoice, TrainingRequest, require_corpora
from serdemo.schema.errors import SerdemoError
from serdemo.schema.options import Value
from serdemo.schema.types import Utterance
from serdemo.schema.zipfiles import MAX_BYTES, unpack
from serdemo.ui.shell import permissions, visitor_store, zerogpu
from serdemo.ui.shell.uploads import delete
from serdemo.ui.shell.zerogpu import GpuTrain

MAX_VISITOR_BYTES = 500_000_000  # of clips that a remote visitor uploads at once
PAGE_OPTIONS = {"workers": 0}  # a run beside a page leaves the machine to it


def build_request(
    recipe: str = "supervised",
    named: Sequence[str] = (),
    folder: str = "",
    start: Path | None = None,
    minutes: float = 5.0,
    options: Mapping[str, Value] = MappingProxyType({}),
    *,
    confined: bool = True,
) -> TrainingRequest:
    """The request for a run on `named` corpora and a `folder` of clips, "" for none.

    `start` is the checkpoint to begin with, None to train from scratch; without `confined`, a table in the
    folder may name files outside of it. Raises UsageError where there is
    nothing to train on.
    """
    init_from = {"init_from": str(start)} if start else {}
    return TrainingRequest(
        recipe,
        require_corpora([*named, folder]),
        SplitChoice(shipped=bool(named and start and not folder.strip())),
        {**PAGE_OPTIONS, "budget_minutes": float(minutes), **init_from, **options},
        confined=confined,
    )


def load_clips(
    request: TrainingRequest, note: Note = ignore
) -> tuple[TrainingRequest, list[Utterance]]:
    """The clips of a request, and the request with as many held-out speakers as they allow.

    `note` takes what the user should know of them. Raises SerdemoError where clips cannot be found.
    """
    clips = request.clips(note=note)
    if request.split.shipped:
        return request, clips
    return replace(request, split=split_choice(clips)), clips


def split_choice(clips: Sequence[Utterance]) -> SplitChoice:
    """Speakers to validate and to test on, as far as the largest corpus has enough; where none is
    known, clips."""
    known = [clip for clip in clips if clip.speaker_known]
    speakers = Counter(corpus for corpus, _ in {(u.corpus, u.speaker) for u in known})
    most = max(speakers.values()) if known else len(clips)
    return SplitChoice(
        valid=HELD_OUT if most > 1 else "none", test=HELD_OUT if most > 2 else "none"
    )


def free_name(request: TrainingRequest, jobs: JobQueue) -> str:
    """The next free name of a run, after its recipe and its corpora."""
    corpora = "-".join(Path(name.partition("?")[0]).name for name in request.corpora)
    slug = re.sub(r"[^a-z0-9]+", "-", f"{request.recipe}-{corpora}".lower()).strip("-")[:60]
    number = 1
    while jobs.path(f"{slug}-{number}").exists():
        number += 1
    return f"{slug}-{number}"


def receive_zip(archive: Path, jobs: JobQueue, owner: str | None) -> Path:
    """Unpack an uploaded zip into a folder of its own, a visitor's in that of the visitor; delete the zip.

    Returns the folder, or the table in it where there is exactly one. Raises SerdemoError for a bad zip,
    for a visitor who may not train, and when the visitors' quota is spent.
    """
    uploads, max_bytes = jobs.uploads, MAX_BYTES
    try:
        if owner is not None:
            permissions.require_training(owner)
            visitor_store.check_quota("zip")
            uploads = visitor_store.made_folder_of(owner) / UPLOADS
            max_bytes = MAX_VISITOR_BYTES
        folder = uploads / uuid.uuid4().hex / _slug(archive.stem)
        try:
            unpack(archive, folder, {*AUDIO_SUFFIXES, ".csv"}, max_bytes)
        except SerdemoError:
            shutil.rmtree(folder.parent, ignore_errors=True)
            raise
    finally:
        delete(archive)
    tables = sorted(folder.rglob("*.csv"))
    return tables[0] if len(tables) == 1 else folder


def discard_upload(path: str, jobs: JobQueue) -> None:
    """Delete the upload that `receive_zip` returned as `path`, unless a run trains on it."""
    for folder in jobs.orphaned_uploads():
        if Path(path).is_relative_to(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _slug(name: str) -> str:
    return re.sub(r"[^\w-]+", "-", name).strip("-")[:40] or "clips"


def command(request: TrainingRequest, name: str) -> str:
    """The command that carries a request out in a terminal."""
    return replace(request, run_dir=Path("runs", name)).command()


def new_job(request: TrainingRequest, jobs: JobQueue, owner: str | None) -> Job:
    """A job for a request, not queued yet; raises SerdemoError for what cannot be trained, UsageError
    for a visitor who may not train or whose token is not known."""
    from serdemo.runs import preflight
    from serdemo.training.options import resolve_recipe

    permissions.require_training(owner)
    if owner is not None:
        visitor_store.made_folder_of(owner)  # the run goes with it
    resolve_recipe(request.recipe, request.options)
    request, clips = load_clips(request)
    preflight.preflight_warnings(request.split.split(clips))
    return Job(free_name(request, jobs), request, owner or "")


def start(
    job: Job, jobs: JobQueue, gpu_train: GpuTrain | None, seconds: float = zerogpu.DEFAULT_S
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
