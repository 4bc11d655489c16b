"""The folder of a run: what was asked for, and the log of what happened, whatever is trained in it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from serdemo.runs import process
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import read_json, write_json
from serdemo.schema.renamed_options import current_options
from serdemo.training import distributed, events
from serdemo.training.events import EVENTS, Event, Failed

CONFIG = "config.json"

Stop = Callable[[], str | None]
Write = Callable[[Event], None]


def load_config(
    recipe_name: str, values: Mapping[str, Any], command: str, run_dir: Path, resume: bool
) -> dict[str, Any]:
    """What `config.json` holds: a resumed run keeps what it began with, but for values given."""
    if not resume or not (run_dir / CONFIG).exists():
        return {"recipe": recipe_name, "command": command, "options": dict(values)}
    before = read_json(run_dir / CONFIG)
    kinds = {"options": dict, "command": str}
    if not isinstance(before, dict) or any(
        not isinstance(before.get(name), kind) for name, kind in kinds.items()
    ):
        raise SerdemoError(f"{CONFIG} in {run_dir} is damaged; begin a run in another folder.")
    if before.get("recipe") != recipe_name:
        raise UsageError(
            f"{run_dir.name} was begun with the recipe {before.get('recipe')}, not {recipe_name}."
        )
    return {**before, "options": {**current_options(before["options"]), **current_options(values)}}


@contextmanager
def open_run(
    run_dir: Path,
    config: Mapping[str, Any],
    *,
    resume: bool,
    stop_after: float | None = None,
    stop_reason: Stop = lambda: None,
) -> Iterator[tuple[Stop, Write, Stop]]:
    """While inside, a run has its folder: yields what says why to stop, what writes an event, and what
    says why to stop whatever the time. That this process works in the folder is told in it.

    A run ends by Ctrl-C or SIGTERM, `stop_after` seconds, or what `stop_reason` returns. An error is
    written as the last event. Raises UsageError for a folder that holds another run, SerdemoError
    where the disk or the memory is full.
    """
    began = time.monotonic()
    if distributed.is_main_process():
        _prepare(run_dir, resume)
        write_json(run_dir / CONFIG, config)
        events.trim(run_dir / EVENTS)
    path = run_dir / EVENTS if distributed.is_main_process() else Path(os.devnull)
    mine = process.lock_folder(run_dir) if distributed.is_main_process() else nullcontext()
    with interrupts() as interrupted, mine, path.open("a", encoding="utf-8") as log:

        def pressed() -> str | None:
            return "interrupted" if interrupted() else stop_reason()

        def stop() -> str | None:
            if reason := pressed():
                return reason
            late = stop_after is not None and time.monotonic() - began >= stop_after
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
            yield stop, write, pressed
        except (MemoryError, torch.OutOfMemoryError) as problem:
            told = "There is too little memory for that; resume with a smaller --batch-size."
            write(Failed(told))
            raise SerdemoError(told) from problem
        except Exception as problem:
            known = isinstance(problem, SerdemoError)
            write(Failed(str(problem) if known else f"{type(problem).__name__}: {problem}"))
            raise


def _prepare(run_dir: Path, resume: bool) -> None:
    if run_dir.exists() and not run_dir.is_dir():
        raise UsageError(f"{run_dir} is a file; --run needs a folder.")
    if (run_dir / EVENTS).exists() and not resume:
        raise UsageError(f"{run_dir} already holds a run; add --resume, or name another folder.")
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise SerdemoError(
            f"The folder {run_dir} could not be made: {problem.strerror}."
        ) from problem


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """While inside, Ctrl-C and SIGTERM are noted in place of breaking off, so that a run can save."""
    seen: list[int] = []

    def note(number: int, frame: object) -> None:
        seen.append(number)
        if not distributed.running():  # a launcher hands on what the terminal has sent already
            signal.signal(number, before[signal.Signals(number)])  # a second one breaks off

    try:
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {n: signal.signal(n, note) or signal.SIG_DFL for n in numbers}
    except ValueError:  # not in the main thread: whoever owns it deals with interrupts
        yield lambda: False
        return
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
