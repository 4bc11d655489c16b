"""`bench`: measurements on this machine, each beside a reference; a command is loaded when called."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec

import click

from serdemo.schema.errors import SerdemoError

BENCHMARKS, EXPERIMENTS = "serdemo.cli.benchmarks", "serdemo.experiments"
# Module and summary of every command; the module's `command` is what is run.
TABLE: Mapping[str, tuple[str, str]] = {
    "browser": (f"{EXPERIMENTS}.browser", "Answers in Chromium beside Python's."),
    "estimate": (f"{EXPERIMENTS}.estimate", "Estimated beside actual duration of a training run."),
    "explore": (f"{EXPERIMENTS}.page_map", "A map of a million clips in Chromium."),
    "field": (f"{EXPERIMENTS}.field", "SVM and linear probe by a corpus's own protocol."),
    "fuzz": (f"{EXPERIMENTS}.fuzz.bench", "Bad inputs for all that reads files and calls."),
    "kill": (f"{EXPERIMENTS}.kill", "Kill a training run and its page at random moments."),
    "lists": (f"{EXPERIMENTS}.lists", "Lists by Ray Data beside the plain path."),
    "live": (f"{BENCHMARKS}.live", "Delay and losses of many live streams."),
    "load": (f"{EXPERIMENTS}.page_load", "Delay, losses and memory of the page under load."),
    "map": (f"{BENCHMARKS}.map", "Time, memory and quality of the map of many clips."),
    "neutral": (f"{EXPERIMENTS}.neutral", "UAR with and without adaptation to neutral speech."),
    "papers": (f"{EXPERIMENTS}.papers", "Train and compare what the three papers claim."),
    "personal": (f"{EXPERIMENTS}.adaptation", "UAR before and after few-shot speaker adaptation."),
    "predict": (f"{BENCHMARKS}.predict", "Speed of prediction beside WavLM-base's."),
    "quality": (f"{BENCHMARKS}.quality", "Scores of a checkpoint beside its model card."),
    "start": (
        f"{EXPERIMENTS}.page_start",
        "Start-up time of the page beside a bare Gradio page's.",
    ),
    "train": (f"{EXPERIMENTS}.training_speed", "Training speed beside transformers' Trainer."),
    "unseen": (f"{EXPERIMENTS}.unseen", "Leave-one-corpus-out runs beside the first of them."),
}


class BenchGroup(click.Group):
    """The commands of `TABLE`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        return list(TABLE)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; raises SerdemoError for an experiment of which an installation has none."""
        if cmd_name not in TABLE:
            return None
        module, _ = TABLE[cmd_name]
        if module.startswith(EXPERIMENTS) and find_spec(EXPERIMENTS) is None:
            raise SerdemoError(
                f"bench {cmd_name} is an experiment, which an installed package lacks:"
                " run it in a checkout of the repository."
            )
        command: click.Command = import_module(module).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands in the help without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in TABLE.items()])


bench = BenchGroup("bench", help="Measure speed and quality on this machine, beside a reference.")
