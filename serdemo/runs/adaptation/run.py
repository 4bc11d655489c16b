"""`serdemo train personal`: a run that adapts the classifier to one speaker, in seconds.

It has the folder, events, command line and checkpoint of every other run, but is no recipe of
`training.recipes`: nothing is trained by gradient descent over epochs.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from serdemo.runs.adaptation import card, features
from serdemo.runs.adaptation.classifier import MIN_CLIPS, TOO_FEW_CLIPS
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
    "Adapt the classifier to one speaker by a few clips of each emotion, in seconds. Only the last"
    " layer changes, as far as clips left out in turn show that it helps."
)


@dataclass(frozen=True)
class AdaptationOptions(Options):
    """The model to adapt, and the speaker."""

    init_from: str = option(
        "", "checkpoint to adapt, a folder or the name of a shipped one [default: compact]"
    )
    speaker: str = option(
        "", "the speaker, where the clips are of several speakers", advanced=False
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
    stop_reason: StopReason = lambda: None,
) -> Iterator[Event]:
    """Adapt a model to the speaker of these clips; yields and logs the same events as
    `training_run.train`.

    `predictor` is that of the checkpoint named in the options, if it is loaded already. A stopped run
    has no model, and a resumed one starts again. Raises UsageError for bad options or too few clips,
    SerdemoError for a failure, which is also the last event logged.
    """
    config = load_config(NAME, values, command, run_dir, resume)
    (options,) = pick([AdaptationOptions], config["options"])
    assert isinstance(options, AdaptationOptions)
    if options.threads:
        torch.set_num_threads(options.threads)
    predictor = predictor or Predictor(_start_folder(options.init_from), device=options.device)
    clips, notes = select_speaker_clips(utterances, options.speaker, predictor.labels)
    with open_run(
        run_dir, config, resume=resume, stop_after=stop_after, stop_reason=stop_reason
    ) as (stop, write, _):
        for event in _adaptation_events(
            predictor, clips, notes, run_dir.resolve(), config["command"], stop
        ):
            write(event)
            if isinstance(event, Finished):  # the complete log belongs to the checkpoint
                shutil.copyfile(run_dir / EVENTS, run_dir / "checkpoint" / EVENTS)
            yield event


def select_speaker_clips(
    utterances: Sequence[Utterance], speaker: str, labels: Sequence[str]
) -> tuple[list[Utterance], list[str]]:
    """The clips to adapt to, and a note on each emotion that is left out.

    Raises UsageError when they are of several speakers and none is named, or too few.
    """
    own = select(utterances, speaker) if speaker else tuple(utterances)
    speakers = sorted({u.speaker_key for u in own})
    if len(speakers) > 1:
        listed = ", ".join(speakers[:3]) + (" and others" if len(speakers) > 3 else "")
        raise UsageError(
            f"These clips are of {len(speakers)} speakers ({listed}): name one of them with"
            " --speaker."
        )
    classes = [classification.class_of(u.emotion, labels) for u in own]
    unknown = sorted({u.emotion for u, label in zip(own, classes, strict=True) if label is None})
    single = _single_clip_classes(label for label in classes if label is not None)
    notes = [f"The model knows no {emotion}, so its clips were left out." for emotion in unknown]
    notes += [f"Only one clip of {label} was given, so it was left out." for label in single]
    left_out = (None, *single)
    if len({*classes} - {*left_out}) < 2:
        raise UsageError(TOO_FEW_CLIPS)
    return [u for u, label in zip(own, classes, strict=True) if label not in left_out], notes


def _single_clip_classes(classes: Iterable[str]) -> list[str]:
    """The classes with too few clips for leave-one-out."""
    return sorted(label for label, count in Counter(classes).items() if count < MIN_CLIPS)


@dataclass
class _Samples:
    """The usable clips with their features and classes, as indices into the labels."""

    clips: list[Utterance] = field(default_factory=list)
    features: list[ClipFeatures] = field(default_factory=list)
    truth: list[int] = field(default_factory=list)


def _adaptation_events(
    predictor: Predictor,
    clips: Sequence[Utterance],
    notes: list[str],
    run_dir: Path,
    command: str,
    stop: StopReason,
) -> Iterator[Event]:
    """Extract features, adapt, evaluate and save; notes on clips that are left out are appended."""
    start_time = time.monotonic()
    drop_stale_stop(run_dir)
    yield Started(
        recipe=NAME,
        stages=("features", "adapt"),
        steps=len(clips) + 1,
        parameters=sum(p.numel() for p in predictor.model.parameters()),
        train_clips=len(clips),
        valid_clips=0,
        device=str(predictor.device),
        precision="float32",
    )
    samples = _Samples()
    for event in _extraction_events(predictor, clips, samples, notes, start_time):
        yield event
        if reason := stop_requested(run_dir) or stop():
            clear_stop(run_dir)
            seconds = time.monotonic() - start_time
            yield Stopped(event.step, f"{reason}, before the model was adapted", seconds)
            return
    labels, truth = predictor.labels, samples.truth
    for label in _single_clip_classes(labels[index] for index in truth):
        notes.append(f"Only one clip of {label} could be heard, so it was left out.")
        at = truth.index(labels.index(label))
        del samples.clips[at], samples.features[at], truth[at]
    try:
        report = features.adapt(predictor, samples.features, truth)
    except UsageError as problem:  # the first clip left out may be the reason
        raise UsageError(" ".join([str(problem), *notes[:1]])) from problem
    description = features.save(predictor, report, samples.clips, run_dir / "checkpoint")
    write_text(run_dir / "checkpoint" / "README.md", card.write(description, report, command))
    step, (before, after) = len(clips) + 1, report.recalls
    metrics = {"left_out_uar_before": before, "left_out_uar": after}
    yield Step(
        stage="adapt",
        epoch=0,
        step=step,
        loss=_loss(report.adapted.after, truth),
        parts={},
        learning_rate=0.0,
        clips_per_s=len(clips) / max(time.monotonic() - start_time, 1e-3),
        left_s=0.0,
    )
    predicted = [labels[index] for index in report.adapted.after.argmax(1)]
    matrix = classification.confusion([labels[index] for index in truth], predicted, labels)
    rows = tuple(tuple(int(count) for count in row) for row in matrix)
    yield EpochEnd("adapt", 0, step, metrics, labels, rows, best=True)
    yield Saved(step, best=True)
    note = " ".join([verdict_sentence(report), *notes])
    yield Finished(step, metrics, time.monotonic() - start_time, note)


def _extraction_events(
    predictor: Predictor,
    clips: Sequence[Utterance],
    samples: _Samples,
    notes: list[str],
    start_time: float,
) -> Iterator[Step]:
    """Add the features of the clips to `samples`, with an event after each batch."""
    head = features.head_of(predictor)
    for start in range(0, len(clips), features.BATCH_SIZE):
        batch = clips[start : start + features.BATCH_SIZE]
        for clip, result in _features_of(predictor, batch):
            if isinstance(result, str):
                notes.append(result)
                continue
            label = classification.class_of(clip.emotion, predictor.labels)
            samples.clips.append(clip)
            samples.features.append(result)
            samples.truth.append(predictor.labels.index(label or ""))
        n_done, seconds = start + len(batch), time.monotonic() - start_time
        logits = np.array([head.logits(clip.views[0]) for clip in samples.features])
        yield Step(
            stage="features",
            epoch=0,
            step=n_done,
            loss=_loss(logits, samples.truth),
            parts={},
            learning_rate=0.0,
            clips_per_s=n_done / max(seconds, 1e-3),
            left_s=seconds / n_done * (len(clips) - n_done),
        )


def verdict_sentence(report: AdaptationReport) -> str:
    """The leave-one-out result in a sentence."""
    (before, after), n_clips = report.n_correct, len(report.truth)
    result = f"Of {n_clips} clips, each left out in turn, {before} were correct before and {after}"
    if after > before:
        return f"{result} after the adaptation."
    return f"{result} after it: these clips taught the model nothing that lasts."


def _start_folder(name: str) -> Path:
    """The folder of a checkpoint given as a path, or as the name of a shipped one."""
    folder = Path(name).expanduser() if name else bundled_checkpoint()
    return folder if folder.exists() else bundled_checkpoint(name)


def _features_of(
    predictor: Predictor, clips: Sequence[Utterance]
) -> Iterator[tuple[Utterance, ClipFeatures | str]]:
    """Each clip with its features, or the sentence why it cannot be used."""
    decoded: list[waveform.Clip | str] = []
    for clip in clips:
        try:
            decoded.append(waveform.decode(clip.path))
        except SerdemoError as problem:
            decoded.append(f"Left out: {problem}")
    extracted = features.extract_features(
        predictor, [sound for sound in decoded if isinstance(sound, waveform.Clip)]
    )
    for clip, sound in zip(clips, decoded, strict=True):
        result = sound if isinstance(sound, str) else next(extracted)
        if isinstance(result, ClipFeatures) and not result.has_speech:
            result = f"No speech was found in {clip.path.name}, so it was left out."
        yield clip, result


def _loss(logits: NDArray[np.float64], truth: Sequence[int]) -> float:
    """Mean cross-entropy of logits (N, C); 0 without clips."""
    if not truth:
        return 0.0
    return -float(log_softmax(logits, axis=1)[np.arange(len(truth)), truth].mean())
