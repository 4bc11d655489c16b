"""A run's curves in the trackers that a laboratory has, by accelerate's interface to them.

Nothing goes anywhere unless `--track` names the tracker. What goes there are the numbers of the events and the
options of `config.json`, files without their folders: no clip, no speaker, no command line.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serdemo.data.corpora.corpus import Note, ignore
from serdemo.nn.description import without_folders
from serdemo.schema import settings
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import read_json, write_json
from serdemo.training import distributed
from serdemo.training.events import EpochEnd, Event, Finished, Step

TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")
PROJECT = "serdemo"  # of the runs in trackers that have projects or experiments
STATE = "trackers.json"  # in a run's folder: the run's id in each tracker
CURVES = "tensorboard"  # folder in a run's folder
# So that no maker learns of a use, a folder may be MLflow's store, and a run does not wait long for a server
# that is gone.
ENVIRONMENT = {
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "WANDB_ERROR_REPORTING": "false",
}

Log = Callable[[Event], None]


@dataclass(frozen=True)
class Tracking:
    """The trackers of a run, by the names in `TRACKERS`, and the run's name there [default: its folder's].

    `note` takes a sentence on a tracker that fails while the run goes on.
    """

    trackers: tuple[str, ...] = ()
    name: str = ""
    note: Note = ignore


NO_TRACKING = Tracking()


def parse(text: str) -> tuple[str, ...]:
    """The trackers of a text with commas between; raises UsageError for one that is not known."""
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",")))
    if unknown := [name for name in names if name not in TRACKERS]:
        raise UsageError(f"There is no tracker {unknown[0]!r}: choose of {', '.join(TRACKERS)}.")
    return names


def require(tracking: Tracking) -> None:
    """Raise SerdemoError where the library of a tracker is not installed."""
    settings.set_defaults(**ENVIRONMENT if tracking.trackers else {})  # read as they are imported
    for name in tracking.trackers:
        from accelerate.tracking import filter_trackers

        if not filter_trackers([name], "."):
            raise SerdemoError(
                f'--track {name} needs one more package: python -m pip install "serdemo[track]".'
            )


@contextmanager
def opened(tracking: Tracking, run_dir: Path, config: Mapping[str, Any]) -> Iterator[Log]:
    """Context manager for a run's trackers: yields what logs the numbers of an event, in the main process alone.

    A run that was tracked before goes on in the same run of the tracker. Raises SerdemoError for a tracker
    that cannot be begun; one that fails later is left, and `note` takes a sentence.
    """
    begun: dict[str, Any] = {}

    def log(event: Event) -> None:
        if not isinstance(event, Step | EpochEnd | Finished):
            return
        for name, tracker in list(begun.items()):
            try:
                tracker.log(scalars(event), step=event.step)
            except Exception as problem:  # each tracker has errors of its own
                del begun[name]
                tracking.note(
                    f"The tracker {name} takes no more of this run, which goes on: {_reason(problem)}."
                )

    try:
        for name in tracking.trackers if distributed.is_main_process() else ():
            begun[name] = _begin(name, tracking, run_dir, config)
        yield log
    finally:
        for name, tracker in begun.items():
            with suppress(Exception), redirect_stdout(sys.stderr):
                _finish(name, tracker)  # whatever becomes of it, the run has ended as it has


def scalars(event: Step | EpochEnd | Finished) -> dict[str, float]:
    """The numbers of an event by the name of their curve."""
    if isinstance(event, Step):
        return {
            f"{event.stage}/loss": event.loss,
            **{f"{event.stage}/loss_{name}": value for name, value in event.parts.items()},
            "learning_rate": event.learning_rate,
            "clips_per_s": event.clips_per_s,
        }
    place = f"{event.stage}/valid" if isinstance(event, EpochEnd) else "final"
    return {f"{place}_{name}": value for name, value in event.metrics.items()}


def _begin(name: str, tracking: Tracking, run_dir: Path, config: Mapping[str, Any]) -> Any:
    """A tracker of accelerate's, begun or gone on with: the run's id in it lies in `STATE`."""
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    PartialState()  # accelerate's trackers look there whether this is the main process
    path = run_dir / STATE
    ids = read_json(path) if path.exists() else {}
    title = tracking.name or run_dir.name
    known = ids.get(name)
    run_id = known or f"{title}-{uuid.uuid4().hex[:8]}"
    places, named = _arguments(name, title, known, run_id, run_dir)
    try:
        tracker = LOGGER_TYPE_TO_CLASS[name](*places, **named)
        with redirect_stdout(sys.stderr):  # stdout may be a document
            tracker.start()
        if name == "mlflow":
            run_id = tracker.tracker.info.run_id
        if name == "trackio":
            tracker.tracker.config.pop("_Username", None)
        if not known or name == "trackio":  # trackio forgets them, MLflow refuses others
            options = without_folders({"recipe": config["recipe"], **config["options"]})
            tracker.store_init_configuration(options)
        if not known:
            write_json(path, {**ids, name: run_id})
    except Exception as problem:
        raise SerdemoError(
            f"The tracker {name} could not be begun: {_reason(problem)}."
        ) from problem
    return tracker


def _arguments(
    name: str, title: str, known: str | None, run_id: str, run_dir: Path
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """What a tracker's class takes; nothing that these libraries find out about person and machine."""
    if name == "tensorboard":
        return (CURVES, str(run_dir)), {}
    if name == "mlflow":
        tags = {"mlflow.user": "", "mlflow.source.name": PROJECT, "mlflow.source.git.commit": ""}
        return (PROJECT,), {"run_name": title, "run_id": known, "tags": tags}
    if name == "trackio":
        quiet = {"embed": False, "auto_log_cpu": False, "auto_log_gpu": False}
        return (PROJECT,), {"name": run_id, "resume": "allow", **quiet}
    private = {"x_disable_meta": True, "x_disable_machine_info": True, "x_disable_stats": True}
    private |= {"disable_git": True, "disable_code": True, "x_save_requirements": False}
    own = {"console": "off", "silent": True, "host": PROJECT, "program": PROJECT}
    named = {"id": run_id, "name": title, "dir": str(run_dir), "resume": "allow"}
    return (PROJECT,), {**named, "settings": {**private, **own}}


def _finish(name: str, tracker: Any) -> None:
    """End a tracker's run; trackio's own way, which does not end it once more as the process exits."""
    if name == "trackio":
        import trackio

        trackio.finish()
    else:
        tracker.finish()


def _reason(problem: Exception) -> str:
    """The first sentence of an error of a library, without its full stop."""
    lines = str(problem).strip().splitlines() or [type(problem).__name__]
    return lines[0].split(". ")[0].strip().rstrip(".")
