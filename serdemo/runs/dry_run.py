"""A timed dry run: how long each part of a training run takes on this machine.

It is a process of its own, as a run is: it starts as slowly, shares the processor as fairly and gives all
memory back. `python -m serdemo.runs.dry_run` reads what to time on stdin as JSON.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import torch

from serdemo.data.dataset import ClipDataset
from serdemo.data.splits import Split
from serdemo.inference.predictor import Embedder
from serdemo.nn import checkpoint
from serdemo.nn.device import device_name, flushed_denormals, pick_device, pick_precision
from serdemo.nn.model import Model
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Utterance
from serdemo.training.options import TrainOptions, resolve_recipe
from serdemo.training.recipes.base import Stage
from serdemo.training.stepper import Trainer

TIMEOUT_S = 300.0  # a large encoder on a slow processor; nobody waits longer
MIN_TIMING_S = 3.0  # of steps, once there are enough
MIN_LATER_STEPS = 2  # after those that may be slower
DECODE_CLIPS, ANSWER_CLIPS = 24, 6


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
    save or load the model, to answer the first clip or a later one. `device` is in words."""

    start_s: float
    prepare_s: float
    decode_s: float
    save_s: float
    load_s: float
    first_answer_s: float
    answer_s: float
    stages: tuple[StageTimes, ...]
    device: str

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `asdict` gave."""
        stages = tuple(StageTimes(**stage) for stage in values["stages"])
        return cls(**{**values, "stages": stages})


def time_in_subprocess(recipe_name: str, values: Mapping[str, Any], split: Split) -> StepTimings:
    """Do `time_dry_run` in a process of its own, whose start counts; raises what that raises."""
    parts = {
        name: [{**asdict(clip), "path": str(clip.path.absolute())} for clip in part]
        for name, part in split.parts.items()
    }
    task = {"recipe": recipe_name, "values": dict(values), "parts": parts, "began": time.time()}
    try:
        done = subprocess.run(
            [sys.executable, "-m", __spec__.name],
            input=json.dumps(task),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=TIMEOUT_S,
        )
        answer = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired as problem:
        raise SerdemoError(
            f"Some steps of this take more than {TIMEOUT_S / 60:.0f} minutes here: choose a smaller"
            " encoder or batch size."
        ) from problem
    except (OSError, ValueError, IndexError) as problem:
        raise SerdemoError(
            "How long this takes could not be measured: there may be too little memory for it."
        ) from problem
    if "error" in answer:
        raise (UsageError if answer["usage"] else SerdemoError)(answer["error"])
    return StepTimings.from_json(answer)


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
    began = time.perf_counter()
    model = checkpoint.build(description).to(device)
    stages = recipe.stages(model, split, 0)
    prepare_s = time.perf_counter() - began - decode_s * (len(split.train) + len(split.valid))
    with flushed_denormals():
        times = tuple(_stage_times(model, stage, options, dtype, split) for stage in stages)
    with TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch) / "model"
        checkpoint.save(folder, model, description)
        save_s = _seconds(lambda: checkpoint.save(folder, model, description))
        embedder = Embedder(folder, device=options.device)
        load_s = _seconds(lambda: Embedder(folder, device=options.device))
        paths = [clip.path for clip in (*split.test, *split.valid, *split.train)]
        first, rest = paths[:1], paths[1 : ANSWER_CLIPS + 1] or paths[:1]
        first_answer_s = _seconds(lambda: list(embedder.embed_many(first)))
        answer_s = _seconds(lambda: list(embedder.embed_many(rest))) / len(rest)
    return StepTimings(
        start_s=0.0,
        prepare_s=max(0.0, prepare_s),
        decode_s=decode_s,
        save_s=save_s,
        load_s=load_s,
        first_answer_s=max(first_answer_s, answer_s),
        answer_s=answer_s,
        stages=times,
        device=device_name(device),
    )


def _stage_times(
    model: Model, stage: Stage, options: TrainOptions, dtype: torch.dtype, split: Split
) -> StageTimes:
    began = time.perf_counter()
    trainer = Trainer(model, stage, options, dtype)
    setup_s = time.perf_counter() - began
    # A stage that caches features is slower the first time that it reads a clip.
    early = stage.steps_per_epoch if stage.caches_features else 1
    first, later, first_step_s = _steps(trainer, stage, early)
    checks = [0.0]
    if split.valid:
        passes = 2 if stage.caches_features else 1
        checks = [_seconds(trainer.validate) / len(split.valid) for _ in range(passes)]
    return StageTimes(
        epochs=stage.epochs,
        train_share=stage.n_clips / len(split.train),
        first_step_s=setup_s + first_step_s,
        first_pass_s=max(0.0, first - later) if stage.caches_features else 0.0,
        train_s=later,
        first_check_s=max(0.0, checks[0] - checks[-1]),
        check_s=checks[-1],
    )


def _steps(trainer: Trainer, stage: Stage, early: int) -> tuple[float, float, float]:
    """Seconds per clip in the first `early` steps and in later ones, and what the very first step takes more."""
    trainer.model.train()
    batches = itertools.chain.from_iterable(stage.batches(epoch, 0) for epoch in itertools.count())
    steps: list[tuple[float, int]] = []  # seconds and clips
    ended = began = time.perf_counter()
    for batch in batches:
        trainer.step(batch, 1e-3)
        now = time.perf_counter()
        steps.append((now - ended, len(batch)))
        ended = now
        if len(steps) >= early + MIN_LATER_STEPS and now - began > MIN_TIMING_S:
            break
    later = _seconds_per_clip(steps[early:])
    first = _seconds_per_clip(steps[1:early]) if early > 1 else later
    return first, later, max(0.0, steps[0][0] - first * steps[0][1])


def _seconds_per_clip(steps: Sequence[tuple[float, int]]) -> float:
    return sum(seconds for seconds, _ in steps) / sum(clips for _, clips in steps)


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def main() -> None:
    """Time what stdin holds; print the timings or the error as JSON."""
    import serdemo.runs.training_run  # noqa: F401 (loads all that a run loads)

    task = json.load(sys.stdin)
    start_s = time.time() - task["began"]
    parts = {
        name: tuple(Utterance(**{**clip, "path": Path(clip["path"])}) for clip in part)
        for name, part in task["parts"].items()
    }
    answer: dict[str, Any]
    try:
        timings = time_dry_run(task["recipe"], task["values"], Split(**parts))
        answer = asdict(replace(timings, start_s=start_s))
    except SerdemoError as problem:
        answer = {"error": str(problem), "usage": isinstance(problem, UsageError)}
    except (MemoryError, torch.OutOfMemoryError):
        sentence = "There is too little memory for that: choose a smaller batch size."
        answer = {"error": sentence, "usage": False}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
