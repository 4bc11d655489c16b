"""The training loop: `fit` trains a recipe's stages and yields events.

A run folder holds `checkpoint/` (the best model so far, ready for use) and `resume/` (the state to
continue from). A file named `stop` in it, looked for at every step, ends the run.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from serdemo import __version__
from serdemo.data.sampling import BatchOptions
from serdemo.data.splits import Split
from serdemo.nn import checkpoint, provenance
from serdemo.nn.description import Description, read_description, strip_folders
from serdemo.nn.device import flushed_denormals, pick_device, pick_precision
from serdemo.nn.model import Model
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.training import distributed
from serdemo.training.events import (
    EpochEnd,
    Event,
    Finished,
    Saved,
    Started,
    Step,
    Stopped,
    clear_stop,
    drop_stale_stop,
    stop_requested,
)
from serdemo.training.options import TrainOptions
from serdemo.training.recipes.base import Recipe, Stage, Validation
from serdemo.training.stepper import Trainer, lr_factor
from serdemo.training.throughput import StepTimer

STATE_FORMAT = 2  # of resume/: 2 separates biases and norms, which have no weight decay


@dataclass
class _Position:
    """Progress of a run: the next stage, epoch and batch, and the best score so far."""

    stage: int = 0
    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    epochs_since_best: int = 0
    seconds: float = 0.0  # of training in this stage
    note: str = ""  # why stages ended early, of all stages

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The position of a saved state; before version 0.2.0 `epochs_since_best` was `waited`."""
        former = {"waited": "epochs_since_best"}
        return cls(**{former.get(name, name): value for name, value in values.items()})


class _Run:
    """A run folder, the description of its model and its position."""

    def __init__(self, folder: Path, description: Description, position: _Position) -> None:
        self.folder, self.description, self.position = folder, description, position
        self.started = self.saved = time.monotonic()
        self.timer = StepTimer()

    @property
    def seconds(self) -> float:
        """Since this process started training."""
        return time.monotonic() - self.started

    def save_state(self, trainer: Trainer) -> None:
        """Save all that the next step depends on."""
        tensors = trainer.tensors()
        values: dict[str, Any] = {"at": asdict(self.position), "split": self.description.split}
        values |= {"format": STATE_FORMAT, "scaler": trainer.scaler.state_dict()}
        if distributed.is_main_process():
            checkpoint.save_state(self.folder / "resume", tensors, values)
        distributed.barrier()  # nobody may read or leave before it is written
        self.saved = time.monotonic()

    def save_model(self, trainer: Trainer, validation: Validation | None) -> None:
        """Save the averaged weights as the best model, with the scores by which they are."""
        description = self.description
        if validation is not None:
            self.position.best, self.position.metrics = validation.score, validation.metrics
            description = replace(
                description,
                metrics={**description.metrics, "validation": validation.metrics},
                temperature=validation.temperature,
                unsure_below=validation.unsure_below,
            )
        if distributed.is_main_process():
            checkpoint.save(self.folder / "checkpoint", trainer.ema_model, description)


