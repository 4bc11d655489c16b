"""`personal`: a run that teaches a model one voice by a few clips of it, in seconds.

Nothing is trained by gradients over epochs, so this is no recipe of `recipes`; it has the same
folder, events, command line and checkpoint as every other run.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax

from serdemo.audio import waveform
from serdemo.data.splits import select
from serdemo.inference.predictor import Predictor
from serdemo.metrics import classification
from serdemo.nn.checkpoint_files import bundled_checkpoint
from serdemo.runs.adaptation import card as personal_card
from serdemo.runs.adaptation import classifier as personal
from serdemo.runs.adaptation import features
from serdemo.runs.adaptation.features import AdaptationReport, ClipFeatures
from serdemo.runs.folder import StopReason, load_config, open_run
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import write_text
from serdemo.schema.options import Options, option, pick
from serdemo.schema.types import Utterance
from serdemo.training.events import (
    EVENTS,
    EpochEnd,
    Event,
    Finished,
    Saved,
    Started,
    Step,
    Stopped,
    clear_stop,
    drop_stale_stop,
    stop_requested,
)

NAME = "personal"
SUMMARY = (
    "Teach a model one voice by a few clips of each emotion, in seconds: its last layer, moved"
    " towards them as far as clips left out in turn bear it out."
)


@dataclass(frozen=True)
class PersonalOptions(Options):
    """What is taught, and where."""

    init_from: str = option(
        "", "checkpoint to teach, a folder or the name of a shipped one [default: compact]"
    )
    speaker: str = option(
        "", "whose voice, where the clips are of several speakers", advanced=False
    )
    device: str = option("auto", "auto, cpu, cuda, cuda:1 or mps")
    threads: int = option(0, "CPU threads; 0 leaves it to torch", low=0, high=256)


def train(
    values: Mapping[str, Any],
    utterances: Sequence[Utterance],
    run_dir: Path,
    *,
    predictor: Predictor | None = None,
    command: str = "",
    resume: bool = False,
    stop_after: float | None = None,
    asked: Callable[[], str | None] = lambda: None,
) -> Iterator[Event]:
    """Teach a model the voice of these clips; yields the events of `runs.train`, and writes them.

    `predictor` is that of the checkpoint named in the options, where one is at hand. A run that is
    stopped has no model yet, and one that is resumed begins again. Raises UsageError for bad options
    or clips that cannot teach, SerdemoError for a failure, which is also the last event written.
    """
    config = load_config(NAME, values, command, run_dir, resume)
    (options,) = pick([PersonalOptions], config["options"])
    assert isinstance(options, PersonalOptions)
    if options.threads:
        torch.set_num_threads(options.threads)
    predictor = predictor or Predictor(_folder(options.init_from), device=options.device)
    clips, notes = select_speaker_clips(utterances, options.speaker, predictor.labels)
    with open_run(run_dir, config, resume=resume, stop_after=stop_after, stop_reason=asked) as told:
        stop, write, _ = told
        for event in _taught(predictor, clips, notes, run_dir.resolve(), config["command"], stop):
            write(event)
            if isinstance(event, Finished):  # with its end, the log belongs to the model
                shutil.copyfile(run_dir / EVENTS, run_dir / "checkpoint" / EVENTS)
            yield event


def select_speaker_clips(
    utterances: Sequence[Utterance], speaker: str, labels: Sequence[str]
) -> tuple[list[Utterance], list[str]]:
    """The clips that can teach, and in sentences what is left out.

    Raises UsageError where they are of several speakers and none is named, or too few.
    """
    own = select(utterances, speaker) if speaker else tuple(utterances)
    speakers = sorted({u.speaker_key for u in own})
    if len(speakers) > 1:
        named = ", ".join(speakers[:3]) + (" and others" if len(speakers) > 3 else "")
        raise UsageError(
            f"These clips are of {len(speakers)} speakers ({named}): name one of them with --speaker."
        )
    names = [classification.class_of(u.emotion, labels) for u in own]
    strange = sorted({u.emotion for u in own if classification.class_of(u.emotion, labels) is None})
    single = _single(name for name in names if name is not None)
    notes = [f"The model knows no {one}, so its clips were left out." for one in strange]
    notes += [f"Only one clip of {one} was given, so it was left out." for one in single]
    left_out = (None, *single)
    if len({*names} - {*left_out}) < 2:
        raise UsageError(personal.TOO_FEW_CLIPS)
    return [u for u, name in zip(own, names, strict=True) if name not in left_out], notes


def _single(names: Iterable[str]) -> list[str]:
    """The emotions with too few clips to leave one out in turn."""
    return sorted(name for name, count in Counter(names).items() if count < personal.MIN_CLIPS)


def _taught(
    predictor: Predictor,
    clips: Sequence[Utterance],
    notes: list[str],
    run_dir: Path,
    command: str,
    stop: StopReason,
) -> Iterator[Event]:
    began = time.monotonic()
    drop_stale_stop(run_dir)
    yield Started(
        recipe=NAME,
        stages=("hear", "teach"),
        steps=len(clips) + 1,
        parameters=sum(p.numel() for p in predictor.model.parameters()),
        train_clips=len(clips),
        valid_clips=0,
        device=str(predictor.device),
        precision="float32",
    )
    head = features.head_of(predictor)
    kept: list[Utterance] = []
    voiced: list[ClipFeatures] = []
    truth: list[int] = []
    for start in range(0, len(clips), features.BATCH_SIZE):
        part = clips[start : start + features.BATCH_SIZE]
        for clip, found in _heard(predictor, part):
            if isinstance(found, str):
                notes.append(found)
                continue
            kept.append(clip)
            voiced.append(found)
            name = classification.class_of(clip.emotion, predictor.labels)
            truth.append(predictor.labels.index(name or ""))
        done, seconds = start + len(part), time.monotonic() - began
        yield Step(
            stage="hear",
            epoch=0,
            step=done,
            loss=_loss(np.array([head.logits(one.ways[0]) for one in voiced]), truth),
            parts={},
            learning_rate=0.0,
            clips_per_s=done / max(seconds, 1e-3),
            left_s=seconds / done * (len(clips) - done),
        )
        if reason := stop_requested(run_dir) or stop():
            clear_stop(run_dir)
            yield Stopped(done, f"{reason}, before anything was taught", seconds)
            return
    for name in _single(predictor.labels[one] for one in truth):
        notes.append(f"Only one clip of {name} could be heard, so it was left out.")
        at = truth.index(predictor.labels.index(name))
        del kept[at], voiced[at], truth[at]
    try:
        lesson = features.adapt(predictor, voiced, truth)
    except UsageError as problem:  # what was left out may be why
        raise UsageError(" ".join([str(problem), *notes[:1]])) from problem
    description = features.save(predictor, lesson, kept, run_dir / "checkpoint")
    text = personal_card.write(description, lesson, command)
    write_text(run_dir / "checkpoint" / "README.md", text)
    step, (before, after) = len(clips) + 1, lesson.recalls
    figures = {"left_out_uar_before": before, "left_out_uar": after}
    answers = [predictor.labels[one] for one in lesson.taught.after.argmax(1)]
    matrix = classification.confusion(
        [predictor.labels[one] for one in truth], answers, predictor.labels
    )
    yield Step(
        stage="teach",
        epoch=0,
        step=step,
        loss=_loss(lesson.taught.after, truth),
        parts={},
        learning_rate=0.0,
        clips_per_s=len(clips) / max(time.monotonic() - began, 1e-3),
        left_s=0.0,
    )
    rows = tuple(tuple(int(count) for count in row) for row in matrix)
    yield EpochEnd("teach", 0, step, figures, predictor.labels, rows, best=True)
    yield Saved(step, best=True)
    yield Finished(step, figures, time.monotonic() - began, " ".join([verdict(lesson), *notes]))


def verdict(lesson: AdaptationReport) -> str:
    """What teaching brought, in a sentence."""
    (before, after), count = lesson.right, len(lesson.truth)
    told = (
        f"Of {count} clips, each left out in turn, {before} were heard rightly before and {after}"
    )
    if after > before:
        return f"{told} after the teaching."
    return f"{told} after it: these clips taught the model nothing that lasts."


def _folder(start: str) -> Path:
    """A checkpoint folder as given, or the shipped one of that name."""
    given = Path(start).expanduser() if start else bundled_checkpoint()
    return given if given.exists() else bundled_checkpoint(start)


def _heard(
    predictor: Predictor, clips: Sequence[Utterance]
) -> Iterator[tuple[Utterance, ClipFeatures | str]]:
    """Each clip with what was heard, or the sentence why it cannot teach."""
    sounds: list[waveform.Clip | str] = []
    for clip in clips:
        try:
            sounds.append(waveform.decode(clip.path))
        except SerdemoError as problem:
            sounds.append(f"Left out: {problem}")
    heard = features.extract_features(
        predictor, [one for one in sounds if isinstance(one, waveform.Clip)]
    )
    for clip, sound in zip(clips, sounds, strict=True):
        found = sound if isinstance(sound, str) else next(heard)
        if isinstance(found, ClipFeatures) and not found.speech:
            found = f"No speech was found in {clip.path.name}, so it was left out."
        yield clip, found


def _loss(logits: NDArray[np.float64], truth: Sequence[int]) -> float:
    """The mean cross-entropy of logits (N, C); 0 without clips."""
    if not truth:
        return 0.0
    return -float(log_softmax(logits, axis=1)[np.arange(len(truth)), truth].mean())
