"""The moving parts of one stage of training: averaged weights, optimiser, precision."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim.swa_utils import AveragedModel

from serdemo.data.dataset import Batch
from serdemo.nn.model import Model
from serdemo.schema.errors import SerdemoError
from serdemo.training import distributed
from serdemo.training.options import TrainOptions
from serdemo.training.recipes.base import Stage, Validation


def lr_factor(step: int, steps: int, warm_up: float) -> float:
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
        self.extra = stage.extra
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
        decay = min(self.options.ema_decay, (1 + float(count)) / (10 + float(count)))
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
        distributed.average_gradients(self.trained)  # first, so that all skip what overflows in one
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.trained, self.options.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.averaged.update_parameters(self.model)
        return float(loss.detach()), parts

    def validate(self) -> Validation | None:
        """By the first process alone, for all of them."""
        found = None
        if distributed.is_main_process():
            self.scored.eval()
            with self.autocast():
                found = self.stage.validate(self.scored)
        return distributed.broadcast_object(found)

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
        state["random.cpu"] = torch.cat(distributed.all_gather_object(torch.get_rng_state()))
        if self.device.type == "cuda":
            own = torch.cuda.get_rng_state(self.device)
            state["random.cuda"] = torch.cat(distributed.all_gather_object(own))
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
        if distributed.rank() < len(own):
            torch.set_rng_state(own[distributed.rank()].clone())  # a view crashes it
        if "random.cuda" in state and self.device.type == "cuda":
            own = state["random.cuda"].view(-1, len(torch.cuda.get_rng_state(self.device)))
            if distributed.rank() < len(own):
                torch.cuda.set_rng_state(own[distributed.rank()].clone(), self.device)
