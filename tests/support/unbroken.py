"""What a stop or a kill may not change: a run that goes on ends as one that was never broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from serdemo.nn import checkpoint, checkpoint_files, description
from serdemo.schema import files
from serdemo.training.events import Event, Finished, Saved, Started, Step, Stopped

Begin = Callable[..., Iterator[Event]]  # (run folder, *, resume, stop, further options)


def end_of(run: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The last saved state, and what is said of the model, whatever it is called and caches where."""
    state = checkpoint.load_state(run / "resume")
    assert state is not None
    told = {**asdict(description.read_description(run / "checkpoint")), "name": "", "at": state[1]}
    return state[0], {**told, "options": {**told["options"], "cache": ""}}


def the_same(one: Path, other: Path) -> None:
    """Fails unless two runs ended in the same state, tensor for tensor, and the same checkpoint."""
    (first, told), (second, said) = end_of(one), end_of(other)
    assert said == told
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    weights = [run / "checkpoint" / checkpoint_files.WEIGHTS for run in (one, other)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def goes_on_when_stopped(
    begin: Begin, place: Path, at: int, *, whole: Mapping[str, Any] | None = None, **options: Any
) -> Stopped:
    """Fails unless a run that is stopped when it asks the `at`th time goes on as one that is not.

    `whole` are other options of the unbroken run. Returns what the stopped run said last.
    """
    unbroken = list(begin(place / "whole", **{**options, **(whole or {})}))
    asked = iter(range(1, 10_000))
    stop = lambda: "now" if next(asked) >= at else None  # noqa: E731
    halves = list(begin(place / "halves", stop=stop, **options))
    stopped = halves[-1]
    assert isinstance(stopped, Stopped)
    checkpoint.load(place / "halves" / "checkpoint")
    torch.manual_seed(99)  # whatever happens in between
    halves += begin(place / "halves", resume=True, **options)
    assert isinstance(halves[-1], Finished) and isinstance(unbroken[-1], Finished)
    assert halves[-1].note == unbroken[-1].note
    assert [e.loss for e in unbroken if isinstance(e, Step)] == [
        e.loss for e in halves if isinstance(e, Step)
    ]
    the_same(place / "whole", place / "halves")
    return stopped


def goes_on_when_killed(
    begin: Begin,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    writes: int,
    *,
    whole: Mapping[str, Any] | None = None,
    **options: Any,
) -> None:
    """Fails unless a run that is killed after so many writes goes on as one that is not.

    Between two writes to the run's folder a kill finds what one before the second finds.
    """
    unbroken = list(begin(place / "whole", **{**options, **(whole or {})}))
    left, write = iter(range(writes)), files.replace_folder

    def killed(*given: Any) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        write(*given)

    monkeypatch.setattr(checkpoint, "replace_folder", killed)
    seen: list[Event] = []
    with suppress(KeyboardInterrupt):
        for event in begin(place / "broken", **options):
            seen.append(event)
    assert next(left, None) is None
    assert not isinstance(seen[-1], Finished)
    monkeypatch.undo()
    torch.manual_seed(99)
    rest = list(begin(place / "broken", resume=True, **options))
    assert isinstance(rest[0], Started)
    assert rest[0].resumed_step >= max((e.step for e in seen if isinstance(e, Saved)), default=0)
    assert isinstance(rest[-1], Finished) and isinstance(unbroken[-1], Finished)
    assert rest[-1].note == unbroken[-1].note
    the_same(place / "whole", place / "broken")
