"""A training run as a user meets it: a folder with its options, events, model, report and card."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from serdemo import card, checkpoint, events, processes, recipes
from serdemo.devices import pick_device
from serdemo.evaluate import Report, calibrate, evaluate
from serdemo.events import Event, Failed, Finished
from serdemo.neutral import reference
from serdemo.options import pick
from serdemo.predict import Predictor
from serdemo.schema import SerdemoError, UsageError
from serdemo.splits import Split
from serdemo.storage import read_json, write_json
from serdemo.train import fit
from serdemo.trainer import TrainOptions

TOLD = ("n", "speakers", "uar", "uar_ci95", "ci95_over", "wa", "ece", "unseen_speakers")
EVENTS, CONFIG, REPORT = "events.jsonl", "config.json", "report.json"


def train(
    recipe_name: str,
    values: Mapping[str, Any],
    split: Split,
    run_dir: Path,
    *,
    command: str = "",
    resume: bool = False,
    stop_after: float | None = None,
) -> Iterator[Event]:
    """Carry out a run, writing each event to `events.jsonl`; at its end, score the test speakers.

    Raises UsageError for bad options or a folder that holds another run, SerdemoError for a
    failure, which is also the last event written.
    """
    began = time.monotonic()
    config = _config(recipe_name, values, command, run_dir, resume)
    kind = recipes.get(recipe_name)
    *groups, options = pick((*kind.groups, TrainOptions), {**kind.presets, **config["options"]})
    assert isinstance(options, TrainOptions)
    recipe = kind({type(group): group for group in groups})
    recipe.describe(split)  # what is plainly wrong is told before a folder is made
    pick_device(options.device)
    if processes.first():
        _prepare(run_dir, resume)
        write_json(run_dir / CONFIG, config)
        events.trim(run_dir / EVENTS)
    path = run_dir / EVENTS if processes.first() else Path(os.devnull)
    with _interrupts() as interrupted, path.open("a", encoding="utf-8") as log:

        def stop() -> str | None:
            if interrupted():
                return "interrupted"
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
            for event in fit(recipe, options, split, run_dir, stop, resume=resume):
                if isinstance(event, Finished) and processes.first():
                    if not recipe.unscored:
                        event = _score(event, run_dir, split, config["command"], options.device)
                    event = replace(event, note=f"{event.note}{recipe.unscored}")
                write(event)
                if (
                    isinstance(event, Finished) and processes.first()
                ):  # with its end, the log belongs to the model
                    shutil.copyfile(run_dir / EVENTS, run_dir / "checkpoint" / EVENTS)
                yield event
        except (MemoryError, torch.OutOfMemoryError) as problem:
            told = "There is too little memory for that; resume with a smaller --batch-size."
            write(Failed(told))
            raise SerdemoError(told) from problem
        except Exception as problem:
            known = isinstance(problem, SerdemoError)
            write(Failed(str(problem) if known else f"{type(problem).__name__}: {problem}"))
            raise


def _score(event: Finished, run_dir: Path, split: Split, command: str, device: str) -> Finished:
    """The last event, with a note where the trained model could not be scored."""
    try:
        report(run_dir, split, command, device)
    except SerdemoError as problem:
        told = f"The model is trained and saved, but not scored: {problem}"
        return replace(event, note=f"{event.note}{told}")
    return event


def _config(
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
    return {**before, "options": {**before["options"], **values}}


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
def _interrupts() -> Iterator[Callable[[], bool]]:
    """While inside, Ctrl-C and SIGTERM are noted in place of breaking off, so that the run can save."""
    seen: list[int] = []

    def note(number: int, frame: object) -> None:
        seen.append(number)
        if not processes.running():  # a launcher hands on what the terminal has sent already
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


def report(run_dir: Path, split: Split, command: str, device: str = "auto") -> list[Report]:
    """Score a run's checkpoint on the split's test speakers and write report and card beside it.

    First its temperature and its "not sure" are fitted on the speakers it was chosen by, and its
    reference of neutral speech is taken from those it was trained on.
    """
    folder = run_dir / "checkpoint"
    predictor = Predictor(folder, device=device)
    fitted = calibrate(predictor, split.valid)
    checkpoint.redescribe(folder, replace(fitted, neutral=reference(predictor, split.train)))
    predictor = Predictor(folder, device=device)
    reports = []
    for corpus in sorted({u.corpus for u in split.test}):
        clips = [u for u in split.test if u.corpus == corpus]
        try:
            reports.append(evaluate(predictor, corpus, clips))
        except UsageError:
            continue  # no clip of this corpus has an emotion the model knows
    figures = {one.corpus: one.to_json() for one in reports}
    write_json(folder / REPORT, list(figures.values()))
    described = replace(
        predictor.description,
        metrics={
            **predictor.description.metrics,
            "test": {
                corpus: {key: found[key] for key in TOLD} for corpus, found in figures.items()
            },
        },
    )
    checkpoint.redescribe(folder, described)
    text = card.write(described, reports, command)
    (folder / "README.md").write_text(text, encoding="utf-8")
    return reports
