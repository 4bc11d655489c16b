"""`bench`: measurements on this machine, each beside what it is to be compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from serdemo.commands.field import bench_field
from serdemo.commands.flags import (
    CHECKPOINT,
    CORPUS,
    JSON,
    ROOT,
    checkpoint_folder,
    data_root,
    print_json,
)
from serdemo.commands.papers import bench_papers
from serdemo.commands.personal import bench_personal
from serdemo.commands.quality import bench_neutral, bench_quality, bench_unseen

THREADS = click.option(
    "--threads", default=2, show_default=True, type=click.IntRange(1, 256), help="CPU threads."
)


def tell(figures: dict[str, Any], as_json: bool) -> None:
    """Figures as one JSON document, or a line for each."""
    if as_json:
        print_json(figures)
        return
    for key, value in figures.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {number}" for name, number in value.items())
        click.echo(f"{key:24} {'-' if value is None else value}")


@click.group()
def bench() -> None:
    """Measure, side by side with a peer, on this machine."""


bench.add_command(bench_personal)
bench.add_command(bench_papers)
bench.add_command(bench_quality)
bench.add_command(bench_neutral)
bench.add_command(bench_unseen)
bench.add_command(bench_field)


@bench.command("predict")
@click.option(
    "--clips",
    default=24,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="10 s clips in a round.",
)
@click.option(
    "--rounds",
    default=5,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Rounds of each, in turn.",
)
@THREADS
@click.option("--no-peer", is_flag=True, help="Leave out the WavLM-base pipeline.")
@JSON
def bench_predict(clips: int, rounds: int, threads: int, no_peer: bool, as_json: bool) -> None:
    """Times real time of the shipped model, beside transformers' WavLM-base pipeline."""
    from serdemo.bench import predict as measure

    figures = measure.predict(clips=clips, rounds=rounds, threads=threads, peer=not no_peer)
    tell(figures, as_json)


@bench.command("train")
@click.option("--encoder", default="compact", show_default=True, help="Name of the encoder.")
@click.option("--source", default="", help="A pretrained one's hub id, folder or file.")
@click.option("--steps", default=12, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 1000))
@click.option("--batch-size", default=16, show_default=True, type=click.IntRange(2, 4096))
@click.option("--clip-seconds", default=3.0, show_default=True, type=click.FloatRange(0.5, 30))
@THREADS
@JSON
def bench_train(as_json: bool, clip_seconds: float, **given: Any) -> None:
    """Clips per second of training, beside transformers' Trainer on the same model."""
    from serdemo.bench import train as train_bench

    tell(train_bench.train(seconds=clip_seconds, **given), as_json)


@bench.command("estimate")
@CORPUS
@ROOT
@CHECKPOINT
@click.option("--epochs", default=2, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--rounds", default=1, show_default=True, type=click.IntRange(1, 1000))
@JSON
def bench_estimate(
    corpus: str,
    root: Path | None,
    checkpoint: Path | None,
    epochs: int,
    rounds: int,
    as_json: bool,
) -> None:
    """The time told before a training run, beside the time that it takes."""
    from serdemo.bench import estimate as estimate_bench
    from serdemo.storage import shipped

    start = shipped() if checkpoint is None else checkpoint_folder(checkpoint)
    tell(estimate_bench.estimate(corpus, data_root(root), start, epochs, rounds), as_json)


@bench.command("live")
@click.option(
    "--streams", default=16, show_default=True, type=click.IntRange(1, 1000), help="At once."
)
@click.option(
    "--seconds",
    default=20,
    show_default=True,
    type=click.IntRange(2, 86_400),
    help="Of sound, in real time.",
)
@click.option(
    "--chunk-ms",
    default=500,
    show_default=True,
    type=click.IntRange(20, 2_000),
    help="Sound in a piece.",
)
@THREADS
@JSON
def bench_live(streams: int, seconds: int, chunk_ms: int, threads: int, as_json: bool) -> None:
    """How late the answers of many live streams are, and what is lost."""
    from serdemo.bench import live as live_bench

    figures = live_bench.live(streams, seconds, chunk_ms / 1000, threads)
    tell(figures, as_json)


@bench.command("load")
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
    from serdemo.bench import load as load_bench

    folder = None if checkpoint is None else checkpoint_folder(checkpoint)
    figures = load_bench.load(streams, seconds, url, folder)
    tell(figures, as_json)


@bench.command("start")
@click.option(
    "--rounds", default=7, show_default=True, type=click.IntRange(1, 100), help="Starts of each."
)
@JSON
def bench_start(rounds: int, as_json: bool) -> None:
    """How soon the page is served, beside a bare page of gradio's."""
    from serdemo.bench import start as start_bench

    tell(start_bench.start(rounds), as_json)


@bench.command("kill")
@click.option(
    "--runs", default=10, show_default=True, type=click.IntRange(0, 1000), help="Kills of the run."
)
@click.option(
    "--pages", default=10, show_default=True, type=click.IntRange(0, 1000), help="Of the page."
)
@click.option("--seed", default=0, show_default=True, help="Of the moments.")
@JSON
def bench_kill(runs: int, pages: int, seed: int, as_json: bool) -> None:
    """Kill a training run and its page at random moments: is anything saved lost, or untruly told?"""
    from serdemo.bench import kill as kill_bench
    from serdemo.schema import SerdemoError

    figures = kill_bench.kill(runs, pages, seed)
    tell({**figures, "faults": figures["faults"] if as_json else len(figures["faults"])}, as_json)
    if figures["faults"]:
        raise SerdemoError(" ".join(figures["faults"]))
