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
from serdemo.runs.dry_run import ANSWER_CLIPS, StepTimings, time_in_subprocess
from serdemo.schema.types import Utterance
from serdemo.training.options import TrainOptions, resolve_recipe
from serdemo.training.recipes.base import Recipe

SAVED_COPIES = (
    4  # of the model's size are written after an epoch: the model, and three to resume from
)
CHECK_CLIPS = 16  # for validation in the dry run


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


def estimate_duration(
    recipe_name: str,
    values: Mapping[str, Any],
    split: Split,
    dry_run: Callable[[str, Mapping[str, Any], Split], StepTimings] = time_in_subprocess,
) -> Estimate:
    """Time a dry run on a few clips of a split and extrapolate to the whole run.

    Raises UsageError for bad options, SerdemoError for clips that cannot be read.
    """
    recipe, options = resolve_recipe(recipe_name, values)
    recipe.describe(split)
    batching = recipe.options(BatchOptions)
    few = Split(
        train=_sample(split.train, batching.batch_size * 2),
        valid=_sample(split.valid, CHECK_CLIPS),
        test=_sample(split.test, ANSWER_CLIPS),
    )
    with TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        if CacheOptions in recipe.groups:
            values = {**values, "cache": scratch}  # features of random weights are not to be kept
        return _extrapolate(dry_run(recipe_name, values, few), recipe, options, split)


def _extrapolate(
    timings: StepTimings, recipe: Recipe, options: TrainOptions, split: Split
) -> Estimate:
    training_s, validation_s, clips, epochs = 0.0, 0.0, 0.0, 0
    for stage in timings.stages:
        n_clips = stage.train_share * len(split.train)
        per_clip = stage.first_pass_s + stage.epochs * stage.train_s
        training_s += stage.first_step_s + n_clips * per_clip
        validation_s += len(split.valid) * (stage.first_check_s + stage.epochs * stage.check_s)
        validation_s += SAVED_COPIES * timings.save_s * stage.epochs
        clips, epochs = clips + stage.epochs * n_clips, epochs + stage.epochs
    limit_s = 60 * options.budget_minutes or float("inf")
    share = min(1.0, limit_s / max(training_s, 1e-9))
    runs = 1 + len(recipe.baseline_runs)
    run_s = share * (training_s + validation_s)
    scoring_s = 0.0
    if recipe.output == "classes":
        scoring_s = _scoring_seconds(timings, bool(options.init_from), split)
    decoding_s = timings.decode_s * (len(split.train) + len(split.valid))
    return Estimate(
        seconds=timings.start_s + timings.prepare_s + runs * (decoding_s + run_s + scoring_s),
        training=runs * run_s,
        epochs=share * epochs,
        of_epochs=epochs,
        clips_per_s=clips / max(training_s, 1e-9),
        device=timings.device,
    )


def _scoring_seconds(timings: StepTimings, compared: bool, split: Split) -> float:
    """Seconds to calibrate and score a model, and where `compared` to score both it and its start."""
    neutral = min(sum(clip.emotion in NEUTRAL for clip in split.train), CLIPS_PER_CORPUS)
    answers = len(split.valid) + neutral + (3 if compared else 1) * len(split.test)
    loads = 4 if compared and split.test else 2
    return loads * (timings.load_s + timings.first_answer_s) + answers * timings.answer_s


def _sample(utterances: tuple[Utterance, ...], count: int) -> tuple[Utterance, ...]:
    """About `count` clips, evenly from all, with every emotion of every corpus."""
    order = sorted(utterances, key=lambda clip: (clip.corpus, clip.emotion, clip.speaker))
    sample = list(order[:: max(1, len(order) // count)])
    present = {(clip.corpus, clip.emotion) for clip in sample}
    for clip in order:
        if (clip.corpus, clip.emotion) not in present:
            present.add((clip.corpus, clip.emotion))
            sample.append(clip)
    return tuple(sample)
