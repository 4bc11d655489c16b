"""The report of a finished run: its checkpoint scored on the test speakers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from serdemo.data.array_cache import CacheOptions
from serdemo.data.splits import Split
from serdemo.evaluation import model_card
from serdemo.evaluation.baselines import BaselineResult
from serdemo.evaluation.comparison import Comparison, before_and_after
from serdemo.evaluation.scoring import Report, calibrate, evaluate
from serdemo.evaluation.speaker_verification import verify_all
from serdemo.inference.predictor import Embedder, Predictor
from serdemo.inference.speaker_prior import measure_speaker_prior
from serdemo.metrics.significance import compare_to_chance
from serdemo.metrics.verification import Verification
from serdemo.nn.checkpoint_files import REPORT
from serdemo.nn.description import read_description, write_description
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import write_json, write_text
from serdemo.training.events import Finished, Stopped, Verdict, clear_stop, stop_requested
from serdemo.training.options import TrainOptions
from serdemo.training.recipes.base import Recipe
from serdemo.training.recipes.frozen_features import cached_features

REPORTED_KEYS = (
    *("n", "speakers", "uar", "uar_ci95", "ci95_over", "wa", "ece", "unseen_speakers"),
    *("same_trials", "different_trials", "eer", "eer_ci95"),
)


def predictor_kwargs(recipe: Recipe, options: TrainOptions) -> dict[str, Any]:
    """Keyword arguments of the `Embedder` that scores a run's model."""
    if not recipe.caches_features:
        return {"device": options.device}
    cache = recipe.options(CacheOptions)
    return {"device": options.device, "feature_fn": partial(cached_features, options=cache)}


class ScoringStoppedError(Exception):
    """Scoring was stopped, for the reason it holds."""


def raise_if_stopped(run_dir: Path, user_stop: Callable[[], str | None]) -> None:
    """Raise ScoringStoppedError where the user wants the run to stop."""
    if reason := stop_requested(run_dir) or user_stop():
        clear_stop(run_dir)
        raise ScoringStoppedError(reason)


def score(
    event: Finished,
    run_dir: Path,
    split: Split,
    command: str,
    options: TrainOptions,
    baselines: Sequence[BaselineResult],
    kwargs: Mapping[str, Any],
) -> Finished | Stopped:
    """Score a trained run; returns its last event, with a verdict or with a note why there is none.

    The verdict is against the checkpoint that the run began with, or against chance where none knows emotions. A
    run that is stopped meanwhile is scored again when resumed.
    """
    folder, start = run_dir / "checkpoint", Path(options.init_from) if options.init_from else None
    try:
        reports = report(run_dir, split, command, baselines, kwargs)
        if not read_description(folder).labels:
            return event
        if start is None or not read_description(start).labels:
            return replace(event, verdict=_against_chance([row.to_json() for row in reports]))
        load_predictor = partial(Predictor, **kwargs)
        comparisons, note = before_and_after(start, folder, split.test, run_dir, load_predictor)
        if comparisons:
            return replace(event, verdict=_against_start(comparisons[-1]))
    except ScoringStoppedError as problem:
        return Stopped(event.step, str(problem), event.seconds)
    except SerdemoError as problem:
        note = f"The model is trained and saved, but not scored: {problem}"
    return replace(event, note=f"{event.note}{note}")


def _against_start(comparison: Comparison) -> Verdict:
    return Verdict(
        comparison.paired.verdict,
        before=comparison.a,
        paired=comparison.paired,
        speakers=comparison.speakers,
        unseen_speakers=comparison.unseen_speakers,
    )


def _against_chance(reports: Sequence[Mapping[str, Any]]) -> Verdict | None:
    comparisons = tuple(compare_to_chance(reports))
    if not comparisons:
        return None
    return Verdict(
        "better" if all(row.better for row in comparisons) else "no difference",
        chance=comparisons,
        speakers=sum(row.speakers for row in comparisons),
        unseen_speakers=all(row.unseen_speakers for row in comparisons),
    )


def report(
    run_dir: Path,
    split: Split,
    command: str,
    baselines: Sequence[BaselineResult] = (),
    kwargs: Mapping[str, Any] = MappingProxyType({}),
) -> list[Report] | list[Verification]:
    """Score a run's checkpoint on the test speakers and write its report and card.

    A classifier is calibrated before; a model without one is scored by speaker verification. `kwargs` are
    those of its `Predictor` or `Embedder`.
    """
    folder = run_dir / "checkpoint"
    reports: list[Report] | list[Verification]
    if read_description(folder).labels:
        reports = _score_classes(folder, split, kwargs)
    else:
        reports = verify_all(Embedder(folder, **kwargs), split.test)
    figures = {row.corpus: row.to_json() for row in reports}
    if baselines:
        for corpus, row in figures.items():
            row["baselines"] = [baseline.of(corpus) for baseline in baselines]
    write_json(folder / REPORT, list(figures.values()))
    description = read_description(folder)
    description.metrics["test"] = {
        corpus: {key: row[key] for key in REPORTED_KEYS if key in row}
        for corpus, row in figures.items()
    }
    write_description(folder, description)
    write_text(folder / "README.md", model_card.write(description, reports, command, baselines))
    return reports


def _score_classes(folder: Path, split: Split, kwargs: Mapping[str, Any]) -> list[Report]:
    """Fit temperature and "not sure" threshold on the validation speakers, and the speaker prior on the
    training speakers, then score the classifier on each test corpus of which it knows an emotion."""
    predictor = Predictor(folder, **kwargs)
    calibrated = calibrate(predictor, split.valid)
    prior = measure_speaker_prior(predictor, split.train)
    write_description(folder, replace(calibrated, speaker_prior=prior))
    predictor = Predictor(folder, **kwargs)
    reports = []
    for corpus in sorted({clip.corpus for clip in split.test}):
        clips = [clip for clip in split.test if clip.corpus == corpus]
        with suppress(UsageError):  # no clip of this corpus has an emotion the model knows
            reports.append(evaluate(predictor, corpus, clips))
    return reports
