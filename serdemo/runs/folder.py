"""The folder of a run: its options, its log and its lock, whatever is trained in it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch

from serdemo.runs import process
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import make_folder, read_json, write_json
from serdemo.schema.renamed_options import current_options
from serdemo.training import distributed, events
from serdemo.training.events import EVENTS, Event, Failed

CONFIG = "config.json"

StopReason = Callable[[], str | None]


class OpenRun(NamedTuple):
    """What a run does with its folder while that is open.

    `stop_reason()` says why the run is to stop, or None; `user_stop()` the same but for the time limit;
    `write(event)` appends to the log.
    """

    stop_reason: StopReason
    write: Callable[[Event], None]
    user_stop: StopReason


def load_config(
    recipe_name: str, values: Mapping[str, Any], command: str, run_dir: Path, resume: bool
) -> dict[str, Any]:
    """The content of `config.json`: recipe, command and options. A resumed run keeps its own, but for the
    options in `values`.

    Raises UsageError for a run of another recipe, SerdemoError for a damaged file.
    """
    path = run_dir / CONFIG
    match distributed.on_main(lambda: [read_json(path)] if resume and path.exists() else []):
        case []:
            return {"recipe": recipe_name, "command": command, "options": dict(values)}
        case [{"options": dict(options), "command": str(), **rest} as saved]:
            if rest.get("recipe") != recipe_name:
                raise UsageError(
                    f"{run_dir.name} was begun with the recipe {rest.get('recipe')}, not {recipe_name}."
                )
            return {**saved, "options": {**current_options(options), **current_options(values)}}
    raise SerdemoError(f"{CONFIG} in {run_dir} is damaged; begin a run in another folder.")


@contextmanager
def open_run(
    run_dir: Path,
    config: Mapping[str, Any],
    *,
    resume: bool,
    stop_after: float | None = None,
    stop_reason: StopReason = lambda: None,
) -> Iterator[OpenRun]:
    """Context manager for a run's folder: writes `config.json`, locks the folder, opens the log.

    The run is to stop on Ctrl-C or SIGTERM, after `stop_after` seconds, or when `stop_reason` returns a
    reason. An error is written as the last event. Raises UsageError for a folder that holds another run,
    SerdemoError where the disk or the memory is full.
    """
    start_time, path = time.monotonic(), Path(os.devnull)
    lock: AbstractContextManager[None] = nullcontext()
    if distributed.is_main_process():
        if run_dir.exists() and not run_dir.is_dir():
            raise UsageError(f"{run_dir} is a file; --run needs a folder.")
        path, lock = run_dir / EVENTS, process.lock_folder(run_dir)
        if path.exists() and not resume:
            raise UsageError(
                f"{run_dir} already holds a run; add --resume, or name another folder."
            )
        make_folder(run_dir)
        write_json(run_dir / CONFIG, config)
        events.trim(path)
    with interrupts() as interrupted, lock, path.open("a", encoding="utf-8") as log:

        def user_stop() -> str | None:
            return "interrupted" if interrupted() else stop_reason()

        def stop() -> str | None:
            if reason := user_stop():
                return reason
            late = stop_after is not None and time.monotonic() - start_time >= stop_after
            return f"after {stop_after:g} s, as asked" if late else None

        def write(event: Event) -> None:
            try:
                log.write(events.to_line(event))
                log.flush()
            except OSError as problem:
                raise SerdemoError(
                    f"The log of the run could not be written: {problem.strerror}; the last saved"
                    " state is untouched, so make room and --resume."
                ) from problem

        try:
            yield OpenRun(stop, write, user_stop)
        except (MemoryError, torch.OutOfMemoryError) as problem:
            sentence = "There is too little memory for that; resume with a smaller --batch-size."
            write(Failed(sentence))
            raise SerdemoError(sentence) from problem
        except Exception as problem:
            kind = "" if isinstance(problem, SerdemoError) else f"{type(problem).__name__}: "
            write(Failed(f"{kind}{problem}"))
            raise


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Context manager that delays Ctrl-C and SIGTERM so that a run can save; yields whether one came."""
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        received.append(number)
        if not distributed.running():  # a launcher hands on what the terminal has sent already
            signal.signal(number, previous[signal.Signals(number)])  # a second one breaks off

    try:
        numbers = (signal.SIGINT, signal.SIGTERM)
        previous = {n: signal.signal(n, note) or signal.SIG_DFL for n in numbers}
    except ValueError:  # not in the main thread: whoever owns it deals with interrupts
        yield lambda: False
        return
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
