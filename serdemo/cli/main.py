"""The command line: a table of commands, each a thin layer over the packages.

Errors end in one sentence on stderr: exit code 2 for wrong usage, 1 for a failure.
"""

from __future__ import annotations

import io
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from serdemo import __version__
from serdemo.cli.bench import bench
from serdemo.cli.crossval import crossval
from serdemo.cli.embed import clusters, embed, map_
from serdemo.cli.exits import exit_on_error, fail, tell
from serdemo.cli.export import export
from serdemo.cli.listen import listen
from serdemo.cli.models import models
from serdemo.cli.options import (
    CHECKPOINT,
    CHECKPOINT_ARGUMENT,
    CORPUS,
    DEVICE,
    JSON,
    LABEL_MAP,
    PATH,
    ROOT,
    SPEAKERS,
    print_json,
)
from serdemo.cli.predict import predict
from serdemo.cli.space import space
from serdemo.cli.train import train
from serdemo.schema import libraries
from serdemo.schema.settings import OWNER_SETTINGS, data_root

SETTINGS = "\n".join(
    f"  {one.name} [{one.default}]  {one.meaning}".replace("`", "").replace("*", "")
    for one in OWNER_SETTINGS
)


@click.command(epilog=f"\b\nEnvironment variables and their defaults:\n{SETTINGS}")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Port to serve on [default: a free one from 7860].",
)
@click.option("--share", is_flag=True, help="Also offer a public link, through Gradio's servers.")
@click.option(
    "--mcp", is_flag=True, help="Also offer the page's functions to agents, as MCP tools."
)
@CHECKPOINT
def app(port: int | None, share: bool, mcp: bool, checkpoint: Path | None) -> None:
    """Serve the page for a browser."""
    probe = libraries.ImportProbe("serdemo.inference.predictor")
    from serdemo import ui

    if checkpoint is not None:
        from serdemo.nn.description import read_description, require_answers

        require_answers(read_description(checkpoint))  # fails here, not in the page
    probe.wait()
    ui.launch(port=port, share=share, checkpoint=checkpoint, mcp=mcp)


@click.command()
@ROOT
@JSON
def corpora(root: Path | None, as_json: bool) -> None:
    """List the known corpora, how much of each is present, and how to get the rest."""
    from dataclasses import asdict

    from serdemo.cli.views.console import show_corpora
    from serdemo.data import corpora as known

    rows = known.status(data_root(root))
    print_json([asdict(row) for row in rows]) if as_json else show_corpora(rows)


@click.command()
@CHECKPOINT_ARGUMENT
@LABEL_MAP
@CORPUS
@ROOT
@SPEAKERS
@click.option(
    "--out", type=PATH, help="Also write report.json, report.md and a figure to this folder."
)
@click.option(
    "--adapt",
    type=click.IntRange(1, 1000),
    metavar="K",
    help="Also after getting used to each speaker by K other clips, without their labels.",
)
@DEVICE
@JSON
@click.pass_obj
def evaluate(
    command: str,
    checkpoint: Path,
    label_map: dict[str, str] | None,
    corpus: str,
    root: Path | None,
    speakers: str,
    out: Path | None,
    adapt: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Score a CHECKPOINT (a folder, OWNER/NAME on the hub, or the name of a shipped one) on labelled clips."""
    from serdemo.cli.views.console import progress, show_report
    from serdemo.data import corpora as known
    from serdemo.evaluation import report as evaluation_report
    from serdemo.evaluation import scoring
    from serdemo.inference.predictor import Predictor

    utterances = known.load_many(corpus, data_root(root), remote=True, note=tell)
    predictor = Predictor(checkpoint, device=device, label_map=label_map)
    chosen = scoring.select_test_clips(utterances, speakers, predictor.description)
    with progress("Scoring", len(chosen), hidden=as_json) as advance:
        report = scoring.evaluate(predictor, corpus, chosen, advance, adapt or 0)
    if out is not None:
        evaluation_report.write_evaluation(report, out, command)
    print_json(report.to_json()) if as_json else show_report(report)


COMMANDS: dict[str, click.Command] = {
    str(command.name): command
    for command in (
        *(app, predict, listen, corpora, train, evaluate),
        *(crossval, embed, clusters, map_, export, models, space, bench),
    )
}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without our glyphs shows `?`
    words = sys.argv[1:] if arguments is None else arguments
    group = click.Group("serdemo", commands=COMMANDS, help="Which emotion does a voice carry?")
    group = click.version_option(__version__, prog_name="serdemo")(group)
    line = shlex.join(["serdemo", *words])
    with exit_on_error():
        if not {"--help", "--version"}.intersection(words):
            libraries.check_versions()
        try:
            group.main(args=words, prog_name="serdemo", standalone_mode=False, obj=line)
        except click.exceptions.NoArgsIsHelpError as problem:
            problem.show()
            sys.exit(2)
        except click.ClickException as problem:
            fail(problem.format_message(), 2)
        except click.Abort:
            fail("Stopped.", 130)
    sys.exit(0)
