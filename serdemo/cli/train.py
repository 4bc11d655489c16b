"""`train RECIPE`: each recipe is a subcommand whose flags are its options' declarations."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from serdemo.cli import adapt as cli_personal
from serdemo.cli.options import CORPUS, PATH, ROOT, STOP_AFTER, option_flags
from serdemo.schema.errors import UsageError
from serdemo.schema.settings import data_root

if TYPE_CHECKING:
    from serdemo.training.events import Event

HELD_OUT = "0.15"


class TrainGroup(click.Group):
    """The recipes of the table, as commands; `others` are those with flags of their own."""

    others: ClassVar[Mapping[str, Callable[[], click.Command]]] = {"personal": cli_personal.command}

    def callback_for(self, name: str) -> Callable[..., None]:
        """What the command of a recipe does, with the flags that are not the recipe's."""
        return _run(name)

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
        command.params += option_flags((*recipe.groups, TrainOptions), recipe.presets)
        return command


def _run(name: str) -> Callable[..., None]:
    @CORPUS
    @ROOT
    @click.option("--run", "run_dir", required=True, type=PATH, help="Folder of the run.")
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
    def run(command: str, **asked: Any) -> None:
        from serdemo.cli.views.console import show_training
        from serdemo.training import distributed

        happening = _begun(name, command, **asked)
        if distributed.is_main_process():
            show_training(happening)
        else:
            for _ in happening:
                pass

    return run


def happening(arguments: Sequence[str]) -> Iterator[Event]:
    """What `train` with these arguments does, event by event, in this process.

    Raises UsageError and SerdemoError as the command does.
    """
    name, *rest = arguments
    group = TrainGroup("train")
    try:
        with click.Context(group) as above:
            asked = group.get_command(above, name).make_context(name, rest, parent=above).params
    except click.ClickException as problem:
        raise UsageError(problem.format_message()) from problem
    return _begun(name, shlex.join(["serdemo", "train", *arguments]), **asked)


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a recipe that were given, `start` as a checkpoint folder: it may be one, or a
    model of `serdemo models` by its key, or one of the hub.

    Raises SerdemoError when there is no such model.
    """
    from serdemo.nn.checkpoint_files import DESCRIPTION
    from serdemo.schema.files import recovered_path

    found = {key: value for key, value in values.items() if value is not None}
    start = found.get("start")
    if start and not (recovered_path(Path(start)) / DESCRIPTION).is_file():
        from serdemo.runs.registry import hub
        from serdemo.runs.registry.store import default_registry

        found["start"] = str(hub.resolve_checkpoint(start, default_registry()))
    return found


def _begun(
    name: str,
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
) -> Iterator[Event]:
    from serdemo.data import corpora as known
    from serdemo.data import splits
    from serdemo.runs import training_run
    from serdemo.training import distributed

    if shipped_split and (valid is not None or test is not None):
        raise UsageError("Give --shipped-split, or --valid and --test, not both.")
    distributed.init(cpu=values.get("device") == "cpu")
    utterances = known.load_many(corpus, data_root(root), unlabelled=True)
    if shipped_split:
        split = splits.shipped(utterances)
    else:
        split = splits.plan(utterances, valid=valid or HELD_OUT, test=test or HELD_OUT)
    options = given(values)
    return training_run.train(
        name, options, split, run_dir, command=command, resume=resume, stop_after=stop_after
    )
