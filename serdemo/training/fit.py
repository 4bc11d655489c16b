"""The one training loop: `fit` runs a recipe's stages and yields events.

A run folder holds `checkpoint/` (the best model so far, ready for use) and `resume/` (the state to
go on from). A file named `stop` in it, looked for at every step, ends the run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from serdemo import __version__
from serdemo.data.sampling import BatchOptions
from serdemo.data.splits import Split
from serdemo.nn import checkpoint, provenance
from serdemo.nn.description import Description, read_description, strip_folders
from serdemo.nn.device import flushed_denormals, pick_device, pick_precision
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.training import distributed, events
from serdemo.training.events import EpochEnd, Event, Finished, Saved, Started, Step, Stopped
from serdemo.training.options import TrainOptions
from serdemo.training.recipes.base import Recipe, Validation
from serdemo.training.stepper import Trainer, lr_factor
from serdemo.training.throughput import StepTimer

STATE_FORMAT = 2  # of resume/: 2 keeps biases and norms apart, which do not decay


@dataclass
class _Position:
    """Where a run stands: the next stage, epoch and batch, and the best score so far."""

    stage: int = 0
    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    waited: int = 0  # epochs since the best
    seconds: float = 0.0  # of training in this stage
    note: str = ""  # why stages ended early, of all stages


class _Run:
    """A run folder with what it takes to write to it."""

    def __init__(self, folder: Path, description: Description, at: _Position) -> None:
        self.folder, self.description, self.at = folder, description, at
        self.began = self.saved = time.monotonic()
        self.pace = StepTimer()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def save_state(self, trainer: Trainer) -> None:
        tensors = trainer.tensors()
        values: dict[str, Any] = {"at": asdict(self.at), "split": self.description.split}
        values |= {"format": STATE_FORMAT, "scaler": trainer.scaler.state_dict()}
        if distributed.is_main_process():
            checkpoint.save_state(self.folder / "resume", tensors, values)
        distributed.barrier()  # nobody may read or leave before it is written
        self.saved = time.monotonic()

    def save_model(self, trainer: Trainer, found: Validation | None) -> None:
        description = self.description
        if found is not None:
            self.at.best, self.at.metrics = found.score, found.metrics
            description = replace(
                description,
                metrics={**description.metrics, "validation": found.metrics},
                temperature=found.temperature,
                unsure_below=found.unsure_below,
            )
        if distributed.is_main_process():
            checkpoint.save(self.folder / "checkpoint", trainer.scored, description)


def fit(
    recipe: Recipe,
    options: TrainOptions,
    split: Split,
    run_dir: Path,
    stop: Callable[[], str | None] = lambda: None,
    *,
    resume: bool = False,
) -> Generator[Event, None, None]:
    """Train a recipe on a split; yields events, the last one Finished or Stopped.

    `stop` is asked at every step and ends the run with the reason it returns. Raises SerdemoError
    when the data, the disk or the saved state do not allow to go on, UsageError for bad options.
    """
    run_dir = run_dir.resolve()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    size = recipe.options(BatchOptions).batch_size
    if size < 2 * distributed.world_size() > 2:
        raise UsageError(
            f"--batch-size must be at least two clips to each of the {distributed.world_size()} processes."
        )
    device = pick_device(options.device)
    dtype = pick_precision(options.precision, device)
    events.drop_stale_stop(run_dir)
    described = provenance.include_source(recipe.describe(split))
    if options.init_from:
        described = provenance.merge(described, read_description(Path(options.init_from)))
    description = replace(
        described,
        name=run_dir.name,
        recipe=recipe.name,
        options={**recipe.to_json(), **options.to_json()},
        trained_on=provenance.merge_tables(
            described.trained_on, provenance.speakers_of(split.train)
        ),
        selected_on=provenance.merge_tables(
            described.selected_on, provenance.speakers_of(split.valid)
        ),
        split=split.fingerprint,
        code_version=__version__,
    )
    saved, at = None, _Position()
    if resume and (saved := checkpoint.load_state(run_dir / "resume")):
        try:
            at, begun_on = _Position(**saved[1]["at"]), saved[1]["split"]
        except (KeyError, TypeError) as problem:
            raise SerdemoError(f"The saved state of {run_dir.name} is damaged.") from problem
        if saved[1].get("format") != STATE_FORMAT:
            raise SerdemoError(
                f"{run_dir.name} was begun by another version of serdemo; begin a run in another"
                " folder, with --init-from to keep what it learnt."
            )
        if begun_on != split.fingerprint:
            raise UsageError(
                f"{run_dir.name} was begun on other clips; resume with the same --corpus and"
                " speakers."
            )
    model = checkpoint.build(description)
    if saved is None:
        if options.init_from:
            checkpoint.init_weights_from(Path(options.init_from), model)
        else:
            recipe.init_weights(model)
    model.to(device)
    description = strip_folders(description)
    parameters = sum(p.numel() for p in model.parameters())
    description.metrics["parameters"] = parameters
    stages = recipe.stages(model, split, options.seed)
    run, first_stage = _Run(run_dir, description, at), at.stage
    total = sum(stage.epochs * stage.steps_per_epoch for stage in stages)
    yield Started(
        recipe=recipe.name,
        stages=tuple(stage.name for stage in stages),
        steps=total,
        parameters=parameters,
        train_clips=len(split.train),
        valid_clips=len(split.valid),
        device=str(device),
        precision=str(dtype).removeprefix("torch."),
        resumed_step=run.at.step,
        processes=distributed.world_size(),
    )
    if distributed.running():
        torch.manual_seed(options.seed + distributed.rank() + run.at.step)  # each its own dropout
    with flushed_denormals():
        for number in range(first_stage, len(stages)):
            trainer = Trainer(model, stages[number], options, dtype)
            if saved and number == first_stage:
                trainer.restore(saved[0], saved[1].get("scaler", {}))
            elif number:  # before checkpoint/, from which this stage begins, is written again
                run.save_state(trainer)
            while run.at.epoch < stages[number].epochs:
                reason = yield from _epoch(run, trainer, total, stop)
                if reason:
                    yield Stopped(run.at.step, reason, run.seconds)
                    return
            if number + 1 == len(stages):
                break
            distributed.barrier()  # until the first has saved
            if run.at.best is None:  # nothing to choose by: the last weights count
                model.load_state_dict(trainer.scored.state_dict())
            else:
                best, _ = checkpoint.load(run.folder / "checkpoint", device)
                model.load_state_dict(best.state_dict())
            run.at = _Position(stage=number + 1, step=run.at.step, note=run.at.note)
    yield Finished(run.at.step, run.at.metrics, run.seconds, run.at.note)


def _epoch(
    run: _Run, trainer: Trainer, total: int, stop: Callable[[], str | None]
) -> Generator[Event, None, str | None]:
    """The rest of an epoch, with validation and saving; returns why to stop, if so."""
    at, stage, options = run.at, trainer.stage, trainer.options
    stage_steps = stage.epochs * stage.steps_per_epoch
    limit = 60 * options.budget_minutes * stage_steps / total
    began, over = time.monotonic() - at.seconds, False
    trainer.model.train()
    run.pace.begin(fetches=at.epoch == 0 and stage.caches_features)
    for batch in stage.batches(at.epoch, at.batch):
        run.pace.came()
        done = at.epoch * stage.steps_per_epoch + at.batch
        if limit:
            done = max(done, distributed.broadcast_object(int(at.seconds / limit * stage_steps)))
        loss, parts = trainer.step(batch, lr_factor(done, stage_steps, options.warm_up))
        at.batch += 1
        at.step += 1
        at.seconds = time.monotonic() - began if limit else 0.0  # else a run is its seed alone
        run.pace.taken()
        rest, passes = stage.steps_per_epoch - at.batch, stage.epochs - at.epoch
        left = run.pace.left(rest, max(0, total - at.step - rest), passes)
        yield Step(
            stage=stage.name,
            epoch=at.epoch,
            step=at.step,
            loss=loss,
            parts=parts,
            learning_rate=trainer.optimizer.param_groups[0]["lr"],
            clips_per_s=len(batch) * distributed.world_size() / run.pace.each,
            left_s=min(left, max(0.0, limit - at.seconds) if limit else math.inf),
        )
        reason = events.stop_requested(run.folder) or stop()
        due = time.monotonic() - run.saved > 60 * options.save_minutes
        reason, over, due = distributed.broadcast_object((reason, 0 < limit <= at.seconds, due))
        if reason:
            unseen = at.best is None  # no epoch has ended yet: what there is must serve
            if unseen:
                run.save_model(trainer, None)
            run.save_state(trainer)
            if distributed.is_main_process():
                events.clear_stop(run.folder)
            yield Saved(at.step, unseen)
            return reason
        if due:
            run.save_state(trainer)
            yield Saved(at.step, False)
        if over:
            break
    found = trainer.validate()
    better = found is None or at.best is None or found.score > at.best
    if better:
        run.save_model(trainer, found)
    ended = at.epoch
    at.epoch, at.batch, at.waited = at.epoch + 1, 0, 0 if better else at.waited + 1
    if over or 0 < options.early_stop <= at.waited:
        why = "its time was up" if over else f"{at.waited} epochs brought nothing better"
        at.note += f"Stage {stage.name} ended after epoch {at.epoch} of {stage.epochs}: {why}. "
        at.epoch = stage.epochs
    run.save_state(trainer)
    run.pace.end()
    if found is not None:
        yield EpochEnd(
            stage=stage.name,
            epoch=ended,
            step=at.step,
            metrics=found.metrics,
            labels=found.labels,
            confusion=found.confusion,
            best=better,
        )
    yield Saved(at.step, better)
    return None
