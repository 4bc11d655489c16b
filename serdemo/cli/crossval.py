"""`crossval RECIPE`: leave speakers, sessions, folds or corpora out in turn, each recipe with its flags."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import click

from serdemo.cli.options import CORPUS, JSON, PATH, ROOT, STOP_AFTER, given_options, print_json
from serdemo.cli.train import TrainGroup
from serdemo.schema.settings import data_root
from serdemo.training.events import Event


class CrossvalGroup(TrainGroup):
    """The recipes of the table, as commands that cross-validate them."""

    others: ClassVar[Mapping[str, Callable[[], click.Command]]] = {}

    def callback_for(self, name: str) -> Callable[..., None]:
        """What the command of a recipe does, with the flags that are not the recipe's."""
        return _run(name)


def _run(name: str) -> Callable[..., None]:
    @CORPUS
    @ROOT
    @click.option(
        "--by",
        required=True,
        metavar="speaker|session|fold|corpus|one-corpus-out",
        help="What is left out in turn; corpus gives the cross-corpus matrix besides.",
    )
    @click.option(
        "--folds", type=click.IntRange(min=1), help="Put them into so many folds [default: each]."
    )
    @click.option(
        "--seeds",
        type=click.IntRange(1, 1000),
        help="Train each so often, from --seed on [default: 1].",
    )
    @click.option(
        "--leaky/--no-leaky",
        default=None,
        help="Also with speakers shared, to measure how much that flatters [default: no].",
    )
    @click.option(
        "--run",
        "run_dir",
        type=PATH,
        help="Folder of it all [default: RECIPE-by-BY in SERDEMO_RUNS, else in runs].",
    )
    @click.option("--resume", is_flag=True, help="Go on where the one in this folder stopped.")
    @STOP_AFTER
    @JSON
    @click.pass_obj
    def run(
        command: str,
        corpus: str,
        root: Path | None,
        by: str,
        folds: int | None,
        seeds: int | None,
        leaky: bool | None,
        run_dir: Path | None,
        resume: bool,
        stop_after: float | None,
        as_json: bool,
        **values: Any,
    ) -> None:
        from serdemo.cli.views.console import show_training
        from serdemo.cli.views.crossval import show_protocol
        from serdemo.data import corpora as known
        from serdemo.data.protocols import plan_folds
        from serdemo.evaluation import report
        from serdemo.runs import crossval, crossval_report, training_run
        from serdemo.schema.settings import runs_root

        utterances = known.load_many(corpus, data_root(root))
        options = training_run.resolved_options(given_options(values))
        folder = run_dir or runs_root() / f"{name}-by-{by}"
        settings = {"recipe": name, "by": by, "folds": folds, "seeds": seeds, "leaky": leaky}
        protocol = crossval.open_protocol(
            folder, utterances, settings, options, command=command, resume=resume
        )
        tasks = plan_folds(
            utterances,
            by,
            protocol["folds"],
            leaky=protocol["leaky"],
            target=protocol["options"].get("target", ""),
        )

        def follow(title: str, happening: Iterator[Event]) -> None:
            click.echo(title, err=True)
            show_training(happening)

        finished = crossval.run_protocol(
            protocol, tasks, folder, stop_after=stop_after, show=follow
        )
        if not finished:
            done, count = crossval.progress(protocol, tasks, folder)
            told = f"Stopped; {done} of {count} models are done, go on with --resume."
            click.echo(told, err=True)
            if as_json:
                print_json({"finished": False, "models_done": done, "models": count})
            return
        found = crossval_report.document(
            protocol, tasks, crossval.load_predictions(protocol, tasks, folder)
        )
        report.write(found, folder)
        print_json({"finished": True, **found}) if as_json else show_protocol(found, folder)

    return run
