"""Cross-validation: every model of a plan trained, tested and kept, in folders that can be resumed.

Every task and seed is an ordinary run in a folder of its own. Once it has answered its test clips,
the answers lie beside it and it is never trained again.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from serdemo import __version__
from serdemo.data.protocols import Fold, seeds
from serdemo.data.splits import Split
from serdemo.evaluation.predictions import PredictionSet, predict_dataset
from serdemo.inference.predictor import Predictor
from serdemo.metrics.classification import class_of
from serdemo.nn import checkpoint, provenance
from serdemo.nn.device import pick_device
from serdemo.runs import report, training_run
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import read_json, write_json
from serdemo.schema.types import Utterance
from serdemo.training.events import EVENTS, Event, Finished, Stopped
from serdemo.training.options import resolve_recipe

PROTOCOL, PREDICTIONS = "protocol.json", "answers.json"
# Options that change how a run is carried out, not what it is: they may differ on resuming.
RESUMABLE_OPTIONS = {"device", "threads", "workers", "save_minutes", "memory_gb"}


def open_protocol(
    run_dir: Path,
    utterances: Sequence[Utterance],
    settings: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    command: str = "",
    resume: bool = False,
) -> dict[str, Any]:
    """What `protocol.json` is to hold: anew or, with `resume`, as it was begun. Writes nothing.

    `settings` are recipe, by, folds, seeds and leaky, None where not given; more seeds and the
    shared speakers may be added on resuming, nothing else changed.

    Raises UsageError for a folder that holds anything else, or another protocol.
    """
    clips = sorted([u.corpus, u.speaker, u.path.stem, u.emotion, u.fold] for u in utterances)
    fixed = {"clips": hashlib.sha256(repr(clips).encode()).hexdigest(), "code": __version__}
    fresh = {**settings, "seeds": settings["seeds"] or 1, "leaky": bool(settings["leaky"])}
    protocol = {**fresh, **fixed, "command": command, "options": dict(options)}
    if (run_dir / PROTOCOL).exists():
        if not resume:
            raise UsageError(
                f"{run_dir} already holds a cross-validation; add --resume, or name another folder."
            )
        begun = read_json(run_dir / PROTOCOL)
        if not isinstance(begun, dict) or not begun.keys() >= protocol.keys():
            raise SerdemoError(f"{PROTOCOL} in {run_dir} is damaged; begin in another folder.")
        protocol = _continued(run_dir, begun, settings, fixed["clips"], options)
    elif run_dir.exists() and (not run_dir.is_dir() or any(run_dir.iterdir())):
        raise UsageError(f"{run_dir} holds something else; give --run a new or empty folder.")
    return protocol


def _continued(
    run_dir: Path,
    begun: dict[str, Any],
    settings: Mapping[str, Any],
    clips: str,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    for name in ("recipe", "by", "folds"):
        if settings[name] is not None and settings[name] != begun[name]:
            raise UsageError(
                f"{run_dir} holds another protocol ({name} {begun[name]}, not {settings[name]});"
                " name another folder."
            )
    if begun["clips"] != clips:
        raise UsageError(f"{run_dir} was begun on other clips; resume with the same --corpus.")
    for name, value in options.items():
        if name not in RESUMABLE_OPTIONS and begun["options"].get(name) != value:
            raise UsageError(
                f"{run_dir} was begun with other options: leave --{name.replace('_', '-')} as it"
                " was, or name another folder."
            )
    return {
        **begun,
        "seeds": max(begun["seeds"], settings["seeds"] or 1),
        "leaky": bool(begun["leaky"] or settings["leaky"]),
        "options": {**begun["options"], **options},
    }


Follow = Callable[[str, Iterator[Event]], object]


def train(
    protocol: Mapping[str, Any],
    tasks: Sequence[Fold],
    run_dir: Path,
    *,
    stop_after: float | None = None,
    follow: Follow = lambda title, happening: None,
) -> bool:
    """Train and score every task and seed that is not finished; True when all are.

    `follow` is given a title and the events of each run, to show them; what it leaves is read to
    the end. Ctrl-C and `stop_after` (seconds, for all together) end it resumable. Raises as
    `runs.train` does.
    """
    began, options = time.monotonic(), dict(protocol["options"])
    _check(protocol, tasks)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise SerdemoError(f"{run_dir} could not be made: {problem.strerror}.") from problem
    write_json(run_dir / PROTOCOL, protocol)
    jobs = [(seed, task) for seed in seeds(protocol) for task in tasks]
    left = [
        (number, seed, task)
        for number, (seed, task) in enumerate(jobs, start=1)
        if not (fold_dir(run_dir, task, seed) / PREDICTIONS).exists()
    ]
    for number, seed, task in left:
        spent = time.monotonic() - began
        if stop_after is not None and spent >= stop_after and number > left[0][0]:
            return False
        folder = fold_dir(run_dir, task, seed)
        finished = run_fold(
            protocol["recipe"],
            {**options, "seed": seed},
            task.split,
            folder,
            command=protocol["command"],
            stop_after=None if stop_after is None else max(stop_after - spent, 0.0),
            follow=partial(
                follow, f"{number} of {len(jobs)}: {task.kind}, {task.name}, seed {seed}"
            ),
        )
        if not finished:
            return False
        save_predictions(protocol["recipe"], options, task.split, folder)
    return True


def run_fold(
    recipe: str,
    options: Mapping[str, Any],
    split: Split,
    folder: Path,
    *,
    command: str = "",
    stop_after: float | None = None,
    follow: Callable[[Iterator[Event]], object] = lambda happening: None,
) -> bool:
    """Begin a run, or go on with the one in the folder; True once it is finished, False if stopped.

    `follow` is given its events; what it leaves is read to the end. Raises as `runs.train` does.
    """
    last: list[Event] = []

    def told() -> Iterator[Event]:
        for event in training_run.train(
            recipe,
            options,
            split,
            folder,
            command=command,
            resume=(folder / EVENTS).exists(),
            stop_after=stop_after,
        ):
            last[:] = [event]
            yield event

    happening = told()
    follow(happening)
    for _ in happening:
        pass
    assert isinstance(last[0], Finished | Stopped)
    return isinstance(last[0], Finished)


def _check(protocol: Mapping[str, Any], tasks: Sequence[Fold]) -> None:
    """Raise for what is plainly wrong with any model, before a folder is made."""
    recipe, options = resolve_recipe(protocol["recipe"], protocol["options"])
    start = [checkpoint.describe(Path(options.start))] if options.start else []
    for task in tasks:
        described = provenance.include_source(recipe.describe(task.split))
        if not described.labels:
            raise UsageError(
                f"{recipe.name} answers no emotion as it is asked for, so there is nothing to compare."
            )
        provenance.refuse_overlap(
            provenance.merge(described, *start), "What each model begins with", task.split
        )
    pick_device(options.device)


def save_predictions(recipe: str, options: Mapping[str, Any], split: Split, folder: Path) -> None:
    """Let the model of a finished run answer the test clips of the classes it was trained on (those
    of the corpus `target` where one is named), and keep that beside it."""
    predictor = Predictor(
        folder / "checkpoint", **report.predictor_kwargs(*resolve_recipe(recipe, options))
    )
    target = options.get("target", "").lower()
    taught = [u for u in split.train if not target or u.corpus == target]
    classes = {name for u in taught if (name := class_of(u.emotion, predictor.labels))}
    found = predict_dataset(predictor, split.test, classes)
    write_json(folder / PREDICTIONS, found.to_json())
    shutil.rmtree(folder / "resume", ignore_errors=True)  # several times the model, and done with


def fold_dir(run_dir: Path, task: Fold, seed: int) -> Path:
    """The run folder of a task and seed."""
    return run_dir / task.folder / f"seed-{seed}"


def progress(protocol: Mapping[str, Any], tasks: Sequence[Fold], run_dir: Path) -> tuple[int, int]:
    """How many models are done, and how many there are to be."""
    done = [
        (fold_dir(run_dir, task, s) / PREDICTIONS).exists()
        for task in tasks
        for s in seeds(protocol)
    ]
    return sum(done), len(done)


def load_predictions(
    protocol: Mapping[str, Any], tasks: Sequence[Fold], run_dir: Path
) -> list[list[PredictionSet]]:
    """The answers of each task, one for each seed; raises SerdemoError while some are missing."""
    paths = [[fold_dir(run_dir, task, s) / PREDICTIONS for s in seeds(protocol)] for task in tasks]
    done, count = progress(protocol, tasks, run_dir)
    if done < count:
        raise SerdemoError(
            f"{count - done} of {count} models of {run_dir} are not finished; go on with --resume."
        )
    return [[PredictionSet.from_json(read_json(path)) for path in row] for row in paths]
