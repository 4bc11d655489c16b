"""Events of a training run, and the JSON lines they are written to.

`train.fit` yields these; the command line prints them and appends them to `events.jsonl`; the page
reads that file. A run's state is the last event: nothing else says whether it finished.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from serdemo.schema.errors import SerdemoError

if TYPE_CHECKING:  # a page that shows a run need not wait for scipy
    from serdemo.metrics.significance import ChanceComparison, Outcome, PairedComparison

EVENTS = "events.jsonl"  # in a run's folder
STOP_FILE = "stop"  # there too: a run that finds it saves and stops
TAIL_BYTES = 65_536  # of a file, in which its last event lies
CLOCK_SKEW_S = 2.0  # between the clocks of processes and of files


@dataclass(frozen=True, slots=True)
class Started:
    """A run began or was resumed (`resumed_step` > 0).

    `steps` counts all optimiser steps. Clips are the split's; a recipe may leave out those without
    a class it knows. `speaker_independent` is false where one voice may be in two parts of the split.
    """

    recipe: str
    stages: tuple[str, ...]
    steps: int
    parameters: int
    train_clips: int
    valid_clips: int
    device: str
    precision: str
    resumed_step: int = 0
    processes: int = 1
    time: float = field(default_factory=time.time)
    speaker_independent: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """An optimiser step: `parts` are the terms of the loss, `left_s` the estimated seconds left."""

    stage: str
    epoch: int
    step: int
    loss: float
    parts: dict[str, float]
    learning_rate: float
    clips_per_s: float
    left_s: float
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """Validation scores after an epoch (fractions); `confusion` rows are the true classes."""

    stage: str
    epoch: int
    step: int
    metrics: dict[str, float]
    labels: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    best: bool = False
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class Saved:
    """The state to resume from was saved; `best` tells that the model was replaced too."""

    step: int
    best: bool
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a run's model is better than the checkpoint that it began with, or than chance.

    `before` names that checkpoint and `paired` compares both on all test clips; without one `before` is ""
    and `chance` holds a comparison for each test corpus. `speakers` is how many the comparison rests on.
    """

    outcome: Outcome
    before: str = ""
    paired: PairedComparison | None = None
    chance: tuple[ChanceComparison, ...] = ()
    speakers: int = 0
    unseen_speakers: bool = False

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Verdict:
        """Read what `asdict` gave; raises TypeError or KeyError for anything else."""
        from serdemo.metrics.significance import ChanceComparison, PairedComparison

        def with_tuples(figures: dict[str, Any]) -> dict[str, Any]:
            return {k: tuple(v) if isinstance(v, list) else v for k, v in figures.items()}

        paired = values["paired"]
        return cls(
            **{
                **values,
                "paired": PairedComparison(**with_tuples(paired)) if paired else None,
                "chance": tuple(ChanceComparison(**with_tuples(one)) for one in values["chance"]),
            }
        )


@dataclass(frozen=True, slots=True)
class Finished:
    """The run came to its end; `note` says what ended it early or did not work out, `verdict` how good the
    model is, None where it could not be compared."""

    step: int
    metrics: dict[str, float]
    seconds: float
    note: str = ""
    verdict: Verdict | None = None
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class Stopped:
    """The run was stopped on purpose; it is saved and can be resumed."""

    step: int
    reason: str
    seconds: float
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class Failed:
    """The run failed; `message` is one sentence."""

    message: str
    time: float = field(default_factory=time.time)


Event = Started | Step | EpochEnd | Saved | Finished | Stopped | Failed

KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Started, Step, EpochEnd, Saved, Finished, Stopped, Failed)
}


def to_line(event: Event) -> str:
    """The JSON line of an event, newline included."""
    return json.dumps({"event": type(event).__name__, **asdict(event)}, allow_nan=False) + "\n"


def from_line(line: str) -> Event:
    """The event of one JSON line; raises SerdemoError when it is none."""
    try:
        values = json.loads(line)
        kind = KINDS[values.pop("event")]
        known = {f.name for f in fields(kind)}
        if set(values) - known:
            raise KeyError(sorted(set(values) - known)[0])
        for name in ("stages", "labels"):
            if name in values:
                values[name] = tuple(values[name])
        if "confusion" in values:
            values["confusion"] = tuple(tuple(row) for row in values["confusion"])
        if values.get("verdict"):
            values["verdict"] = Verdict.from_json(values["verdict"])
        event: Event = kind(**values)
        return event
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise SerdemoError(f"This line is no event of a training run: {line[:80]!r}.") from problem


def read(path: Path) -> Iterator[Event]:
    """The events of a file, oldest first; a last line still being written is left out."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield from_line(line)


def last(path: Path) -> Event | None:
    """The last event of a file that is whole, read from its end alone; None where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = file.read().split(b"\n")[:-1]  # without what is still being written
    except OSError:
        return None
    for line in reversed(lines):
        with suppress(SerdemoError):
            return from_line(line.decode("utf-8", "replace"))
    return None


def trim(path: Path) -> None:
    """Cut off a last line that a kill left half-written, so that the next event gets its own."""
    if path.exists():
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(path, whole)


def stop_requested(folder: Path) -> str | None:
    """Why the run in a folder is to save and stop, None where nobody wants that."""
    return "asked to stop" if (folder / STOP_FILE).exists() else None


def clear_stop(folder: Path) -> None:
    """Delete the request to stop, once it is met."""
    (folder / STOP_FILE).unlink(missing_ok=True)


def drop_stale_stop(folder: Path) -> None:
    """Delete a request to stop that was meant for an earlier process; one for this process stays, even
    from before it began to train."""
    path = folder / STOP_FILE
    with suppress(OSError):
        if path.stat().st_mtime < psutil.Process().create_time() - CLOCK_SKEW_S:
            path.unlink()
