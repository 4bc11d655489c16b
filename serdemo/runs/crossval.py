"""Cross-validation: trains and tests every model of a protocol, in folders that can be resumed.

Every fold and seed is an ordinary training run in a folder of its own. A fold is finished when its
test predictions are saved beside the checkpoint; it is never trained again.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from serdemo import __version__
from serdemo.data.protocols import Fold, seeds
from serdemo.data.splits import Split
from serdemo.evaluation.predictions import PredictionSet, predict_dataset
from serdemo.inference.predictor import Predictor
from serdemo.metrics.classification import class_of
from serdemo.nn import provenance
from serdemo.nn.description import read_description
from serdemo.nn.device import pick_device
from serdemo.runs import report, training_run
from serdemo.runs.tracking import NO_TRACKING, Tracking
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import make_folder, read_json, write_json
from serdemo.schema.renamed_options import current_options
from serdemo.schema.types import Utterance
from serdemo.training.events import EVENTS, Event, Finished, Stopped
from serdemo.training.options import resolve_recipe

PROTOCOL, PREDICTIONS = "protocol.json", "answers.json"
# Options of how a run is carried out, which may differ when it is resumed.
RESUMABLE_OPTIONS = {"device", "threads", "workers", "save_minutes", "memory_gb"}

ShowEvents = Callable[[Iterator[Event]], object]
ShowFold = Callable[[str, Iterator[Event]], object]


def open_protocol(
    run_dir: Path,
    utterances: Sequence[Utterance],
    settings: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    command: str = "",
    resume: bool = False,
) -> dict[str, Any]:
    """The content of `protocol.json`: new or, with `resume`, as saved in `run_dir`. Writes nothing.

    `settings` are `recipe`, `by`, `folds`, `seeds` and `leaky`, None where not given. On resuming,
    seeds and the leaky twins may be added; nothing else may change.

    Raises UsageError for a folder that holds anything else, or another protocol.
    """
    clips = sorted([u.corpus, u.speaker, u.path.stem, u.emotion, u.fold] for u in utterances)
    protocol = {
        **settings,
        "seeds": settings["seeds"] or 1,
        "leaky": bool(settings["leaky"]),
        "clips": hashlib.sha256(repr(clips).encode()).hexdigest(),
        "code": __version__,
        "command": command,
        "options": current_options(options),
    }
    if not (run_dir / PROTOCOL).exists():
        if run_dir.exists() and (not run_dir.is_dir() or any(run_dir.iterdir())):
            raise UsageError(f"{run_dir} holds something else; give --run a new or empty folder.")
        return protocol
    if not resume:
        raise UsageError(
            f"{run_dir} already holds a cross-validation; add --resume, or name another folder."
        )
    saved = read_json(run_dir / PROTOCOL)
    if not isinstance(saved, dict) or not saved.keys() >= protocol.keys():
        raise SerdemoError(f"{PROTOCOL} in {run_dir} is damaged; begin in another folder.")
    return _resumed(run_dir, {**saved, "options": current_options(saved["options"])}, protocol)


def _resumed(
    run_dir: Path, saved: Mapping[str, Any], requested: Mapping[str, Any]
) -> dict[str, Any]:
    """The saved protocol with the seeds and twins requested; raises UsageError for other changes."""
    for name in ("recipe", "by", "folds"):
        if requested[name] not in (None, saved[name]):
            raise UsageError(
                f"{run_dir} holds another protocol ({name} {saved[name]}, not {requested[name]});"
                " name another folder."
            )
    if saved["clips"] != requested["clips"]:
        raise UsageError(f"{run_dir} was begun on other clips; resume with the same --corpus.")
    for name, value in requested["options"].items():
        if name not in RESUMABLE_OPTIONS and saved["options"].get(name) != value:
            raise UsageError(
                f"{run_dir} was begun with other options: leave --{name.replace('_', '-')} as it"
                " was, or name another folder."
            )
    return {
        **saved,
        "seeds": max(saved["seeds"], requested["seeds"]),
        "leaky": bool(saved["leaky"] or requested["leaky"]),
        "options": {**saved["options"], **requested["options"]},
    }


def run_protocol(
    protocol: Mapping[str, Any],
    folds: Sequence[Fold],
    run_dir: Path,
    *,
    stop_after: float | None = None,
    tracking: Tracking = NO_TRACKING,
    show: ShowFold = lambda title, events: None,
) -> bool:
    """Train and test every fold and seed that is not finished; True when all are.

    Each is a run of its own in the trackers, named by its number. `show` receives a title and the events of each run, and need not read them all. Ctrl-C and `stop_after`
    (seconds in all) leave the rest to be resumed. Raises as `training_run.train` does.
    """
    start_time, recipe, options = time.monotonic(), protocol["recipe"], protocol["options"]
    _preflight(protocol, folds)
    make_folder(run_dir)
    write_json(run_dir / PROTOCOL, protocol)
    models = [(seed, fold) for seed in seeds(protocol) for fold in folds]
    n_trained = 0
    for number, (seed, fold) in enumerate(models, start=1):
        folder = fold_dir(run_dir, fold, seed)
        if (folder / PREDICTIONS).exists():
            continue
        elapsed = time.monotonic() - start_time
        left_s = None if stop_after is None else max(stop_after - elapsed, 0.0)
        if left_s == 0.0 and n_trained:
            return False
        title = f"{number} of {len(models)}: {fold.kind}, {fold.name}, seed {seed}"
        named = replace(tracking, name=f"{run_dir.name}-{number}")  # a fold's names a speaker
        train_fold = partial(
            run_fold, command=protocol["command"], tracking=named, show=partial(show, title)
        )
        values = {**options, "seed": seed}
        if not train_fold(recipe, values, fold.split, folder, stop_after=left_s):
            return False
        save_predictions(recipe, options, fold.split, folder)
        n_trained += 1
    return True


def run_fold(
    recipe: str,
    options: Mapping[str, Any],
    split: Split,
    folder: Path,
    *,
    command: str = "",
    stop_after: float | None = None,
    tracking: Tracking = NO_TRACKING,
    show: ShowEvents = lambda events: None,
) -> bool:
    """Start the training run of one fold, or resume it; True once it is finished, False if stopped.

    `show` receives its events, and need not read them all. Raises as `training_run.train` does.
    """
    last: Event | None = None
    resume = (folder / EVENTS).exists()

    def events() -> Iterator[Event]:
        nonlocal last
        for event in training_run.train(
            recipe,
            options,
            split,
            folder,
            command=command,
            resume=resume,
            stop_after=stop_after,
            tracking=tracking,
        ):
            last = event
            yield event

    remaining = events()
    show(remaining)
    for _ in remaining:
        pass
    assert isinstance(last, Finished | Stopped)
    return isinstance(last, Finished)


def _preflight(protocol: Mapping[str, Any], folds: Sequence[Fold]) -> None:
    """Raise for what would refuse any of the models, before a folder is made."""
    recipe, options = resolve_recipe(protocol["recipe"], protocol["options"])
    start = [read_description(Path(options.init_from))] if options.init_from else []
    for fold in folds:
        description = provenance.include_source(recipe.describe(fold.split))
        if not description.labels:
            raise UsageError(
                f"{recipe.name} answers no emotion with these options, so there is nothing to test."
            )
        provenance.refuse_overlap(
            provenance.merge(description, *start), "What each model begins with", fold.split
        )
    pick_device(options.device)


def save_predictions(recipe: str, options: Mapping[str, Any], split: Split, folder: Path) -> None:
    """Save the predictions of a finished run on the test clips of the classes it was trained on (in
    the corpus `target`, where the options name one), and delete its resume state."""
    predictor = Predictor(
        folder / "checkpoint", **report.predictor_kwargs(*resolve_recipe(recipe, options))
    )
    target = options.get("target", "").lower()
    trained = [u for u in split.train if not target or u.corpus == target]
    classes = {name for u in trained if (name := class_of(u.emotion, predictor.labels))}
    predictions = predict_dataset(predictor, split.test, classes)
    write_json(folder / PREDICTIONS, predictions.to_json())
    shutil.rmtree(folder / "resume", ignore_errors=True)  # several times the size of the model


def fold_dir(run_dir: Path, fold: Fold, seed: int) -> Path:
    """The run folder of a fold and seed."""
    return run_dir / fold.folder / f"seed-{seed}"


def progress(protocol: Mapping[str, Any], folds: Sequence[Fold], run_dir: Path) -> tuple[int, int]:
    """The number of finished models, and of all models of the protocol."""
    folders = [fold_dir(run_dir, fold, seed) for fold in folds for seed in seeds(protocol)]
    return sum((folder / PREDICTIONS).exists() for folder in folders), len(folders)


def load_predictions(
    protocol: Mapping[str, Any], folds: Sequence[Fold], run_dir: Path
) -> list[list[PredictionSet]]:
    """The predictions of each fold, one set per seed; raises SerdemoError while some are missing."""
    n_done, n_models = progress(protocol, folds, run_dir)
    if n_done < n_models:
        raise SerdemoError(
            f"{n_models - n_done} of {n_models} models of {run_dir} are not finished; go on with"
            " --resume."
        )
    return [
        [
            PredictionSet.from_json(read_json(fold_dir(run_dir, fold, seed) / PREDICTIONS))
            for seed in seeds(protocol)
        ]
        for fold in folds
    ]
