"""`train RECIPE`: each recipe is a subcommand whose flags are its options' declarations."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from serdemo.commands import personal as cli_personal
from serdemo.commands.flags import CORPUS, PATH, ROOT, STOP_AFTER, data_root, option_flags
from serdemo.schema import UsageError

if TYPE_CHECKING:
    from serdemo.events import Event

HELD_OUT = "0.15"


class TrainGroup(click.Group):
    """The recipes of the table, as commands; `others` are those with flags of their own."""

    others: ClassVar[Mapping[str, Callable[[], click.Command]]] = {"personal": cli_personal.command}

    def callback_for(self, name: str) -> Callable[..., None]:
        """What the command of a recipe does, with the flags that are not the recipe's."""
        return _run(name)

    def list_commands(self, context: click.Context) -> list[str]:
        """Every recipe by name."""
        from serdemo import recipes

        return [*recipes.RECIPES, *self.others]

    def get_command(self, context: click.Context, name: str) -> click.Command:
        """The command of a recipe; raises UsageError when there is none."""
        from serdemo import recipes
        from serdemo.trainer import TrainOptions

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
        from serdemo import processes
        from serdemo.commands.show import show_training

        happening = _begun(name, command, **asked)
        if processes.first():
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
    from serdemo.storage import DESCRIPTION, present

    found = {key: value for key, value in values.items() if value is not None}
    start = found.get("start")
    if start and not (present(Path(start)) / DESCRIPTION).is_file():
        from serdemo.models import at_hand, hub

        found["start"] = str(hub.located(start, at_hand()))
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
    from serdemo import corpora as known
    from serdemo import processes, runs, splits

    if shipped_split and (valid is not None or test is not None):
        raise UsageError("Give --shipped-split, or --valid and --test, not both.")
    processes.begin(cpu=values.get("device") == "cpu")
    utterances = known.load_many(corpus, data_root(root), unlabelled=True)
    if shipped_split:
        split = splits.shipped(utterances)
    else:
        split = splits.plan(utterances, valid=valid or HELD_OUT, test=test or HELD_OUT)
    options = given(values)
    return runs.train(
        name, options, split, run_dir, command=command, resume=resume, stop_after=stop_after
    )
