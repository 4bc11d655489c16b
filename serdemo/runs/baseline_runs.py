"""Training runs of the baselines that a recipe is compared with, in folders inside its own run."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from serdemo.evaluation.baselines import REPORT, BaselineResult
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import read_json
from serdemo.training import distributed
from serdemo.training.events import Event, Finished, Stopped, clear_stop, stop_requested
from serdemo.training.recipes.base import Recipe

FOLDER = "baselines"  # in the run's folder


def train_baselines(
    train: Callable[..., Iterator[Event]],
    recipe: Recipe,
    options: Mapping[str, Any],
    run_dir: Path,
    stop_reason: Callable[[], str | None],
) -> Generator[Event, None, tuple[list[BaselineResult], Stopped | None]]:
    """Train each of `recipe.baseline_runs` below `run_dir`, resuming those that were begun, and yield their events.

    `train(values=, run_dir=, resume=, stop_reason=)` starts a run as `training_run.train` does. A stop file
    in `run_dir` stops them too. A baseline that fails becomes a result that says why. Returns the results,
    and the event that stopped the runs or None.
    """

    def stopped() -> str | None:
        return stop_requested(run_dir) or stop_reason()

    results: list[BaselineResult] = []
    for name, changes in recipe.baseline_runs.items():
        folder, values = run_dir / FOLDER / name, {**options, **changes}
        try:
            for event in train(values=values, run_dir=folder, resume=True, stop_reason=stopped):
                if isinstance(event, Stopped):
                    clear_stop(run_dir)
                    return results, event
                if not isinstance(event, Finished):
                    yield event
            report = (
                read_json(folder / "checkpoint" / REPORT) if distributed.is_main_process() else []
            )
            results.append(BaselineResult(name, {row["corpus"]: row for row in report}))
        except SerdemoError as problem:
            results.append(BaselineResult(name, not_run=str(problem)))
    return results, None
