"""`train personal`: few-shot adaptation of a classifier to one speaker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from serdemo.cli.options import CORPUS, ROOT, RUN, STOP_AFTER, given_options, option_flags
from serdemo.schema.settings import data_root


def command() -> click.Command:
    """The command with a flag for each of its options."""
    from serdemo.runs.adaptation.run import NAME, SUMMARY, AdaptationOptions

    command = click.command(NAME, help=SUMMARY)(_run())
    command.params += option_flags([AdaptationOptions])
    return command


def _run() -> Callable[..., None]:
    @CORPUS
    @ROOT
    @RUN
    @click.option("--resume", is_flag=True, help="Adapt again in a folder that holds such a run.")
    @STOP_AFTER
    @click.pass_obj
    def run(
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
        from serdemo.runs.adaptation import run as personal_run

        clips = corpora.load_many(corpus, data_root(root))
        show_training(
            personal_run.train(
                given_options(values),
                clips,
                run_dir,
                command=command,
                resume=resume,
                stop_after=stop_after,
            )
        )

    return run