def fit(
    recipe: Recipe,
    options: TrainOptions,
    split: Split,
    run_dir: Path,
    stop: Callable[[], str | None] = lambda: None,
    *,
    resume: bool = False,
    description: Description | None = None,
) -> Generator[Event, None, None]:
    """Train a recipe on a split; yields events, the last one Finished or Stopped.

    `stop` is called at every step and ends the run with the reason it returns; `description` is
    `recipe.describe(split)` where the caller has it. Raises SerdemoError where the data, the disk
    or the saved state do not allow to continue, UsageError for bad options.
    """
    run_dir = run_dir.resolve()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    world_size = distributed.world_size()
    if recipe.options(BatchOptions).batch_size < 2 * world_size > 2:
        raise UsageError(
            f"--batch-size must be at least two clips to each of the {world_size} processes."
        )
    device = pick_device(options.device)
    dtype = pick_precision(options.precision, device)
    drop_stale_stop(run_dir)
    description = _describe_run(
        description or recipe.describe(split), recipe, options, split, run_dir.name
    )
    _require_same_clips(split)
    saved = None
    if resume:
        saved = distributed.on_main(lambda: checkpoint.load_state(run_dir / "resume"))
    position = _Position() if saved is None else _saved_position(saved[1], split, run_dir.name)
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
    run = _Run(run_dir, description, position)
    yield Started(
        recipe=recipe.name,
        stages=tuple(stage.name for stage in stages),
        steps=sum(stage.epochs * stage.steps_per_epoch for stage in stages),
        parameters=parameters,
        train_clips=len(split.train),
        valid_clips=len(split.valid),
        device=str(device),
        precision=str(dtype).removeprefix("torch."),
        resumed_step=position.step,
        processes=world_size,
        speaker_independent=split.speaker_independent,
    )
    if distributed.running():
        torch.manual_seed(options.seed + distributed.rank() + position.step)  # each its own dropout
    with flushed_denormals():
        stopped = yield from _train_stages(run, model, stages, options, dtype, saved, stop)
    if stopped is None:
        end = run.position
        yield Finished(end.step, end.metrics, run.seconds, end.note)
    else:
        yield stopped


def _require_same_clips(split: Split) -> None:
    """Raise UsageError where the processes have different clips, or in another order."""
    clips = [(u.speaker_key, u.path.stem, u.emotion) for part in split.parts.values() for u in part]
    digest = hashlib.sha256(repr(clips).encode()).hexdigest()
    if len(set(distributed.all_gather_object(digest))) > 1:
        raise UsageError(
            "The processes have found different clips: each host needs the same corpora under the"
            " --corpus that it is given."
        )


