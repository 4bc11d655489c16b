"""A training run as a user meets it: a folder with its options, events, model, report and card."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from serdemo.data.corpora.loading import require_labels
from serdemo.data.splits import Split
from serdemo.evaluation import baselines
from serdemo.evaluation.baselines import BaselineResult
from serdemo.nn.checkpoint_files import DESCRIPTION
from serdemo.nn.device import pick_device
from serdemo.runs.baseline_runs import train_baselines
from serdemo.runs.folder import CONFIG as CONFIG
from serdemo.runs.folder import load_config, open_run
from serdemo.runs.registry import hub
from serdemo.runs.registry.store import default_registry
from serdemo.runs.report import _raise_if_stopped, _score, predictor_kwargs
from serdemo.runs.request import TrainingRequest
from serdemo.schema.errors import UsageError
from serdemo.schema.files import recovered_path
from serdemo.training import distributed
from serdemo.training.events import EVENTS, Event, Finished
from serdemo.training.fit import fit
from serdemo.training.options import resolve_recipe


def run(request: TrainingRequest, command: str = "") -> Iterator[Event]:
    """Carry out a request: load its clips, split them, and train as `train` does.

    `command` is what the model's card names, that of the request where not given.
    """
    if request.run_dir is None:
        raise UsageError("A training run needs a folder.")
    distributed.init(cpu=request.options.get("device") == "cpu")
    split = request.split.split(request.clips(unlabelled=True))
    return train(
        request.recipe,
        resolved_options(request.options),
        split,
        request.run_dir,
        command=command or request.command(),
        resume=request.resume,
        stop_after=request.stop_after,
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
) -> Iterator[Event]:
    """Carry out a run, writing each event to `events.jsonl`; at its end, score the test speakers.

    `stop_reason` ends it at the next step with the reason it returns. Where the recipe has rivals, their
    runs follow, in folders of their own, and their events are yielded but not written here.

    Raises UsageError for bad options or a folder that holds another run, SerdemoError for a
    failure, which is also the last event written.
    """
    config = load_config(recipe_name, values, command, run_dir, resume)
    recipe, options = resolve_recipe(recipe_name, config["options"])
    if recipe.needs_labels:
        require_labels(list(chain(*split.parts.values())))
    described = recipe.describe(split)  # what is plainly wrong is told before a folder is made
    pick_device(options.device)
    with open_run(
        run_dir, config, resume=resume, stop_after=stop_after, stop_reason=stop_reason
    ) as told:
        stop, write, pressed = told
        happening = fit(recipe, options, split, run_dir, stop, resume=resume)
        for event in happening:
            results: list[BaselineResult] = []
            if isinstance(event, Finished):
                happening.close()  # what it trained is on disk: make room for what follows
                rival = partial(train, recipe_name, split=split, command=config["command"])
                results, stopped = yield from train_baselines(
                    rival, recipe, config["options"], run_dir, stop
                )
                event = replace(stopped, step=event.step) if stopped else event
            scored = distributed.is_main_process() and (
                recipe.output == "classes" or recipe.is_verification
            )
            if isinstance(event, Finished) and scored:
                if recipe.baseline_runs:
                    results[:0] = baselines.simple(split, described.labels)
                load = {
                    **predictor_kwargs(recipe, options),
                    "check_cancelled": partial(_raise_if_stopped, run_dir, pressed),
                }
                event = _score(event, run_dir, split, config["command"], options, results, load)
            if isinstance(event, Finished) and distributed.is_main_process():
                event = replace(event, note=f"{event.note}{recipe.no_classifier_note}")
            write(event)
            if (
                isinstance(event, Finished) and distributed.is_main_process()
            ):  # with its end, the log belongs to the model
                shutil.copyfile(run_dir / EVENTS, run_dir / "checkpoint" / EVENTS)
            yield event
