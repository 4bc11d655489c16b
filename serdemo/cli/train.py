"""`train RECIPE`: each recipe is a subcommand whose flags are its options' declarations."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from serdemo.cli.exits import tell
from serdemo.cli.options import (
    CORPUS,
    CORPUS_LABEL_MAP,
    PATH,
    ROOT,
    RUN,
    STOP_AFTER,
    TRACK,
    former_flags,
    given_options,
    option_flags,
)
from serdemo.schema.errors import UsageError
from serdemo.schema.settings import data_root

if TYPE_CHECKING:
    from serdemo.runs.request import TrainingRequest
    from serdemo.runs.tracking import Tracking


class RecipeGroup(click.Group):
    """A command for every recipe, whose flags are `callback_for(recipe)`'s and those of the recipe.

    `others` make further commands, with flags of their own.
    """

    def __init__(
        self,
        name: str,
        callback_for: Callable[[str], Callable[..., None]],
        others: Mapping[str, Callable[[], click.Command]] = MappingProxyType({}),
        *,
        help: str,
    ) -> None:
        super().__init__(name, help=help)
        self.callback_for, self.others = callback_for, others

    def list_commands(self, context: click.Context) -> list[str]:
        """Every recipe by name, then the others."""
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
        command.params += former_flags(name, command.params)
        return command


def _train(name: str) -> Callable[..., None]:
    from serdemo.runs.request import HELD_OUT, SplitChoice, TrainingRequest

    @CORPUS
    @CORPUS_LABEL_MAP
    @ROOT
    @RUN
    @click.option("--resume", is_flag=True, help="Go on where the run in this folder stopped.")
    @STOP_AFTER
    @TRACK
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
        tracking: Tracking,
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
            remote=True,
        )
        _carry_out(request, command, tracking)

    return train


@click.command("from-request", hidden=True)
@click.argument("file", type=PATH)
def from_request(file: Path) -> None:
    """Train as a request in a JSON FILE says."""
    from serdemo.runs.request import TrainingRequest
    from serdemo.schema.files import read_json

    request = TrainingRequest.from_json(read_json(file))
    _carry_out(replace(request, run_dir=request.run_dir or file.parent), request.command())


def _carry_out(request: TrainingRequest, command: str, tracking: Tracking | None = None) -> None:
    from serdemo.cli.views.console import show_training
    from serdemo.runs import training_run
    from serdemo.runs.tracking import NO_TRACKING
    from serdemo.training import distributed

    events = training_run.run(request, command, tracking=tracking or NO_TRACKING, note=tell)
    if distributed.is_main_process():
        show_training(events)
    else:
        deque(events, maxlen=0)


def _personal() -> click.Command:
    from serdemo.runs.adaptation import run as adaptation

    @click.command(adaptation.NAME, help=adaptation.SUMMARY)
    @CORPUS
    @CORPUS_LABEL_MAP
    @ROOT
    @RUN
    @click.option("--resume", is_flag=True, help="Adapt again in a folder that holds such a run.")
    @STOP_AFTER
    @click.pass_obj
    def personal(
        command: str,
        corpus: str,
        root: Path | None,
        run_dir: Path,
        resume: bool,
        stop_after: float | None,
        **values: Any,
    ) -> None:
        from serdemo.cli.views.console import show_training
        from serdemo.data import corpora

        clips = corpora.load_many(corpus, data_root(root), note=tell)
        options = given_options(values)
        events = adaptation.train(
            options, clips, run_dir, command=command, resume=resume, stop_after=stop_after
        )
        show_training(events)

    personal.params += option_flags([adaptation.AdaptationOptions])
    return personal


train = RecipeGroup(
    "train",
    _train,
    {"personal": _personal, "from-request": lambda: from_request},
    help="Train RECIPE on labelled clips; speakers are held out.",
)
