"""Several processes that train one model: what they share, and who writes.

Started by `accelerate launch`; in a single process nothing here changes anything. Each process
embeds its share of every batch. What the loss is computed from is gathered, so that every process
has the loss of the whole batch; as the gradient of a gathered tensor is summed over the processes,
the mean of their gradients is that of one process with the whole batch.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterable
from dataclasses import fields, replace
from importlib import import_module
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from serdemo.schema import settings
from serdemo.schema.errors import UsageError

T = TypeVar("T")
Labels = TypeVar("Labels", bound=Any)


def init(*, cpu: bool = False) -> None:
    """Join the other processes, where `accelerate launch` started several; `cpu` leaves GPUs alone.

    Raises UsageError when it was told to start several and started one, or more than there are GPUs.
    """
    n_processes = settings.launched_processes()
    if settings.launched_by_accelerate() and n_processes is None:
        raise UsageError(
            "accelerate launch started a single process: with fewer than two GPUs it needs"
            " --multi-gpu, and serdemo then --device cpu."
        )
    if (n_processes or 1) == 1 or running():
        return
    cpu = cpu or not torch.cuda.is_available()
    here = settings.local_processes()
    if not cpu and here > torch.cuda.device_count():
        raise UsageError(
            f"There are {here} processes for {torch.cuda.device_count()} GPUs; start as many as"
            " GPUs, or add --device cpu."
        )
    from accelerate import PartialState

    # Imported while there is no group yet: its functions keep the one they find, and a group that
    # outlives its end leaves threads behind, which abort a process that ends beneath them.
    import_module("torch.distributed.nn.functional")
    PartialState(cpu=cpu)
    atexit.register(dist.destroy_process_group)  # else a thread of it may outlive what it uses


def running() -> bool:
    """Whether there are several processes."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """This process's number from 0."""
    return dist.get_rank() if running() else 0


def is_main_process() -> bool:
    """Whether this is the process that writes and tells."""
    return rank() == 0


def world_size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if running() else 1


def shard(size: int) -> slice:
    """Which of a batch's clips are this process's: every `world`-th."""
    return slice(rank(), size, world_size())


def all_gather_with_grad(value: Tensor, batch: Labels) -> tuple[Tensor, Labels]:
    """(b, ...) rows of this process's clips -> those of the whole batch, and its labels.

    Differentiable. `batch` is a dataclass of tensors of b rows; of what comes back only the whole
    numbers, one to a clip, are the whole batch's. The order is that of one process.
    """
    if not running():
        return value, batch
    columns = {f.name: getattr(batch, f.name) for f in fields(batch)}
    whole = {
        name: _gather(column)
        for name, column in columns.items()
        if column is not None and column.ndim == 1 and not column.is_floating_point()
    }
    return _gather(value), replace(batch, **whole)


def _gather(value: Tensor) -> Tensor:
    """Rows of all processes, dealt out in turn; the shares may differ by one."""
    from torch.distributed.nn.functional import all_gather

    counts = [torch.zeros(1, dtype=torch.long, device=value.device) for _ in range(world_size())]
    dist.all_gather(counts, torch.tensor([len(value)], device=value.device))
    sizes = [int(count) for count in counts]
    padded = torch.cat((value, value.new_zeros(max(sizes) - len(value), *value.shape[1:])))
    parts = all_gather(padded.contiguous()) if value.requires_grad else _plain(padded)
    whole = torch.stack(list(parts), dim=1).flatten(0, 1)
    # Only the last round can lack rows, and those of the last processes.
    return whole[: sum(sizes)]


def _plain(value: Tensor) -> list[Tensor]:
    parts = [torch.zeros_like(value) for _ in range(world_size())]
    dist.all_gather(parts, value.contiguous())
    return parts


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes, in one exchange.

    What one process did not touch counts as zero there; what none touched keeps no gradient.
    """
    if not running():
        return
    found = [p for p in parameters if p.requires_grad]
    touched = torch.tensor([p.grad is not None for p in found]).to(found[0])
    own = [torch.zeros_like(p) if p.grad is None else p.grad for p in found]
    flat = torch.cat([*(grad.flatten() for grad in own), touched])
    dist.all_reduce(flat)
    *parts, touched = (flat / world_size()).split([*(p.numel() for p in found), len(found)])
    for parameter, part, share in zip(found, parts, touched.tolist(), strict=True):
        parameter.grad = part.view_as(parameter) if share else None


def broadcast_object(value: T) -> T:
    """The first process's value for all of them; all wait for it."""
    if not running():
        return value
    told: list[Any] = [value]
    dist.broadcast_object_list(told, src=0)
    found: T = told[0]
    return found


def all_gather_object(value: T) -> list[T]:
    """Every process's value, in their order."""
    if not running():
        return [value]
    told: list[Any] = [None] * world_size()
    dist.all_gather_object(told, value)
    return told


def barrier() -> None:
    """Until every process is here."""
    if running():
        dist.barrier()
