"""The report of a finished run: its checkpoint scored on the test speakers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from serdemo.data.array_cache import CacheOptions
from serdemo.data.splits import Split
from serdemo.evaluation import model_card
from serdemo.evaluation.baselines import REPORT, BaselineResult
from serdemo.evaluation.comparison import Comparison, before_and_after
from serdemo.evaluation.scoring import Report, calibrate, evaluate
from serdemo.evaluation.speaker_verification import verify_all
from serdemo.inference.predictor import Embedder, Predictor
from serdemo.inference.speaker_normalization import neutral_centroid
from serdemo.metrics.significance import compare_to_chance
from serdemo.metrics.verification import Verification
from serdemo.nn.description import read_description, write_description
from serdemo.runs.folder import CONFIG as CONFIG
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import write_json
from serdemo.training.events import STOP_FILE, Finished, Stopped, Verdict
from serdemo.training.options import TrainOptions
from serdemo.training.recipes.base import Recipe
from serdemo.training.recipes.frozen_features import cached_features

REPORTED_KEYS = (
    *("n", "speakers", "uar", "uar_ci95", "ci95_over", "wa", "ece", "unseen_speakers"),
    *("same_trials", "different_trials", "eer", "eer_ci95"),
)


def predictor_kwargs(recipe: Recipe, options: TrainOptions) -> dict[str, Any]:
    """With which arguments an `Embedder` makes a run's model ready to be scored."""
    load: dict[str, Any] = {"device": options.device}
    if recipe.caches_features:
        load["feature_fn"] = partial(cached_features, options=recipe.options(CacheOptions))
    return load


class ScoringStoppedError(Exception):
    """Scoring was stopped, for the reason it holds."""


def _raise_if_stopped(run_dir: Path, pressed: Callable[[], str | None]) -> None:
    """Raises _StoppedError where the run is asked to stop."""
    if reason := "asked to stop" if (run_dir / STOP_FILE).exists() else pressed():
        (run_dir / STOP_FILE).unlink(missing_ok=True)  # it is done
        raise ScoringStoppedError(reason)


def _score(
    event: Finished,
    run_dir: Path,
    split: Split,
    command: str,
    options: TrainOptions,
    rivals: Sequence[BaselineResult],
    load: Mapping[str, Any],
) -> Finished | Stopped:
    """Score a trained run; returns its last event, with a verdict or with a note why there is none.

    The verdict is against the checkpoint that the run began with, or against chance where there is none
    that knows emotions. A run that is stopped meanwhile can be resumed, and is then scored again.
    """
    folder, start = run_dir / "checkpoint", Path(options.init_from) if options.init_from else None
    try:
        reports = report(run_dir, split, command, rivals, load)
        if not read_description(folder).labels:
            return event
        if start is None or not read_description(start).labels:
            return replace(event, verdict=_against_chance([row.to_json() for row in reports]))
        load_predictor = partial(Predictor, **load)
        comparisons, sentence = before_and_after(start, folder, split.test, run_dir, load_predictor)
        if comparisons:
            return replace(event, verdict=_against_start(comparisons[-1]))
        return replace(event, note=f"{event.note}{sentence}")
    except ScoringStoppedError as problem:
        return Stopped(event.step, str(problem), event.seconds)
    except SerdemoError as problem:
        note = f"The model is trained and saved, but not scored: {problem}"
        return replace(event, note=f"{event.note}{note}")


def _against_start(comparison: Comparison) -> Verdict:
    return Verdict(
        comparison.found.verdict,
        before=comparison.a,
        paired=comparison.found,
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
    rivals: Sequence[BaselineResult] = (),
    load: Mapping[str, Any] = MappingProxyType({}),
) -> list[Report] | list[Verification]:
    """Score a run's checkpoint on the split's test speakers and write report and card beside it.
    `load` says how an `Embedder` makes it ready.

    First its temperature and its "not sure" are fitted on the speakers it was chosen by, and its
    reference of neutral speech is taken from those it was trained on. One without a classifier is
    scored by how well it tells the test speakers apart.
    """
    folder = run_dir / "checkpoint"
    reports: list[Report] | list[Verification]
    if read_description(folder).labels:
        reports = _recalls(folder, split, load)
    else:
        reports = verify_all(Embedder(folder, **load), split.test)
    figures = {one.corpus: one.to_json() for one in reports}
    for corpus, one in figures.items() if rivals else ():
        one["baselines"] = [rival.of(corpus) for rival in rivals]
    write_json(folder / REPORT, list(figures.values()))
    told = {
        corpus: {key: found[key] for key in REPORTED_KEYS if key in found}
        for corpus, found in figures.items()
    }
    description = read_description(folder)
    described = replace(description, metrics={**description.metrics, "test": told})
    write_description(folder, described)
    text = model_card.write(described, reports, command, rivals)
    (folder / "README.md").write_text(text, encoding="utf-8")
    return reports


def _recalls(folder: Path, split: Split, load: Mapping[str, Any]) -> list[Report]:
    predictor = Predictor(folder, **load)
    fitted = calibrate(predictor, split.valid)
    write_description(folder, replace(fitted, neutral=neutral_centroid(predictor, split.train)))
    predictor = Predictor(folder, **load)
    reports = []
    for corpus in sorted({u.corpus for u in split.test}):
        clips = [u for u in split.test if u.corpus == corpus]
        try:
            reports.append(evaluate(predictor, corpus, clips))
        except UsageError:
            continue  # no clip of this corpus has an emotion the model knows
    return reports
