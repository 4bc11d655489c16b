"""A training run: from a request or a split to a folder with options, events, model, report and card."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from serdemo.data.corpora.corpus import Note, ignore
from serdemo.data.corpora.loading import require_labels
from serdemo.data.splits import Split, dependence_sentence
from serdemo.evaluation import baselines
from serdemo.evaluation.baselines import BaselineResult
from serdemo.nn.checkpoint_files import DESCRIPTION, REPORT
from serdemo.nn.device import pick_device
from serdemo.runs import tracking as trackers
from serdemo.runs.folder import OpenRun, load_config, open_run
from serdemo.runs.registry import hub
from serdemo.runs.registry.store import default_registry
from serdemo.runs.report import predictor_kwargs, raise_if_stopped, score
from serdemo.runs.request import TrainingRequest
from serdemo.runs.tracking import NO_TRACKING, Tracking
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import read_json, recovered_path
from serdemo.training import distributed, recipes
from serdemo.training.events import EVENTS, Event, Finished, Stopped, clear_stop, stop_requested
from serdemo.training.fit import fit
from serdemo.training.options import TrainOptions, resolve_recipe
from serdemo.training.recipes.base import Recipe


def run(
    request: TrainingRequest,
    command: str = "",
    *,
    tracking: Tracking = NO_TRACKING,
    note: Note = ignore,
) -> Iterator[Event]:
    """Carry out a request: load its clips, split them, and train as `train` does.

    `command` is what the model's card names, that of the request where not given; `note` takes what the user
    should know of the clips. A request names no trackers, as visitors of a page make requests.
    """
    if request.run_dir is None:
        raise UsageError("A training run needs a folder.")
    recipes.get(request.recipe)  # an unknown one is refused before clips are read
    distributed.init(cpu=request.options.get("device") == "cpu")
    split = request.split.split(request.clips(unlabelled=True, note=note))
    if sentence := dependence_sentence(split):
        note(sentence)
    return train(
        request.recipe,
        resolved_options(request.options),
        split,
        request.run_dir,
        command=command or request.command(),
        resume=request.resume,
        stop_after=request.stop_after,
        tracking=tracking,
    )


def resolved_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are not None, with `init_from` as a checkpoint folder: it may be one already, or the key
    of a model of `serdemo models`, or a repository of the hub.

    Raises SerdemoError when there is no such model.
    """
    resolved = {name: value for name, value in options.items() if value is not None}
    start = resolved.get("init_from")
    if start and not (recovered_path(Path(start)) / DESCRIPTION).is_file():
        resolved["init_from"] = str(hub.resolve_checkpoint(start, default_registry()))
    return resolved


def train(
    recipe_name: str,
    values: Mapping[str, Any],
    split: Split,
    run_dir: Path,
    *,
    command: str = "",
    resume: bool = False,
    stop_after: float | None = None,
    stop_reason: Callable[[], str | None] = lambda: None,
    tracking: Tracking = NO_TRACKING,
) -> Iterator[Event]:
    """Train a recipe on a split in a run's folder, then score the test speakers; yields the events and logs them.

    `values` are the options that differ from the recipe's own; `stop_reason` is called at every step and
    may return why to stop. The runs of a recipe's baselines follow in folders inside `run_dir`; their events
    are yielded, but not logged. The trackers of `tracking` get the numbers of what is logged.

    Raises UsageError for bad options or a folder that holds another run, SerdemoError for a failure, which
    is also the last event written.
    """
    config = load_config(recipe_name, values, command, run_dir, resume)
    recipe, options = resolve_recipe(recipe_name, config["options"])
    if recipe.needs_labels:
        require_labels(list(chain(*split.parts.values())))
    description = recipe.describe(split)  # raises for what is plainly wrong: no folder is made
    pick_device(options.device)
    trackers.require(tracking)
    with (
        open_run(
            run_dir, config, resume=resume, stop_after=stop_after, stop_reason=stop_reason
        ) as run,
        trackers.opened(tracking, run_dir, config) as track,
    ):
        events = fit(
            recipe, options, split, run_dir, run.stop_reason, resume=resume, description=description
        )
        for event in events:
            if isinstance(event, Finished):
                events.close()  # the model is on disk: free the memory for what follows
                event = yield from _complete(event, recipe, options, config, split, run_dir, run)
            run.write(event)
            track(event)
            if isinstance(event, Finished) and distributed.is_main_process():
                shutil.copyfile(run_dir / EVENTS, run_dir / "checkpoint" / EVENTS)
            yield event


def _complete(
    event: Finished,
    recipe: Recipe,
    options: TrainOptions,
    config: Mapping[str, Any],
    split: Split,
    run_dir: Path,
    run: OpenRun,
) -> Generator[Event, None, Finished | Stopped]:
    """Train the baselines of a trained run and score it; yields the baselines' events.

    Returns the run's last event.
    """

    def stop_reason() -> str | None:
        return stop_requested(run_dir) or run.stop_reason()

    results, command = [], config["command"]
    for name, changes in recipe.baseline_runs.items():  # resumed where they were begun
        values, folder = {**config["options"], **changes}, run_dir / "baselines" / name
        start = partial(train, command=command, resume=True, stop_reason=stop_reason)
        events = start(recipe.name, values, split, folder)
        result = yield from _train_baseline(name, events, folder)
        if isinstance(result, Stopped):
            clear_stop(run_dir)
            return replace(result, step=event.step)
        results.append(result)
    if not distributed.is_main_process():
        return event
    if recipe.output == "classes" or recipe.is_verification:
        if recipe.baseline_runs:
            results = [*baselines.simple_baselines(split, recipe.describe(split).labels), *results]
        kwargs = {
            **predictor_kwargs(recipe, options),
            "check_cancelled": partial(raise_if_stopped, run_dir, run.user_stop),
        }
        scored = score(event, run_dir, split, command, options, results, kwargs)
        if isinstance(scored, Stopped):
            return scored
        event = scored
    return replace(event, note=f"{event.note}{recipe.no_classifier_note}")


def _train_baseline(
    name: str, events: Iterator[Event], folder: Path
) -> Generator[Event, None, BaselineResult | Stopped]:
    """Yield the events of a baseline's run in `folder`; returns its result, which says why where it fails."""
    try:
        for event in events:
            if isinstance(event, Stopped):
                return event
            if not isinstance(event, Finished):
                yield event
        rows = read_json(folder / "checkpoint" / REPORT) if distributed.is_main_process() else []
    except SerdemoError as problem:
        return BaselineResult(name, not_run=str(problem))
    return BaselineResult(name, {row["corpus"]: row for row in rows})
