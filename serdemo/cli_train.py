"""`train RECIPE`: each recipe is a subcommand whose flags are its options' declarations."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from serdemo.flags import CORPUS, PATH, ROOT, data_root
from serdemo.options import Spec, Value
from serdemo.schema import UsageError

HELD_OUT = "0.15"


class TrainGroup(click.Group):
    """The recipes of the table, as commands."""

    def callback_for(self, name: str) -> Callable[..., None]:
        """What the command of a recipe does, with the flags that are not the recipe's."""
        return _run(name)

    def list_commands(self, context: click.Context) -> list[str]:
        """Every recipe by name."""
        from serdemo import recipes

        return list(recipes.RECIPES)

    def get_command(self, context: click.Context, name: str) -> click.Command:
        """The command of a recipe; raises UsageError when there is none."""
        from serdemo import recipes
        from serdemo.options import specs
        from serdemo.trainer import TrainOptions

        recipe = recipes.get(name)
        command = click.command(name, help=recipe.summary)(self.callback_for(name))
        command.params += [
            click.Option(
                [f"{spec.flag}/--no-{spec.flag[2:]}" if spec.kind is bool else spec.flag],
                default=None,
                type=None if spec.kind is bool else spec.kind,
                metavar="|".join(spec.choices) or None,
                help=_help(spec, recipe.presets.get(spec.name, spec.default)),
            )
            for group in (*recipe.groups, TrainOptions)
            for spec in specs(group)
        ]
        return command


def _help(spec: Spec, default: Value) -> str:
    """A flag's help with its default, unless the help itself says what none given means."""
    return spec.help if "[default:" in spec.help else f"{spec.help} [default: {default}]"


def _run(name: str) -> Callable[..., None]:
    @CORPUS
    @ROOT
    @click.option("--run", "run_dir", required=True, type=PATH, help="Folder of the run.")
    @click.option("--resume", is_flag=True, help="Go on where the run in this folder stopped.")
    @click.option(
        "--stop-after",
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        help="Stop after so many seconds, resumable.",
    )
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
    def run(
        command: str,
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
        from serdemo import corpora as known
        from serdemo import processes, runs, splits
        from serdemo.show import show_training

        if shipped_split and (valid is not None or test is not None):
            raise UsageError("Give --shipped-split, or --valid and --test, not both.")
        if stop_after is not None and math.isnan(stop_after):
            raise UsageError("--stop-after must be a number of seconds, not nan.")
        processes.begin(cpu=values.get("device") == "cpu")
        utterances = known.load_many(corpus, data_root(root))
        if shipped_split:
            split = splits.shipped(utterances)
        else:
            split = splits.plan(utterances, valid=valid or HELD_OUT, test=test or HELD_OUT)
        given = {key: value for key, value in values.items() if value is not None}
        happening = runs.train(
            name, given, split, run_dir, command=command, resume=resume, stop_after=stop_after
        )
        if processes.first():
            show_training(happening)
        else:
            for _ in happening:
                pass

    return run
