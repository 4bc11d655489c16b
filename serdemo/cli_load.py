"""`bench load`: how the page bears many visitors who speak at once."""

from __future__ import annotations

from pathlib import Path

import click

from serdemo.flags import CHECKPOINT, JSON, checkpoint_folder, print_json


@click.command("load")
@click.option(
    "--streams", default=8, show_default=True, type=click.IntRange(1, 64), help="Visitors at once."
)
@click.option(
    "--seconds",
    default=20.0,
    show_default=True,
    type=click.FloatRange(3, 86_400),
    help="Of speech from each, in real time.",
)
@click.option("--url", help="A page that runs already [default: one is started for this].")
@CHECKPOINT
@JSON
def bench_load(
    streams: int, seconds: float, url: str | None, checkpoint: Path | None, as_json: bool
) -> None:
    """Delay, losses and memory of the page while visitors speak to it, as a browser sends it."""
    from serdemo import load_bench

    folder = None if checkpoint is None else checkpoint_folder(checkpoint)
    figures = load_bench.load(streams, seconds, url, folder)
    if as_json:
        print_json(figures)
        return
    for key, value in figures.items():
        told = (
            value
            if not isinstance(value, dict)
            else "  ".join(f"{k} {v}" for k, v in value.items())
        )
        click.echo(f"{key:16} {told}")
