"""What each part of a training run takes on this machine, measured in a process of its own.

A run is a fresh process, so this is one: it begins as slowly, shares the processor as fairly and
gives all memory back. `python -m serdemo.runs.dry_run` reads what is asked on stdin as JSON.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
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

PATIENCE_S = 300.0  # a large encoder on a slow processor; nobody waits longer
STEPPING_S = 3.0  # of steps, once there are enough
LEAST_LATER = 2  # steps that are timed at least, after those that may be slower
DECODED, ANSWERED = 24, 6  # clips

Part = tuple[Utterance, ...]


@dataclass(frozen=True)
class StageTimes:
    """Seconds of one stage of training, and `epochs`, the passes it makes over its clips.

    Each clip of training costs `each` in every pass, and `once` more in the first; each clip to
    choose by `check` after every pass, and `check_once` more after the first. `taken` is the share
    of the training clips that the stage learns from, `warm_up` what its very first step costs more.
    """

    epochs: int
    taken: float
    warm_up: float
    once: float
    each: float
    check_once: float
    check: float


@dataclass(frozen=True)
class StepTimings:
    """Seconds that the parts of a run take: until a process is `ready`, the recipe is `prepared`, a
    clip is `decoded`, the model is `saved` or `loaded`, the first clip and any later is `answered`.
    `device` is where it computes, in words."""

    ready: float
    prepared: float
    decoded: float
    saved: float
    loaded: float
    first_answer: float
    answered: float
    stages: tuple[StageTimes, ...]
    device: str

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What `asdict` gave."""
        stages = tuple(StageTimes(**one) for one in values["stages"])
        return cls(**{**values, "stages": stages})


def in_a_process(recipe_name: str, values: Mapping[str, Any], few: Split) -> StepTimings:
    """`rehearse` in a process of its own, whose start counts. Raises what that raises."""
    parts = {
        name: [{**asdict(clip), "path": str(clip.path.absolute())} for clip in part]
        for name, part in few.parts.items()
    }
    asked = {"recipe": recipe_name, "values": dict(values), "parts": parts, "began": time.time()}
    try:
        done = subprocess.run(
            [sys.executable, "-m", __spec__.name],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=PATIENCE_S,
        )
        told = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired as problem:
        raise SerdemoError(
            f"Some steps of this take more than {PATIENCE_S / 60:.0f} minutes here: choose a smaller"
            " encoder or batch size."
        ) from problem
    except (OSError, ValueError, IndexError) as problem:
        raise SerdemoError(
            "How long this takes could not be measured: there may be too little memory for it."
        ) from problem
    if "refused" in told:
        raise (UsageError if told["usage"] else SerdemoError)(told["refused"])
    return StepTimings.from_json(told)


def time_dry_run(recipe_name: str, values: Mapping[str, Any], few: Split) -> StepTimings:
    """Do every part of a run on a few clips, in this process.

    Raises UsageError for bad options, SerdemoError for clips that cannot be read.
    """
    recipe, options = resolve_recipe(recipe_name, values)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    dtype = pick_precision(options.precision, device)
    description = recipe.describe(few)
    some = few.train[:DECODED]
    decoded = _seconds(lambda: ClipDataset(some, description.labels)) / len(some)
    began = time.perf_counter()
    model = checkpoint.build(description).to(device)
    stages = recipe.stages(model, few, 0)
    prepared = time.perf_counter() - began - decoded * (len(few.train) + len(few.valid))
    with flushed_denormals():
        times = [_stage_times(model, stage, options, dtype, few) for stage in stages]
    with TemporaryDirectory(ignore_cleanup_errors=True) as place:
        checkpoint.save(Path(place) / "model", model, description)
        saved = _seconds(lambda: checkpoint.save(Path(place) / "model", model, description))
        heard = Embedder(Path(place) / "model", device=options.device)
        loaded = _seconds(lambda: Embedder(Path(place) / "model", device=options.device))
        clips = [clip.path for clip in (*few.test, *few.valid, *few.train)][: ANSWERED + 1]
        first = _seconds(lambda: list(heard.embed_many(clips[:1])))
        rest = clips[1:] or clips
        answered = _seconds(lambda: list(heard.embed_many(rest))) / len(rest)
    return StepTimings(
        ready=0.0,
        prepared=max(0.0, prepared),
        decoded=decoded,
        saved=saved,
        loaded=loaded,
        first_answer=max(first, answered),
        answered=answered,
        stages=tuple(times),
        device=device_name(device),
    )


def _stage_times(
    model: Model, stage: Stage, options: TrainOptions, dtype: torch.dtype, few: Split
) -> StageTimes:
    began = time.perf_counter()
    trainer = Trainer(model, stage, options, dtype)
    made = time.perf_counter() - began
    # A stage that keeps what it hears is slower the first time that it hears a clip.
    keeps = stage.caches_features
    first, later, warm_up = _steps(trainer, stage, stage.steps_per_epoch if keeps else 1)
    check_once = check = 0.0
    if few.valid:
        check = _seconds(trainer.validate) / len(few.valid)
        if keeps:
            begun, check = check, _seconds(trainer.validate) / len(few.valid)
            check_once = max(0.0, begun - check)
    return StageTimes(
        epochs=stage.epochs,
        taken=stage.n_clips / len(few.train),
        warm_up=made + warm_up,
        once=max(0.0, first - later) if keeps else 0.0,
        each=later,
        check_once=check_once,
        check=check,
    )


def _steps(trainer: Trainer, stage: Stage, early: int) -> tuple[float, float, float]:
    """Seconds of a clip in the first `early` steps and in those after them, and what the very first
    step takes more."""
    trainer.model.train()
    batches = itertools.chain.from_iterable(stage.batches(epoch, 0) for epoch in itertools.count())
    spent: list[tuple[float, int]] = []
    ended = began = time.perf_counter()
    for batch in batches:
        trainer.step(batch, 1e-3)
        now = time.perf_counter()
        spent.append((now - ended, len(batch)))
        ended = now
        if len(spent) >= early + LEAST_LATER and now - began > STEPPING_S:
            break
    later = _each(spent[early:])
    first = _each(spent[1:early]) if early > 1 else later
    return first, later, max(0.0, spent[0][0] - first * spent[0][1])


def _each(spent: Sequence[tuple[float, int]]) -> float:
    """Seconds of a clip."""
    return sum(seconds for seconds, _ in spent) / sum(clips for _, clips in spent)


def _seconds(do: Callable[[], object]) -> float:
    """How long it takes to do."""
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def main() -> None:
    """Rehearse what stdin asks for, and tell what came of it on stdout."""
    import serdemo.runs.training_run  # noqa: F401 (all that a run loads is to be loaded)

    asked = json.load(sys.stdin)
    ready = time.time() - asked["began"]
    parts = {
        name: tuple(Utterance(**{**clip, "path": Path(clip["path"])}) for clip in part)
        for name, part in asked["parts"].items()
    }
    told: dict[str, Any]
    try:
        found = time_dry_run(asked["recipe"], asked["values"], Split(**parts))
        told = {**asdict(found), "ready": ready}
    except SerdemoError as problem:
        told = {"refused": str(problem), "usage": isinstance(problem, UsageError)}
    except (MemoryError, torch.OutOfMemoryError):
        told = {"refused": "There is too little memory for that: choose a smaller batch size."}
        told["usage"] = False
    print(json.dumps(told))


if __name__ == "__main__":
    main()
