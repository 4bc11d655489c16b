"""One optimiser step of a stage: precision, clipping, AdamW, exponential moving average."""

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
    """Learning rate at a step as a share of its peak: linear warm-up, then cosine decay to 1 %."""
    warm_up_steps = max(1, round(steps * warm_up))
    if step < warm_up_steps:
        return (step + 1) / warm_up_steps
    progress = (step - warm_up_steps) / max(1, steps - warm_up_steps)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))


def _decay_groups(groups: list[dict[str, Any]], weight_decay: float) -> list[dict[str, Any]]:
    """Each group in two: weight decay for matrices, none for biases, norms and single weights."""
    parts = []
    for group in groups:
        for decays in (True, False):
            chosen = [p for p in group["params"] if (p.ndim > 1) == decays]
            parts.append({**group, "params": chosen, "weight_decay": weight_decay * decays})
    return [part for part in parts if part["params"]]


def _is_shared(tensor: Tensor, other: Tensor | None) -> bool:
    """Whether two tensors share their memory."""
    return other is not None and tensor.data_ptr() == other.data_ptr()


class Trainer:
    """Model, EMA of its weights, optimiser and gradient scaler of one stage, and their state."""

    def __init__(
        self, model: Model, stage: Stage, options: TrainOptions, dtype: torch.dtype
    ) -> None:
        self.model, self.stage, self.options, self.dtype = model, stage, options, dtype
        self.device = next(model.parameters()).device
        self.groups = stage.parameter_groups()
        self.extra = stage.extra
        # In one kernel: else the many small tensors take a tenth of a step on a CPU.
        fused = self.device.type in ("cpu", "cuda")
        groups = _decay_groups(self.groups, options.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, fused=fused)
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.scaler = GradScaler(self.device.type, enabled=dtype == torch.float16)
        self.ema = AveragedModel(model, multi_avg_fn=self._update_average)
        self.trained = [p for group in self.groups for p in group["params"]]
        trained = {id(parameter) for parameter in self.trained}
        for own, average in zip(model.parameters(), self.ema_model.parameters(), strict=True):
            if id(own) not in trained:
                average.data = own.data  # frozen weights need no average of their own

    def _update_average(self, averages: Any, weights: Any, count: Any) -> None:
        # Early on the average must forget the random start, so the decay rises with the count.
        decay = min(self.options.ema_decay, (1 + float(count)) / (10 + float(count)))
        pairs = [pair for pair in zip(averages, weights, strict=True) if not _is_shared(*pair)]
        if pairs:
            torch._foreach_lerp_([a for a, _ in pairs], [w for _, w in pairs], 1 - decay)

    @property
    def ema_model(self) -> Model:
        """The model with averaged weights, which is validated and saved."""
        model: Model = self.ema.module  # type: ignore[assignment]
        return model

    def autocast(self) -> AbstractContextManager[Any]:
        """Context of the forward pass in the run's number format."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def step(self, batch: Batch, lr_share: float) -> tuple[float, dict[str, float]]:
        """One optimiser step at a share of the peak learning rate; its loss and the terms of it.

        Raises SerdemoError for a loss that is not finite.
        """
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * lr_share
        with self.autocast():
            loss, parts = self.stage.loss(batch.to(self.device))
        if not torch.isfinite(loss):
            raise SerdemoError("The loss is no longer a number; try a lower --learning-rate.")
        self.optimizer.zero_grad(set_to_none=True)
        with distributed.connected():  # the gradient of what is gathered is exchanged
            self.scaler.scale(loss).backward()
        distributed.average_gradients(self.trained)  # first, so that all skip what overflows in one
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.trained, self.options.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.ema.update_parameters(self.model)
        return float(loss.detach()), parts

    def validate(self) -> Validation | None:
        """Scores of the averaged weights, computed by the main process for all of them."""
        validation = None
        if distributed.is_main_process():
            self.ema_model.eval()
            with self.autocast():
                validation = self.stage.validate(self.ema_model)
        return distributed.broadcast_object(validation)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that the next step depends on, by name; call it in every process at once."""
        model = self.model.state_dict()
        state = {f"model.{k}": v for k, v in model.items()}
        for name, average in self.ema.state_dict().items():
            if not _is_shared(average, model.get(name.removeprefix("module."))):
                state[f"average.{name}"] = average
        state |= {f"extra.{k}": v for k, v in self.extra.state_dict().items()}
        for number, values in self.optimizer.state_dict()["state"].items():
            state |= {f"adamw.{number}.{key}": value for key, value in values.items()}
        # Of all processes in a row: each has its own dropout.
        state["random.cpu"] = torch.cat(distributed.all_gather_object(torch.get_rng_state()))
        if self.device.type == "cuda":
            own = torch.cuda.get_rng_state(self.device)
            state["random.cuda"] = torch.cat(distributed.all_gather_object(own))
        return state

    def restore(self, state: dict[str, Tensor], scaler: dict[str, Any]) -> None:
        """Continue from `tensors()` and the scaler's state; raises SerdemoError where they do not fit."""

        def under(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

        try:
            model = under("model.")
            self.model.load_state_dict(model)
            frozen = {f"module.{k}": v for k, v in model.items()}
            self.ema.load_state_dict(frozen | under("average."))
            self.extra.load_state_dict(under("extra."))
            moments: dict[int, dict[str, Tensor]] = {}
            for name, value in under("adamw.").items():
                number, key = name.split(".")
                moments.setdefault(int(number), {})[key] = value
            groups = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
            self.scaler.load_state_dict(scaler)
            self._set_random(state)
        except (RuntimeError, KeyError, ValueError) as problem:
            raise SerdemoError(
                "The saved state does not fit this model; resume with the options the run began with."
            ) from problem

    def _set_random(self, state: dict[str, Tensor]) -> None:
        """Restore this process's random generators; a process that the state lacks keeps its own."""
        own = state["random.cpu"].view(-1, len(torch.get_rng_state()))
        if distributed.rank() < len(own):
            torch.set_rng_state(own[distributed.rank()].clone())  # a view crashes it
        if "random.cuda" in state and self.device.type == "cuda":
            own = state["random.cuda"].view(-1, len(torch.cuda.get_rng_state(self.device)))
            if distributed.rank() < len(own):
                torch.cuda.set_rng_state(own[distributed.rank()].clone(), self.device)
