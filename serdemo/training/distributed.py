"""Data-parallel training in several processes started by `accelerate launch`, on one host or several.

Each process embeds its shard of every batch. Losses are computed from gathered embeddings, so that
every process has the loss of the whole batch; as the gradient of a gathered tensor is summed over
the processes, the mean of their gradients equals that of one process with the whole batch. In a
single process every function here is the identity. The run's folder is the main process's alone: what the
others need of it they get from there (`on_main`).
"""

from __future__ import annotations

import atexit
import ipaddress
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from datetime import timedelta
from importlib import import_module
from typing import Any, TypeVar

import psutil
import torch
import torch.distributed as dist
from torch import Tensor

from serdemo.schema import settings
from serdemo.schema.errors import SerdemoError, UsageError

T = TypeVar("T")
Labels = TypeVar("Labels", bound=Any)
# Longest wait for a process that is silent: for as long the main process may validate while the others wait.
TIMEOUT = timedelta(minutes=30)


def init(*, cpu: bool = False) -> None:
    """Join the process group where `accelerate launch` started several; `cpu` uses no GPU.

    Raises UsageError where a multi-process launch started a single process, or more than the GPUs.
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
    n_local = settings.local_processes()
    if not cpu and n_local > torch.cuda.device_count():
        raise UsageError(
            f"There are {n_local} processes for {torch.cuda.device_count()} GPUs; start as many as"
            " GPUs, or add --device cpu."
        )
    from accelerate import PartialState

    # Imported before there is a group: its functions hold on to the group they find, whose threads
    # would then outlive it and abort the process at its end.
    import_module("torch.distributed.nn.functional")
    address = settings.main_address()
    if interface := _interface(
        address
    ):  # else gloo takes the one that the host's own name leads to
        settings.set_defaults(GLOO_SOCKET_IFNAME=interface)
    with connected():
        PartialState(cpu=cpu, timeout=TIMEOUT)
    atexit.register(
        dist.destroy_process_group
    )  # before the interpreter shuts down under its threads


def _interface(address: str) -> str | None:
    """Name of the network interface by which a host is reached; None for this host itself."""
    with suppress(OSError, ValueError):
        family, kind, _, _, place = socket.getaddrinfo(address, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(place)  # which sends nothing
            own = probe.getsockname()[0]
        if not ipaddress.ip_address(own).is_loopback:
            for name, addresses in psutil.net_if_addrs().items():
                if own in [entry.address for entry in addresses]:
                    return name
    return None


@contextmanager
def connected() -> Iterator[None]:
    """Raise SerdemoError where another process has ended, or its host cannot be reached."""
    try:
        yield
    except RuntimeError as problem:  # gloo's errors are no more than that
        if isinstance(problem, dist.DistError) or "gloo" in str(problem).lower():
            raise SerdemoError(
                "Another process of this training has ended, or its host cannot be reached: see what"
                " it printed, then start all of them again, with --resume."
            ) from problem
        raise


def running() -> bool:
    """Whether several processes train together."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """Index of this process, from 0."""
    return dist.get_rank() if running() else 0


def is_main_process() -> bool:
    """Whether this process validates, writes and prints."""
    return rank() == 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if running() else 1


def shard(size: int) -> slice:
    """This process's part of a batch of `size` clips: every `world_size`-th, from `rank` on."""
    return slice(rank(), size, world_size())


def all_gather_with_grad(value: Tensor, batch: Labels) -> tuple[Tensor, Labels]:
    """Gather rows (b, ...) of all processes, differentiably: (B, ...), and the batch's labels.

    `batch` is a dataclass of tensors of b rows. Only the integer (B,) columns of the returned batch
    are gathered; the rest still hold this process's rows. Row order equals that of one process.
    """
    if not running():
        return value, batch
    columns = {f.name: getattr(batch, f.name) for f in fields(batch)}
    gathered = {
        name: _gather(column)
        for name, column in columns.items()
        if column is not None and column.ndim == 1 and not column.is_floating_point()
    }
    return _gather(value), replace(batch, **gathered)


@connected()
def _gather(value: Tensor) -> Tensor:
    """Rows of all processes, interleaved; their numbers of rows may differ by one."""
    from torch.distributed.nn.functional import all_gather

    counts = [torch.zeros(1, dtype=torch.long, device=value.device) for _ in range(world_size())]
    dist.all_gather(counts, torch.tensor([len(value)], device=value.device))
    sizes = [int(count) for count in counts]
    padded = torch.cat((value, value.new_zeros(max(sizes) - len(value), *value.shape[1:])))
    if value.requires_grad:
        parts = list(all_gather(padded.contiguous()))
    else:
        parts = [torch.zeros_like(padded) for _ in sizes]
        dist.all_gather(parts, padded.contiguous())
    # Only the last round can lack rows, and those of the last processes.
    return torch.stack(parts, dim=1).flatten(0, 1)[: sum(sizes)]


@connected()
def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes, in one exchange.

    A gradient that one process lacks counts as zero there; one that all lack stays None.
    """
    if not running():
        return
    trained = [p for p in parameters if p.requires_grad]
    has_grad = torch.tensor([p.grad is not None for p in trained]).to(trained[0])
    own = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
    flat = torch.cat([*(grad.flatten() for grad in own), has_grad])
    dist.all_reduce(flat)
    sizes = [*(p.numel() for p in trained), len(trained)]
    *means, has_grad = (flat / world_size()).split(sizes)
    for parameter, mean, share in zip(trained, means, has_grad.tolist(), strict=True):
        parameter.grad = mean.view_as(parameter) if share else None


def on_main(function: Callable[[], T]) -> T:
    """The main process's result of a function, or the SerdemoError that it ends in, in every process."""
    if not running():
        return function()
    outcome: Any = None
    if is_main_process():
        try:
            outcome = function()
        except SerdemoError as problem:
            outcome = problem
    outcome = broadcast_object(outcome)
    if isinstance(outcome, SerdemoError):
        raise outcome
    result: T = outcome
    return result


@connected()
def broadcast_object(value: T) -> T:
    """The main process's value, in every process."""
    if not running():
        return value
    values: list[Any] = [value]
    dist.broadcast_object_list(values, src=0)
    received: T = values[0]
    return received


@connected()
def all_gather_object(value: T) -> list[T]:
    """The values of all processes, by rank."""
    if not running():
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


@connected()
def barrier() -> None:
    """Wait until every process has reached this point."""
    if running():
        dist.barrier()
