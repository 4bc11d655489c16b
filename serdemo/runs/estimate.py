"""The duration of a training run, estimated from a timed dry run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

from serdemo.data.array_cache import CacheOptions
from serdemo.data.sampling import BatchOptions
from serdemo.data.splits import Split
from serdemo.inference.speaker_normalization import CLIPS_PER_CORPUS, NEUTRAL
from serdemo.runs.dry_run import ANSWERED, StepTimings, in_a_process
from serdemo.runs.preflight import CHECKED
from serdemo.schema.types import Utterance
from serdemo.training.options import TrainOptions, resolve_recipe
from serdemo.training.recipes.base import Recipe

SAVED = (
    4  # times the size of a model is what is written after an epoch: it, and three to go on from
)


@dataclass(frozen=True)
class Estimate:
    """How long a run takes: `seconds` in all, of which `training`; `epochs` of `of_epochs` fit into
    its time budget; `clips_per_s` is the speed measured, on the `device` named."""

    seconds: float
    training: float
    epochs: float
    of_epochs: int
    clips_per_s: float
    device: str


def estimate_duration(
    recipe_name: str,
    values: Mapping[str, Any],
    split: Split,
    rehearse: Callable[[str, Mapping[str, Any], Split], StepTimings] = in_a_process,
) -> Estimate:
    """Rehearse a run on a few of its clips, and reckon from that how long it takes on all of them.

    Raises UsageError for bad options, SerdemoError for clips that cannot be read.
    """
    recipe, options = resolve_recipe(recipe_name, values)
    recipe.describe(split)
    batching: BatchOptions = recipe.options(BatchOptions)
    few = Split(
        train=_some(split.train, batching.batch_size * 2),
        valid=_some(split.valid, CHECKED),
        test=_some(split.test, ANSWERED),
    )
    with TemporaryDirectory(ignore_cleanup_errors=True) as nowhere:
        if CacheOptions in recipe.groups:
            values = {**values, "cache": nowhere}  # what random weights say is not to be kept
        return _scoring_seconds(rehearse(recipe_name, values, few), recipe, options, split)


def _scoring_seconds(
    took: StepTimings, recipe: Recipe, options: TrainOptions, split: Split
) -> Estimate:
    """What the parts of a run add up to."""
    trained, clips, total, checks = 0.0, 0.0, 0, 0.0
    for stage in took.stages:
        heard = stage.taken * len(split.train)
        trained += stage.warm_up + heard * (stage.once + stage.epochs * stage.each)
        checks += len(split.valid) * (stage.check_once + stage.epochs * stage.check)
        checks += SAVED * took.saved * stage.epochs
        clips, total = clips + stage.epochs * heard, total + stage.epochs
    limit = 60 * options.budget_minutes or float("inf")
    share = min(1.0, limit / max(trained, 1e-9))
    runs = 1 + len(recipe.baseline_runs)
    training = runs * share * (trained + checks)
    scored = (
        runs * _scored(took, bool(options.init_from), split) if recipe.output == "classes" else 0.0
    )
    read = took.decoded * (len(split.train) + len(split.valid))
    return Estimate(
        seconds=took.ready + took.prepared + runs * read + training + scored,
        training=training,
        epochs=share * total,
        of_epochs=total,
        clips_per_s=clips / max(trained, 1e-9),
        device=took.device,
    )


def _scored(took: StepTimings, compared: bool, split: Split) -> float:
    """Seconds to calibrate and to score the model, and to compare it with that it began with."""
    neutral = min(sum(u.emotion in NEUTRAL for u in split.train), CLIPS_PER_CORPUS)
    answers = len(split.valid) + neutral + (3 if compared else 1) * len(split.test)
    loaded = 4 if compared and split.test else 2
    return loaded * (took.loaded + took.first_answer) + answers * took.answered


def _some(utterances: tuple[Utterance, ...], count: int) -> tuple[Utterance, ...]:
    """About `count` clips, evenly from all, every emotion and corpus among them."""
    order = sorted(utterances, key=lambda u: (u.corpus, u.emotion, u.speaker))
    some = list(order[:: max(1, len(order) // count)])
    seen = {(u.corpus, u.emotion) for u in some}
    for clip in order:
        if (clip.corpus, clip.emotion) not in seen:
            seen.add((clip.corpus, clip.emotion))
            some.append(clip)
    return tuple(some)
