"""A training run as a user meets it: a folder with its options, events, model, report and card."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

from serdemo import baselines, card, checkpoint, processes
from serdemo.baselines import REPORT, Rival
from serdemo.cache import CacheOptions
from serdemo.comparison import before_and_after
from serdemo.corpora.table import refuse_unlabelled
from serdemo.devices import pick_device
from serdemo.evaluate import Report, calibrate, evaluate
from serdemo.events import EVENTS, STOP_FILE, Event, Finished, Stopped
from serdemo.neutral import reference
from serdemo.predict import Embedder, Predictor
from serdemo.recipes import Recipe
from serdemo.recipes.kept import read_once
from serdemo.run_folder import CONFIG as CONFIG
from serdemo.run_folder import recorded, settings
from serdemo.schema import SerdemoError, UsageError
from serdemo.speaker_report import verify_all
from serdemo.splits import Split
from serdemo.storage import write_json
from serdemo.train import fit
from serdemo.trainer import TrainOptions, chosen
from serdemo.verdict import beside_guessing
from serdemo.verification import Verification

TOLD = (
    *("n", "speakers", "uar", "uar_ci95", "ci95_over", "wa", "ece", "unseen_speakers"),
    *("same_trials", "different_trials", "eer", "eer_ci95"),
)


def train(
    recipe_name: str,
    values: Mapping[str, Any],
    split: Split,
    run_dir: Path,
    *,
    command: str = "",
    resume: bool = False,
    stop_after: float | None = None,
    asked: Callable[[], str | None] = lambda: None,
) -> Iterator[Event]:
    """Carry out a run, writing each event to `events.jsonl`; at its end, score the test speakers.

    `asked` ends it at the next step with the reason it returns. Where the recipe has rivals, their
    runs follow, in folders of their own, and their events are yielded but not written here.

    Raises UsageError for bad options or a folder that holds another run, SerdemoError for a
    failure, which is also the last event written.
    """
    config = settings(recipe_name, values, command, run_dir, resume)
    recipe, options = chosen(recipe_name, config["options"])
    if not recipe.unlabelled:
        refuse_unlabelled(list(chain(*split.parts.values())))
    described = recipe.describe(split)  # what is plainly wrong is told before a folder is made
    pick_device(options.device)
    with recorded(run_dir, config, resume=resume, stop_after=stop_after, asked=asked) as told:
        stop, write, pressed = told
        happening = fit(recipe, options, split, run_dir, stop, resume=resume)
        for event in happening:
            found: list[Rival] = []
            if isinstance(event, Finished):
                happening.close()  # what it trained is on disk: make room for what follows
                rival = partial(train, recipe_name, split=split, command=config["command"])
                broken = yield from baselines.trained(
                    rival, recipe, config["options"], run_dir, stop, found
                )
                event = replace(broken, step=event.step) if broken else event
            scored = processes.first() and (not recipe.unscored or recipe.verified)
            if isinstance(event, Finished) and scored:
                if recipe.rivals:
                    found[:0] = baselines.simple(split, described.labels)
                load = {**loading(recipe, options), "heed": partial(_heed, run_dir, pressed)}
                event = _score(event, run_dir, split, config["command"], options, found, load)
            if isinstance(event, Finished) and processes.first():
                event = replace(event, note=f"{event.note}{recipe.unscored}")
            write(event)
            if (
                isinstance(event, Finished) and processes.first()
            ):  # with its end, the log belongs to the model
                shutil.copyfile(run_dir / EVENTS, run_dir / "checkpoint" / EVENTS)
            yield event


def loading(recipe: Recipe, options: TrainOptions) -> dict[str, Any]:
    """With which arguments an `Embedder` makes a run's model ready to be scored."""
    load: dict[str, Any] = {"device": options.device}
    if recipe.keeps:
        load["reader"] = partial(read_once, options=recipe.of(CacheOptions))
    return load


class _StoppedError(Exception):
    """Scoring was stopped, for the reason it holds."""


def _heed(run_dir: Path, pressed: Callable[[], str | None]) -> None:
    """Raises _StoppedError where the run is asked to stop."""
    if reason := "asked to stop" if (run_dir / STOP_FILE).exists() else pressed():
        (run_dir / STOP_FILE).unlink(missing_ok=True)  # it is done
        raise _StoppedError(reason)


def _score(
    event: Finished,
    run_dir: Path,
    split: Split,
    command: str,
    options: TrainOptions,
    rivals: Sequence[Rival],
    load: Mapping[str, Any],
) -> Finished | Stopped:
    """The last event, with a note where the trained model could not be scored, else how it compares
    with the checkpoint that it began with, or with guessing where that answers nothing.

    Stopped meanwhile, the run can go on: it is trained, and is scored anew.
    """
    folder = run_dir / "checkpoint"
    try:
        reports = report(run_dir, split, command, rivals, load)
        if not checkpoint.describe(folder).labels:
            return event
        if not options.start or not checkpoint.describe(Path(options.start)).labels:
            alone = beside_guessing([one.to_json() for one in reports])
            told = " ".join(one.sentence for one in alone)
        else:
            ready = partial(Predictor, **load)
            told = before_and_after(Path(options.start), folder, split.test, run_dir, ready)
    except _StoppedError as problem:
        return Stopped(event.step, str(problem), event.seconds)
    except SerdemoError as problem:
        told = f"The model is trained and saved, but not scored: {problem}"
    return replace(event, note=f"{event.note}{told}")


def report(
    run_dir: Path,
    split: Split,
    command: str,
    rivals: Sequence[Rival] = (),
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
    if checkpoint.describe(folder).labels:
        reports = _recalls(folder, split, load)
    else:
        reports = verify_all(Embedder(folder, **load), split.test)
    figures = {one.corpus: one.to_json() for one in reports}
    for corpus, one in figures.items() if rivals else ():
        one["baselines"] = [rival.of(corpus) for rival in rivals]
    write_json(folder / REPORT, list(figures.values()))
    told = {
        corpus: {key: found[key] for key in TOLD if key in found}
        for corpus, found in figures.items()
    }
    description = checkpoint.describe(folder)
    described = replace(description, metrics={**description.metrics, "test": told})
    checkpoint.redescribe(folder, described)
    text = card.write(described, reports, command, rivals)
    (folder / "README.md").write_text(text, encoding="utf-8")
    return reports


def _recalls(folder: Path, split: Split, load: Mapping[str, Any]) -> list[Report]:
    predictor = Predictor(folder, **load)
    fitted = calibrate(predictor, split.valid)
    checkpoint.redescribe(folder, replace(fitted, neutral=reference(predictor, split.train)))
    predictor = Predictor(folder, **load)
    reports = []
    for corpus in sorted({u.corpus for u in split.test}):
        clips = [u for u in split.test if u.corpus == corpus]
        try:
            reports.append(evaluate(predictor, corpus, clips))
        except UsageError:
            continue  # no clip of this corpus has an emotion the model knows
    return reports
