"""`serdemo train personal`: a run that adapts the classifier to one speaker, in seconds.

It has the folder, events, command line and checkpoint of every other run, but is no recipe of
`training.recipes`: nothing is trained by gradient descent over epochs.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from serdemo.nn.checkpoint_files import SHIPPED, bundled_checkpoint
from serdemo.runs.adaptation import card, features
from serdemo.runs.adaptation.classifier import MIN_CLIPS, TOO_FEW_CLIPS
from serdemo.runs.adaptation.features import ClipFeatures
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

Sample = tuple[
    Utterance, ClipFeatures, int
]  # a usable clip and its class, an index into the labels

NAME = "personal"
SUMMARY = (
    "Adapt the classifier to one speaker by a few clips of each emotion, in seconds. Only the last"
    " layer changes; clips held out in turn show what it should bring."
)


@dataclass(frozen=True)
class AdaptationOptions(Options):
    """The model to adapt, and the speaker."""

    init_from: str = option(
        "", f"checkpoint to adapt, a folder or the name of a shipped one [default: {SHIPPED}]"
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
    """Adapt a model to the speaker of these clips; yields and logs the same events as `training_run.train`.

    `predictor` is that of the checkpoint in the options, if it is loaded already. A resumed run starts again.
    Raises UsageError for bad options or too few clips, SerdemoError for a failure, also the last event logged.
    """
    config = load_config(NAME, values, command, run_dir, resume)
    (options,) = pick([AdaptationOptions], config["options"])
    assert isinstance(options, AdaptationOptions)
    if options.threads:
        torch.set_num_threads(options.threads)
    if predictor is None:
        start = Path(options.init_from or bundled_checkpoint()).expanduser()
        start = start if start.exists() else bundled_checkpoint(options.init_from)
        predictor = Predictor(start, device=options.device)
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
    """The classes with too few clips for one to be held out."""
    return sorted(label for label, count in Counter(classes).items() if count < MIN_CLIPS)


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
        parameters=sum(p.numel() for p in predictor.own_model.parameters()),
        train_clips=len(clips),
        valid_clips=0,
        device=str(predictor.device),
        precision="float32",
    )
    samples: list[Sample] = []
    for event in _extraction_events(predictor, clips, samples, notes, start_time):
        yield event
        if reason := stop_requested(run_dir) or stop():
            clear_stop(run_dir)
            seconds = time.monotonic() - start_time
            yield Stopped(event.step, f"{reason}, before the model was adapted", seconds)
            return
    labels = predictor.labels
    single = _single_clip_classes(labels[index] for *_, index in samples)
    notes += [f"Only one clip of {label} could be heard, so it was left out." for label in single]
    samples = [sample for sample in samples if labels[sample[2]] not in single]
    truth = [index for *_, index in samples]
    try:
        report = features.adapt(predictor, [clip for _, clip, _ in samples], truth)
    except UsageError as problem:  # the first clip left out may be the reason
        raise UsageError(" ".join([str(problem), *notes[:1]])) from problem
    clips_used, folder = [clip for clip, *_ in samples], run_dir / "checkpoint"
    description = features.save(predictor, report, clips_used, folder)
    write_text(folder / "README.md", card.write(description, report, command))
    step, (before, after) = len(clips) + 1, report.recalls
    metrics = {"left_out_uar_before": before, "left_out_uar": after}
    rate = len(clips) / max(time.monotonic() - start_time, 1e-3)
    yield Step("adapt", 0, step, _loss(report.adapted.after[0], truth), {}, 0.0, rate, 0.0)
    predicted = [labels[index] for index in report.adapted.after[0].argmax(1)]
    matrix = classification.confusion([labels[index] for index in truth], predicted, labels)
    rows = tuple(tuple(int(count) for count in row) for row in matrix)
    yield EpochEnd("adapt", 0, step, metrics, labels, rows, best=True)
    yield Saved(step, best=True)
    note = " ".join([report.adapted.gain.verdict, *notes])
    yield Finished(step, metrics, time.monotonic() - start_time, note)


def _extraction_events(
    predictor: Predictor,
    clips: Sequence[Utterance],
    samples: list[Sample],
    notes: list[str],
    start_time: float,
) -> Iterator[Step]:
    """Add the features of the clips to `samples`, with an event after each batch, and a note on each clip that
    cannot be used."""
    head = features.head_of(predictor)
    for start in range(0, len(clips), features.BATCH_SIZE):
        batch = clips[start : start + features.BATCH_SIZE]
        decoded: list[tuple[Utterance, waveform.Clip]] = []
        for clip in batch:
            try:
                decoded.append((clip, waveform.decode(clip.path)))
            except SerdemoError as problem:
                notes.append(f"Left out: {problem}")
        extracted = features.extract_features(predictor, [recording for _, recording in decoded])
        for (clip, _), result in zip(decoded, extracted, strict=True):
            if not result.has_speech:
                notes.append(f"No speech was found in {clip.path.name}, so it was left out.")
                continue
            label = classification.class_of(clip.emotion, predictor.labels)
            samples.append((clip, result, predictor.labels.index(label or "")))
        n_done, seconds = start + len(batch), time.monotonic() - start_time
        logits = np.array([head.logits(clip.views[0]) for _, clip, _ in samples])
        loss = _loss(logits, [index for *_, index in samples])
        rate, left_s = n_done / max(seconds, 1e-3), seconds / n_done * (len(clips) - n_done)
        yield Step("features", 0, n_done, loss, {}, 0.0, rate, left_s)


def _loss(logits: NDArray[np.float64], truth: Sequence[int]) -> float:
    """Mean cross-entropy of logits (N, C); 0 without clips."""
    if not truth:
        return 0.0
    return -float(log_softmax(logits, axis=1)[np.arange(len(truth)), truth].mean())