def _describe_run(
    described: Description, recipe: Recipe, options: TrainOptions, split: Split, name: str
) -> Description:
    """The description of a run's model, with the speakers of the checkpoints it begins with."""
    described = provenance.include_source(described)
    if options.init_from:
        described = provenance.merge(described, read_description(Path(options.init_from)))
    return replace(
        described,
        name=name,
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


def _saved_position(values: Mapping[str, Any], split: Split, name: str) -> _Position:
    """The position of a saved state.

    Raises SerdemoError for one that is damaged or of another version, UsageError for another split.
    """
    try:
        position, fingerprint = _Position.from_json(values["at"]), values["split"]
    except (KeyError, TypeError, AttributeError) as problem:
        raise SerdemoError(f"The saved state of {name} is damaged.") from problem
    if values.get("format") != STATE_FORMAT:
        raise SerdemoError(
            f"{name} was begun by another version of serdemo; begin a run in another folder, with"
            " --init-from to keep what it learnt."
        )
    if fingerprint != split.fingerprint:
        raise UsageError(
            f"{name} was begun on other clips; resume with the same --corpus and speakers."
        )
    return position


def _train_stages(
    run: _Run,
    model: Model,
    stages: Sequence[Stage],
    options: TrainOptions,
    dtype: torch.dtype,
    saved: tuple[dict[str, Tensor], dict[str, Any]] | None,
    stop: Callable[[], str | None],
) -> Generator[Event, None, Stopped | None]:
    """Train the remaining stages, the first from the saved state; returns why they stopped, if so."""
    first_stage = run.position.stage
    total_steps = sum(stage.epochs * stage.steps_per_epoch for stage in stages)
    for number in range(first_stage, len(stages)):
        trainer = Trainer(model, stages[number], options, dtype)
        if saved and number == first_stage:
            trainer.restore(saved[0], saved[1].get("scaler", {}))
        elif number:  # before checkpoint/, from which this stage begins, is written again
            run.save_state(trainer)
        while run.position.epoch < stages[number].epochs:
            reason = yield from _train_epoch(run, trainer, total_steps, stop)
            if reason:
                return Stopped(run.position.step, reason, run.seconds)
        if number + 1 == len(stages):
            break
        if run.position.best is None:  # no scores to choose by: the last weights count
            model.load_state_dict(trainer.ema_model.state_dict())
        else:
            best = distributed.on_main(
                lambda: checkpoint.load(run.folder / "checkpoint")[0].state_dict()
            )
            model.load_state_dict(best)
        run.position = _Position(stage=number + 1, step=run.position.step, note=run.position.note)
    return None


def _train_epoch(
    run: _Run, trainer: Trainer, total_steps: int, stop: Callable[[], str | None]
) -> Generator[Event, None, str | None]:
    """Train the rest of an epoch, validate and save; returns why to stop, if so."""
    position, stage, options = run.position, trainer.stage, trainer.options
    stage_steps = stage.epochs * stage.steps_per_epoch
    limit_s = 60 * options.budget_minutes * stage_steps / total_steps
    started, out_of_time = time.monotonic() - position.seconds, False
    trainer.model.train()
    run.timer.start_epoch(caches_features=position.epoch == 0 and stage.caches_features)
    for batch in stage.batches(position.epoch, position.batch):
        run.timer.batch_ready()
        done = position.epoch * stage.steps_per_epoch + position.batch
        if limit_s:
            by_time = int(position.seconds / limit_s * stage_steps)
            done = max(done, distributed.broadcast_object(by_time))
        loss, parts = trainer.step(batch, lr_factor(done, stage_steps, options.warm_up))
        position.batch += 1
        position.step += 1
        # Without a limit no time enters the state: a run is a function of its seed.
        position.seconds = time.monotonic() - started if limit_s else 0.0
        run.timer.step_done()
        remaining = stage.steps_per_epoch - position.batch
        later = max(0, total_steps - position.step - remaining)
        eta_s = run.timer.eta_s(remaining, later, stage.epochs - position.epoch)
        yield Step(
            stage=stage.name,
            epoch=position.epoch,
            step=position.step,
            loss=loss,
            parts=parts,
            learning_rate=trainer.optimizer.param_groups[0]["lr"],
            clips_per_s=len(batch) * distributed.world_size() / run.timer.step_s,
            left_s=min(eta_s, max(0.0, limit_s - position.seconds) if limit_s else math.inf),
        )
        reason = stop_requested(run.folder) or stop()
        save_due = time.monotonic() - run.saved > 60 * options.save_minutes
        reason, out_of_time, save_due = distributed.broadcast_object(
            (reason, 0 < limit_s <= position.seconds, save_due)
        )
        if reason:
            unscored = position.best is None  # no epoch has ended yet: save these weights
            if unscored:
                run.save_model(trainer, None)
            run.save_state(trainer)
            if distributed.is_main_process():
                clear_stop(run.folder)
            yield Saved(position.step, unscored)
            return reason
        if save_due:
            run.save_state(trainer)
            yield Saved(position.step, False)
        if out_of_time:
            break
    yield from _end_epoch(run, trainer, out_of_time)
    return None


def _end_epoch(run: _Run, trainer: Trainer, out_of_time: bool) -> Generator[Event, None, None]:
    """Validate and save; end the stage where its time is up or its patience is exhausted."""
    position, stage, options = run.position, trainer.stage, trainer.options
    validation = trainer.validate()
    is_best = validation is None or position.best is None or validation.score > position.best
    if is_best:
        run.save_model(trainer, validation)
    epoch = position.epoch
    position.epochs_since_best = 0 if is_best else position.epochs_since_best + 1
    position.epoch, position.batch = epoch + 1, 0
    if out_of_time or 0 < options.early_stop <= position.epochs_since_best:
        why = f"{position.epochs_since_best} epochs brought nothing better"
        why = "its time was up" if out_of_time else why
        position.note += (
            f"Stage {stage.name} ended after epoch {epoch + 1} of {stage.epochs}: {why}. "
        )
        position.epoch = stage.epochs
    run.save_state(trainer)
    run.timer.end_epoch()
    if validation is not None:
        yield EpochEnd(
            stage=stage.name,
            epoch=epoch,
            step=position.step,
            metrics=validation.metrics,
            labels=validation.labels,
            confusion=validation.confusion,
            best=is_best,
        )
    yield Saved(position.step, is_best)
