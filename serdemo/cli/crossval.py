"""`crossval RECIPE`: cross-validation over speakers, sessions, folds or corpora."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serdemo.cli.exits import tell
from serdemo.cli.options import (
    CORPUS,
    CORPUS_LABEL_MAP,
    JSON,
    PATH,
    ROOT,
    STOP_AFTER,
    TRACK,
    given_options,
    print_json,
)
from serdemo.cli.train import RecipeGroup
from serdemo.schema.settings import data_root
from serdemo.training.events import Event

if TYPE_CHECKING:
    from serdemo.data.protocols import Fold
    from serdemo.runs.tracking import Tracking


def _run(name: str) -> Callable[..., None]:
    @CORPUS
    @CORPUS_LABEL_MAP
    @ROOT
    @click.option(
        "--by",
        required=True,
        metavar="speaker|session|fold|corpus|one-corpus-out",
        help="Unit that is left out in turn; corpus adds the cross-corpus matrix.",
    )
    @click.option(
        "--folds",
        type=click.IntRange(min=1),
        help="Number of folds to group the units into [default: each its own].",
    )
    @click.option(
        "--seeds",
        type=click.IntRange(1, 1000),
        help="Number of seeds for each fold, from --seed on [default: 1].",
    )
    @click.option(
        "--leaky/--no-leaky",
        default=None,
        help="Also train with shared speakers, to measure the effect of leakage [default: no].",
    )
    @click.option(
        "--run",
        "run_dir",
        type=PATH,
        help="Folder of all runs [default: RECIPE-by-BY in SERDEMO_RUNS, else in runs].",
    )
    @click.option("--resume", is_flag=True, help="Resume the cross-validation in this folder.")
    @STOP_AFTER
    @TRACK
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
        tracking: Tracking,
        as_json: bool,
        **values: Any,
    ) -> None:
        from serdemo.cli.views.console import show_training
        from serdemo.data import corpora as known
        from serdemo.data.protocols import plan_folds
        from serdemo.runs import crossval, training_run
        from serdemo.schema.settings import runs_root

        utterances = known.load_many(corpus, data_root(root), remote=True, note=tell)
        options = training_run.resolved_options(given_options(values))
        folder = run_dir or runs_root() / f"{name}-by-{by}"
        settings = {"recipe": name, "by": by, "folds": folds, "seeds": seeds, "leaky": leaky}
        protocol = crossval.open_protocol(
            folder, utterances, settings, options, command=command, resume=resume
        )
        target, leaky = protocol["options"].get("target", ""), protocol["leaky"]
        planned = plan_folds(utterances, by, protocol["folds"], leaky=leaky, target=target)

        def show(title: str, events: Iterator[Event]) -> None:
            click.echo(title, err=True)
            show_training(events)

        finished = crossval.run_protocol(
            protocol, planned, folder, stop_after=stop_after, tracking=tracking, show=show
        )
        (_report if finished else _report_stop)(protocol, planned, folder, as_json)

    return run


def _report(protocol: dict[str, Any], planned: Sequence[Fold], folder: Path, as_json: bool) -> None:
    """Write the report of a finished cross-validation, and print it."""
    from serdemo.cli.views.console import show_protocol
    from serdemo.evaluation import report
    from serdemo.runs import crossval, crossval_report

    predictions = crossval.load_predictions(protocol, planned, folder)
    document = crossval_report.document(protocol, planned, predictions)
    report.write_protocol_report(document, folder)
    print_json({"finished": True, **document}) if as_json else show_protocol(document, folder)


def _report_stop(
    protocol: dict[str, Any], planned: Sequence[Fold], folder: Path, as_json: bool
) -> None:
    """Print how much of a stopped cross-validation is done."""
    from serdemo.runs import crossval

    done, count = crossval.progress(protocol, planned, folder)
    click.echo(f"Stopped; {done} of {count} models are done, go on with --resume.", err=True)
    if as_json:
        print_json({"finished": False, "models_done": done, "models": count})


crossval = RecipeGroup(
    "crossval",
    _run,
    help="Train RECIPE with each speaker, session, fold or corpus left out in turn.",
)
