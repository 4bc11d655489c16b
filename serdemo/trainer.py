"""The moving parts of one stage of training: averaged weights, optimiser, precision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim.swa_utils import AveragedModel

from serdemo import checkpoint, processes, recipes
from serdemo.batches import Batch
from serdemo.model import Model
from serdemo.options import Options, option, pick, specs
from serdemo.recipes import Recipe, Stage, Validation
from serdemo.schema import SerdemoError


@dataclass(frozen=True)
class TrainOptions(Options):
    """How a run is carried out, whatever the recipe."""

    seed: int = option(0, "seed of weights, order and augmentation", low=0, high=2**31 - 1)
    start: str = option("", "checkpoint folder whose weights to begin with [default: none]")
    device: str = option("auto", "auto, cpu, cuda, cuda:1 or mps")
    precision: str = option(
        "auto", "number format of the forward pass", choices=("auto", "fp32", "bf16", "fp16")
    )
    weight_decay: float = option(0.05, "AdamW's weight decay", low=0.0, high=1.0)
    warm_up: float = option(0.05, "share of the steps in which the rate rises", low=0.0, high=0.9)
    clip_norm: float = option(1.0, "largest norm of the gradient", low=0.01, high=1000.0)
    average: float = option(
        0.998, "decay of the averaged weights that are scored and saved", low=0.0, high=0.99999
    )
    early_stop: int = option(
        0, "end a stage after so many epochs without a better one; 0 for never", low=0, high=10_000
    )
    budget_minutes: float = option(
        0.0,
        "time to train in, shared by the stages by their steps; the learning rate falls with it;"
        " 0 for no limit",
        low=0.0,
        high=1e6,
        advanced=False,
    )
    save_minutes: float = option(5.0, "longest time between saved states", low=0.01, high=1000.0)
    threads: int = option(0, "CPU threads; 0 leaves it to torch", low=0, high=256)


def chosen(name: str, values: Mapping[str, Any]) -> tuple[Recipe, TrainOptions]:
    """A recipe and how it is carried out, from a flat table of options.

    What is not given is the recipe's own default, and with `start` the encoder is that of the
    checkpoint to begin with. Raises UsageError for a recipe or an option that is not known,
    SerdemoError for a checkpoint that cannot be read.
    """
    kind = recipes.get(name)
    begun = _begun(kind, values["start"]) if values.get("start") else {}
    *groups, options = pick((*kind.groups, TrainOptions), {**kind.presets, **begun, **values})
    assert isinstance(options, TrainOptions)
    return kind({type(group): group for group in groups}), options


def _begun(kind: type[Recipe], start: str) -> dict[str, Any]:
    """The options of the recipe that say which encoder a checkpoint has."""
    told = checkpoint.describe(Path(start))
    source = {"source": start} if told.encoder in kind.sourced else {}
    known = {spec.name for group in kind.groups for spec in specs(group)}
    options = {"encoder": told.encoder, **told.encoder_options, **source}
    return {name: value for name, value in options.items() if name in known}


def rate(step: int, steps: int, warm_up: float) -> float:
    """Share of the peak learning rate: a linear rise, then half a cosine down to 1 %."""
    rise = max(1, round(steps * warm_up))
    if step < rise:
        return (step + 1) / rise
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def _decayed(groups: list[dict[str, Any]], weight_decay: float) -> list[dict[str, Any]]:
    """Each group as two: matrices decay; biases, norms and single weights do not."""
    parts = []
    for group in groups:
        for decays in (True, False):
            chosen = [p for p in group["params"] if (p.ndim > 1) == decays]
            parts.append({**group, "params": chosen, "weight_decay": weight_decay * decays})
    return [part for part in parts if part["params"]]


def _same(one: Tensor, other: Tensor | None) -> bool:
    """Whether two tensors are one in memory."""
    return other is not None and one.data_ptr() == other.data_ptr()


class Trainer:
    """The moving parts of one stage: averaged weights, optimiser, scaler, and their state."""

    def __init__(
        self, model: Model, stage: Stage, options: TrainOptions, dtype: torch.dtype
    ) -> None:
        self.model, self.stage, self.options, self.dtype = model, stage, options, dtype
        self.device = next(model.parameters()).device
        self.groups = stage.parameter_groups()
        self.extra: nn.Module = getattr(stage, "extra", nn.Module())
        # In one kernel: on a CPU the many small tensors else take a tenth of the step.
        fused = self.device.type in ("cpu", "cuda")
        groups = _decayed(self.groups, options.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, fused=fused)
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.scaler = GradScaler(self.device.type, enabled=dtype == torch.float16)
        self.averaged = AveragedModel(model, multi_avg_fn=self._average)
        self.trained = [p for group in self.groups for p in group["params"]]
        changing = {id(parameter) for parameter in self.trained}
        for own, kept in zip(model.parameters(), self.scored.parameters(), strict=True):
            if id(own) not in changing:
                kept.data = own.data  # the average of what stays as it is needs no place and time

    def _average(self, kept: Any, fresh: Any, count: Any) -> None:
        # Early on the average must forget the random start, so the decay rises with the count.
        decay = min(self.options.average, (1 + float(count)) / (10 + float(count)))
        changing = [pair for pair in zip(kept, fresh, strict=True) if not _same(*pair)]
        if changing:
            torch._foreach_lerp_([k for k, _ in changing], [f for _, f in changing], 1 - decay)

    @property
    def scored(self) -> Model:
        """The averaged weights: what is validated and saved."""
        averaged: Model = self.averaged.module  # type: ignore[assignment]
        return averaged

    def autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def step(self, batch: Batch, share: float) -> tuple[float, dict[str, float]]:
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * share
        with self.autocast():
            loss, parts = self.stage.loss(batch.to(self.device))
        if not torch.isfinite(loss):
            raise SerdemoError("The loss is no longer a number; try a lower --learning-rate.")
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        processes.average_gradients(self.trained)  # first, so that all skip what overflows in one
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.trained, self.options.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.averaged.update_parameters(self.model)
        return float(loss.detach()), parts

    def validate(self) -> Validation | None:
        """By the first process alone, for all of them."""
        found = None
        if processes.first():
            self.scored.eval()
            with self.autocast():
                found = self.stage.validate(self.scored)
        return processes.agreed(found)

    def tensors(self) -> dict[str, Tensor]:
        """All that the next step depends on, by name; asked for in every process at once."""
        model = self.model.state_dict()
        state = {f"model.{k}": v for k, v in model.items()}
        for name, kept in self.averaged.state_dict().items():
            if not _same(kept, model.get(name.removeprefix("module."))):
                state[f"average.{name}"] = kept
        state |= {f"extra.{k}": v for k, v in self.extra.state_dict().items()}
        for number, values in self.optimizer.state_dict()["state"].items():
            state |= {f"adamw.{number}.{key}": value for key, value in values.items()}
        # Those of all processes in one row: each has its own dropout.
        state["random.cpu"] = torch.cat(processes.everyone(torch.get_rng_state()))
        if self.device.type == "cuda":
            own = torch.cuda.get_rng_state(self.device)
            state["random.cuda"] = torch.cat(processes.everyone(own))
        return state

    def restore(self, state: dict[str, Tensor], scaler: dict[str, Any]) -> None:
        def under(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

        try:
            model = under("model.")
            self.model.load_state_dict(model)
            kept = {f"module.{k}": v for k, v in model.items()} | under("average.")
            self.averaged.load_state_dict(kept)
            self.extra.load_state_dict(under("extra."))
            moments: dict[int, dict[str, Tensor]] = {}
            for name, value in under("adamw.").items():
                number, key = name.split(".")
                moments.setdefault(int(number), {})[key] = value
            whole = self.optimizer.state_dict()
            self.optimizer.load_state_dict(
                {"state": moments, "param_groups": whole["param_groups"]}
            )
            self.scaler.load_state_dict(scaler)
            self._set_random(state)
        except (RuntimeError, KeyError, ValueError) as problem:
            raise SerdemoError(
                "The saved state does not fit this model; resume with the options the run began with."
            ) from problem

    def _set_random(self, state: dict[str, Tensor]) -> None:
        """This process's generators as they were; one more than there were keeps its own."""
        own = state["random.cpu"].view(-1, len(torch.get_rng_state()))
        if processes.rank() < len(own):
            torch.set_rng_state(own[processes.rank()].clone())  # a view crashes it
        if "random.cuda" in state and self.device.type == "cuda":
            own = state["random.cuda"].view(-1, len(torch.cuda.get_rng_state(self.device)))
            if processes.rank() < len(own):
                torch.cuda.set_rng_state(own[processes.rank()].clone(), self.device)
