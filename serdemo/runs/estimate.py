"""The duration of a training run, extrapolated from a timed dry run on a few clips.

The dry run is a process of its own, as a run is: it starts as slowly, shares the processor as fairly and gives
all memory back. `python -m serdemo.runs.estimate` reads what to time on stdin as JSON.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from serdemo.data.array_cache import CacheOptions
from serdemo.data.dataset import ClipDataset
from serdemo.data.sampling import BatchOptions
from serdemo.data.splits import Split
from serdemo.inference.predictor import Embedder
from serdemo.inference.speaker_prior import prior_clips
from serdemo.nn import checkpoint
from serdemo.nn.device import device_name, flushed_denormals, pick_device, pick_precision
from serdemo.nn.model import Model
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Utterance
from serdemo.training.options import TrainOptions, resolve_recipe
from serdemo.training.recipes.base import Recipe, Stage
from serdemo.training.stepper import Trainer

TIMEOUT_S = 300.0  # a large encoder on a slow processor; nobody waits longer
MIN_TIMING_S = 3.0  # of steps, once there are enough
MIN_LATER_STEPS = 2  # after those that may be slower
DECODE_CLIPS, CHECK_CLIPS, ANSWER_CLIPS = 24, 16, 6  # timed in the dry run
CACHED_CLIPS = 32  # of which all features are computed in the dry run
SAVED_COPIES = 4  # of the model, written after an epoch: the model, and three to resume from


@dataclass(frozen=True)
class StageTimes:
    """Seconds that one stage of training takes, per clip but for `first_step_s`.

    A training clip takes `train_s` in each of `epochs` passes and `first_pass_s` more in the first, a
    validation clip `check_s` and `first_check_s` more. `train_share` is the share of the training clips that the
    stage uses; `first_step_s` is what setting up and the first step take more than a later one.
    """

    epochs: int
    train_share: float
    first_step_s: float
    first_pass_s: float
    train_s: float
    first_check_s: float
    check_s: float


@dataclass(frozen=True)
class StepTimings:
    """Seconds that the parts of a run take: to start the process, to prepare the recipe, to decode a clip, to
    save the model, to load it and score a first clip, and to score a later one. `device` is in words."""

    start_s: float
    prepare_s: float
    decode_s: float
    save_s: float
    load_s: float
    answer_s: float
    stages: tuple[StageTimes, ...]
    device: str


@dataclass(frozen=True)
class Estimate:
    """Duration of a run: `seconds` in all, `training` of them to train.

    `epochs` of `of_epochs` fit into its time limit, at a measured `clips_per_s` on `device` (in words).
    """

    seconds: float
    training: float
    epochs: float
    of_epochs: int
    clips_per_s: float
    device: str


def time_in_subprocess(recipe_name: str, values: Mapping[str, Any], split: Split) -> StepTimings:
    """Do `time_dry_run` in a process of its own, whose start counts; raises what that raises."""
    task = (recipe_name, dict(values), asdict(split), time.time())
    try:
        process = subprocess.run(
            [sys.executable, "-m", __spec__.name],
            input=json.dumps(task, default=str),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=TIMEOUT_S,
        )
        result = json.loads(process.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired as problem:
        raise SerdemoError(
            f"Some steps of this take more than {TIMEOUT_S / 60:.0f} minutes here: choose a smaller"
            " encoder or batch size."
        ) from problem
    except (OSError, ValueError, IndexError) as problem:
        raise SerdemoError(
            "How long this takes could not be measured: there may be too little memory for it."
        ) from problem
    if "error" in result:
        raise (UsageError if result["usage"] else SerdemoError)(result["error"])
    stages = tuple(StageTimes(**stage) for stage in result["stages"])
    return StepTimings(**{**result, "stages": stages})


def estimate_duration(
    recipe_name: str,
    values: Mapping[str, Any],
    split: Split,
    dry_run: Callable[[str, Mapping[str, Any], Split], StepTimings] = time_in_subprocess,
    scratch_folder: Path | None = None,
) -> Estimate:
    """Time a dry run on a few clips of a split and extrapolate to the whole run. What it caches meanwhile lies
    in `scratch_folder`, by default that for temporary files.

    Raises UsageError for bad options, SerdemoError for clips that cannot be read.
    """
    recipe, options = resolve_recipe(recipe_name, values)
    recipe.describe(split)
    n_train = 2 * recipe.options(BatchOptions).batch_size
    if recipe.caches_features:
        n_train = min(n_train, CACHED_CLIPS)
    few = Split(
        train=_sample(split.train, n_train),
        valid=_sample(split.valid, CHECK_CLIPS),
        test=_sample(split.test, ANSWER_CLIPS),
    )
    with TemporaryDirectory(dir=scratch_folder, ignore_cleanup_errors=True) as scratch:
        if CacheOptions in recipe.groups:
            values = {**values, "cache": scratch}  # features of random weights are not to be kept
        return _extrapolate(dry_run(recipe_name, values, few), recipe, options, split)


def _extrapolate(
    timings: StepTimings, recipe: Recipe, options: TrainOptions, split: Split
) -> Estimate:
    n_train, n_valid, n_test = len(split.train), len(split.valid), len(split.test)
    training_s = validation_s = n_steps = 0.0  # a step of one clip
    for stage in timings.stages:
        n_clips = stage.train_share * n_train
        n_steps += stage.epochs * n_clips
        training_s += stage.first_step_s + n_clips * stage.first_pass_s
        training_s += stage.epochs * n_clips * stage.train_s
        validation_s += n_valid * (stage.first_check_s + stage.epochs * stage.check_s)
        validation_s += SAVED_COPIES * timings.save_s * stage.epochs
    limit_s = 60 * options.budget_minutes or float("inf")
    share = min(1.0, limit_s / max(training_s, 1e-9))
    run_s = share * (training_s + validation_s)
    decoding_s = timings.decode_s * (n_train + n_valid)
    scoring_s = 0.0
    if recipe.output == "classes":  # calibrated and scored, and where it has a start both scored
        n_prior = len(prior_clips(recipe.labels(split), split.train))
        n_answers = n_valid + n_prior + (3 if options.init_from else 1) * n_test
        n_loads = 4 if options.init_from and split.test else 2
        scoring_s = n_loads * timings.load_s + n_answers * timings.answer_s
    n_runs = 1 + len(recipe.baseline_runs)
    epochs = sum(stage.epochs for stage in timings.stages)
    return Estimate(
        seconds=timings.start_s + timings.prepare_s + n_runs * (decoding_s + run_s + scoring_s),
        training=n_runs * run_s,
        epochs=share * epochs,
        of_epochs=epochs,
        clips_per_s=n_steps / max(training_s, 1e-9),
        device=timings.device,
    )


def _sample(utterances: tuple[Utterance, ...], count: int) -> tuple[Utterance, ...]:
    """About `count` clips, evenly from all, with every emotion of every corpus."""
    order = sorted(utterances, key=lambda clip: (clip.corpus, clip.emotion, clip.speaker))
    sample = order[:: max(1, len(order) // count)]
    present = {(clip.corpus, clip.emotion) for clip in sample}
    rest = {(clip.corpus, clip.emotion): clip for clip in reversed(order)}  # the first of each
    return (*sample, *(rest[kind] for kind in sorted(rest.keys() - present)))


def time_dry_run(recipe_name: str, values: Mapping[str, Any], split: Split) -> StepTimings:
    """Time every part of a run on the few clips of a split, in this process.

    Raises UsageError for bad options, SerdemoError for clips that cannot be read.
    """
    recipe, options = resolve_recipe(recipe_name, values)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    dtype = pick_precision(options.precision, device)
    description = recipe.describe(split)
    clips = split.train[:DECODE_CLIPS]
    decode_s = _seconds(lambda: ClipDataset(clips, description.labels)) / len(clips)
    start_time = time.perf_counter()
    model = checkpoint.build(description).to(device)
    stages = recipe.stages(model, split, 0)
    prepare_s = time.perf_counter() - start_time
    with flushed_denormals():
        times = tuple(_stage_times(model, stage, options, dtype, split) for stage in stages)
    with TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch) / "model"
        checkpoint.save(folder, model, description)
        save_s = _seconds(lambda: checkpoint.save(folder, model, description))
        embedder = Embedder(folder, device=options.device)
        paths = [clip.path for clip in (*split.test, *split.valid, *split.train)]
        first, rest = paths[:1], paths[1 : ANSWER_CLIPS + 1] or paths[:1]
        load_s = _seconds(lambda: list(Embedder(folder, device=options.device).embed_many(first)))
        answer_s = _seconds(lambda: list(embedder.embed_many(rest))) / len(rest)
    return StepTimings(
        start_s=0.0,
        prepare_s=max(0.0, prepare_s - decode_s * (len(split.train) + len(split.valid))),
        decode_s=decode_s,
        save_s=save_s,
        load_s=load_s,
        answer_s=answer_s,
        stages=times,
        device=device_name(device),
    )


def _stage_times(
    model: Model, stage: Stage, options: TrainOptions, dtype: torch.dtype, split: Split
) -> StageTimes:
    start_time = time.perf_counter()
    trainer = Trainer(model, stage, options, dtype)
    setup_s = time.perf_counter() - start_time
    # A stage that caches features is slower the first time that it reads a clip.
    n_early = stage.steps_per_epoch if stage.caches_features else 1
    steps = _time_steps(trainer, stage, n_early + MIN_LATER_STEPS)
    later_s = np.divide(*steps[n_early:].sum(0))
    first_s = np.divide(*steps[:n_early].sum(0)) if stage.caches_features else later_s
    excess_s = 0.0 if stage.caches_features else max(0.0, steps[0, 0] - later_s * steps[0, 1])
    checks = [0.0]
    if split.valid:
        n_passes = 2 if stage.caches_features else 1
        checks = [_seconds(trainer.validate) / len(split.valid) for _ in range(n_passes)]
    return StageTimes(
        epochs=stage.epochs,
        train_share=stage.n_clips / len(split.train),
        first_step_s=setup_s + excess_s,
        first_pass_s=max(0.0, first_s - later_s),
        train_s=float(later_s),
        first_check_s=max(0.0, checks[0] - checks[-1]),
        check_s=checks[-1],
    )


def _time_steps(trainer: Trainer, stage: Stage, min_steps: int) -> NDArray[np.float64]:
    """Seconds and clips of each step from the first on, (n, 2)."""
    trainer.model.train()
    times, n_clips = [time.perf_counter()], []
    for batch in itertools.chain.from_iterable(stage.batches(n, 0) for n in itertools.count()):
        trainer.step(batch, 1e-3)
        times.append(time.perf_counter())
        n_clips.append(len(batch))
        if len(n_clips) >= min_steps and times[-1] - times[0] > MIN_TIMING_S:
            break
    return np.stack([np.diff(times), n_clips], axis=1)


def _seconds(action: Callable[[], object]) -> float:
    start_time = time.perf_counter()
    action()
    return time.perf_counter() - start_time


def main() -> None:
    """Time what stdin holds; print the timings or the error as JSON."""
    import serdemo.runs.training_run  # noqa: F401 (loads all that a run loads)

    recipe_name, values, split, parent_time = json.load(sys.stdin)
    start_s = time.time() - parent_time
    parts = {
        name: tuple(Utterance(**{**clip, "path": Path(clip["path"])}) for clip in part)
        for name, part in split.items()
    }
    result: dict[str, Any]
    try:
        result = asdict(replace(time_dry_run(recipe_name, values, Split(**parts)), start_s=start_s))
    except SerdemoError as problem:
        result = {"error": str(problem), "usage": isinstance(problem, UsageError)}
    except (MemoryError, torch.OutOfMemoryError):
        sentence = "There is too little memory for that: choose a smaller batch size."
        result = {"error": sentence, "usage": False}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
