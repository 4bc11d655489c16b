"""`bench`: measurements on this machine, each beside what it is to be compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from serdemo.cli.options import (
    CHECKPOINT,
    CORPUS,
    JSON,
    ROOT,
    THREADS,
    checkpoint_folder,
    print_figures,
    print_json,
)
from serdemo.experiments.adaptation import bench_personal
from serdemo.experiments.field import bench_field
from serdemo.experiments.neutral import bench_neutral
from serdemo.experiments.papers import bench_papers
from serdemo.experiments.unseen import bench_unseen
from serdemo.schema.settings import data_root


@click.group()
def bench() -> None:
    """Measure, side by side with a peer, on this machine."""


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
    from serdemo.cli.benchmarks import predict as measure

    figures = measure.predict(clips=clips, rounds=rounds, threads=threads, peer=not no_peer)
    print_figures(figures, as_json)


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
    from serdemo.cli.benchmarks import train as train_bench

    print_figures(train_bench.train(seconds=clip_seconds, **given), as_json)


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
    from serdemo.experiments import estimate as estimate_bench
    from serdemo.nn.checkpoint_files import bundled_checkpoint

    start = bundled_checkpoint() if checkpoint is None else checkpoint_folder(checkpoint)
    print_figures(estimate_bench.estimate(corpus, data_root(root), start, epochs, rounds), as_json)


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
    from serdemo.cli.benchmarks import live as live_bench

    figures = live_bench.live(streams, seconds, chunk_ms / 1000, threads)
    print_figures(figures, as_json)


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
    from serdemo.cli.benchmarks import load as load_bench

    folder = None if checkpoint is None else checkpoint_folder(checkpoint)
    figures = load_bench.load(streams, seconds, url, folder)
    print_figures(figures, as_json)


@bench.command("start")
@click.option(
    "--rounds", default=7, show_default=True, type=click.IntRange(1, 100), help="Starts of each."
)
@JSON
def bench_start(rounds: int, as_json: bool) -> None:
    """How soon the page is served, beside a bare page of gradio's."""
    from serdemo.cli.benchmarks import start as start_bench

    print_figures(start_bench.start(rounds), as_json)


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
    from serdemo.experiments import kill as kill_bench
    from serdemo.schema.errors import SerdemoError

    figures = kill_bench.kill(runs, pages, seed)
    print_figures(
        {**figures, "faults": figures["faults"] if as_json else len(figures["faults"])}, as_json
    )
    if figures["faults"]:
        raise SerdemoError(" ".join(figures["faults"]))


@click.command("quality")
@CHECKPOINT
@ROOT
@click.option(
    "--corpus", help="Names, folders or CSV files [default: those of the checkpoint's report]."
)
@click.option(
    "--cut",
    default=1.5,
    show_default=True,
    type=click.FloatRange(0.1, 60),
    help="Seconds of the short clips.",
)
@JSON
def bench_quality(
    checkpoint: Path | None, root: Path | None, corpus: str | None, cut: float, as_json: bool
) -> None:
    """Score a checkpoint's test speakers anew, beside its card; whole clips and short ones."""
    from serdemo.cli.benchmarks import quality as quality_bench
    from serdemo.nn.checkpoint_files import bundled_checkpoint

    folder = checkpoint_folder(checkpoint) if checkpoint else bundled_checkpoint()
    found = quality_bench.measure(folder, data_root(root), corpus, cut)
    if as_json:
        print_json(found)
        return
    click.echo(
        f"{found['checkpoint']}: {found['parameters'] / 1e6:.2f} M parameters,"
        f" {found['megabytes']:.2f} MB"
    )
    for row in found["corpora"]:
        if "eer" in row:
            click.echo(
                f"{row['corpus']}: EER {row['eer']:.1%} ({row['card']}), {row['speakers']} speakers,"
                f" {row['same_trials']} trials of one and {row['different_trials']} of two"
            )
            continue
        click.echo(
            f"{row['corpus']}: UAR {row['uar']:.1%} ({row['card']}), ECE {row['ece']:.3f}; of"
            f" {cut:g} s {row['uar_cut']:.1%}; sure of {row['sure']:.1%}, of which"
            f" {row['right_when_sure']:.1%} are right, else {row['right_when_unsure']:.1%}"
        )
    if whole := found["together"]:
        click.echo(
            f"together: mean UAR {whole['uar']:.1%}, ECE of all {whole['n']} clips"
            f" {whole['ece']:.3f}; mean UAR of {cut:g} s {whole['uar_cut']:.1%}"
        )


bench.add_command(bench_personal)
bench.add_command(bench_papers)
bench.add_command(bench_quality)
bench.add_command(bench_neutral)
bench.add_command(bench_unseen)
bench.add_command(bench_field)
