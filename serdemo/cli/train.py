"""`train RECIPE`: each recipe is a subcommand whose flags are its options' declarations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from serdemo.cli import adapt as cli_personal
from serdemo.cli.options import (
    CORPUS,
    PATH,
    ROOT,
    RUN,
    STOP_AFTER,
    given_options,
    option_flags,
    removed_flags,
)
from serdemo.schema.errors import UsageError

if TYPE_CHECKING:
    from serdemo.runs.request import TrainingRequest


def _from_request() -> click.Command:
    return from_request


class TrainGroup(click.Group):
    """The recipes of the table, as commands; `others` are those with flags of their own."""

    others: ClassVar[Mapping[str, Callable[[], click.Command]]] = {
        "personal": cli_personal.command,
        "from-request": _from_request,
    }

    def callback_for(self, name: str) -> Callable[..., None]:
        """The function of a recipe's command, with the flags that are not the recipe's."""
        return _train(name)

    def list_commands(self, context: click.Context) -> list[str]:
        """Every recipe by name."""
        from serdemo.training import recipes

        return [*recipes.RECIPES, *self.others]

    def get_command(self, context: click.Context, name: str) -> click.Command:
        """The command of a recipe; raises UsageError when there is none."""
        from serdemo.training import recipes
        from serdemo.training.options import TrainOptions

        if name in self.others:
            return self.others[name]()
        recipe = recipes.get(name)
        command = click.command(name, help=recipe.summary)(self.callback_for(name))
        command.params += option_flags((*recipe.groups, TrainOptions), recipe.defaults)
        command.params += removed_flags(command.params)
        return command


def _train(name: str) -> Callable[..., None]:
    from serdemo.runs.request import HELD_OUT, SplitChoice, TrainingRequest

    @CORPUS
    @ROOT
    @RUN
    @click.option("--resume", is_flag=True, help="Go on where the run in this folder stopped.")
    @STOP_AFTER
    @click.option(
        "--valid", help=f"Speakers to choose by: a share, ids, or none [default: {HELD_OUT}]."
    )
    @click.option(
        "--test", help=f"Speakers to test on: a share, ids, or none [default: {HELD_OUT}]."
    )
    @click.option(
        "--shipped-split",
        is_flag=True,
        help="Hold out the speakers that no shipped model was trained on.",
    )
    @click.pass_obj
    def train(
        command: str,
        *,
        corpus: str,
        root: Path | None,
        run_dir: Path,
        resume: bool,
        stop_after: float | None,
        valid: str | None,
        test: str | None,
        shipped_split: bool,
        **values: Any,
    ) -> None:
        if shipped_split and (valid is not None or test is not None):
            raise UsageError("Give --shipped-split, or --valid and --test, not both.")
        request = TrainingRequest(
            name,
            tuple(corpus.split(",")),
            SplitChoice(shipped_split, valid or HELD_OUT, test or HELD_OUT),
            given_options(values),
            run_dir=run_dir,
            root=root,
            resume=resume,
            stop_after=stop_after,
        )
        _carry_out(request, command)

    return train


@click.command("from-request", hidden=True)
@click.argument("file", type=PATH)
def from_request(file: Path) -> None:
    """Train as a request in a JSON FILE says."""
    from serdemo.runs.request import TrainingRequest
    from serdemo.schema.files import read_json

    request = TrainingRequest.from_json(read_json(file))
    _carry_out(replace(request, run_dir=request.run_dir or file.parent), request.command())


def _carry_out(request: TrainingRequest, command: str) -> None:
    from serdemo.cli.views.console import show_training
    from serdemo.runs import training_run
    from serdemo.training import distributed

    events = training_run.run(request, command)
    if distributed.is_main_process():
        show_training(events)
    else:
        for _ in events:
            pass
