"""`bench quality`, `bench neutral` and `bench unseen`: how good the answers are on speakers never heard."""

from __future__ import annotations

from pathlib import Path

import click

from serdemo.commands.flags import (
    CHECKPOINT,
    JSON,
    PATH,
    ROOT,
    checkpoint_folder,
    data_root,
    print_json,
)


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
    from serdemo.bench import quality as quality_bench
    from serdemo.predict import shipped

    folder = checkpoint_folder(checkpoint) if checkpoint else shipped()
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


@click.command("neutral")
@CHECKPOINT
@ROOT
@click.option(
    "--corpus",
    default="ravdess,emodb,aesdd",
    show_default=True,
    help="Names, folders or CSV files.",
)
@click.option(
    "--draws", default=20, show_default=True, type=click.IntRange(1, 1000), help="Draws of speech."
)
@click.option(
    "--seconds",
    default=6.0,
    show_default=True,
    type=click.FloatRange(1, 60),
    help="Neutral speech of each speaker.",
)
@click.option(
    "--strength",
    type=click.FloatRange(0, 1),
    help="How much of the offset is taken away [default: as the page does].",
)
@JSON
def bench_neutral(
    checkpoint: Path | None,
    root: Path | None,
    corpus: str,
    draws: int,
    seconds: float,
    strength: float | None,
    as_json: bool,
) -> None:
    """UAR with and without calibration to each unseen speaker's neutral voice."""
    from serdemo import corpora
    from serdemo.bench.neutral import measure
    from serdemo.evaluate import choose
    from serdemo.neutral import STRENGTH
    from serdemo.predict import Predictor

    predictor = Predictor(checkpoint and checkpoint_folder(checkpoint))
    unseen = choose(corpora.load_many(corpus, data_root(root)), "unseen", predictor.description)
    share = STRENGTH if strength is None else strength
    found = measure(predictor, unseen, draws=draws, seconds=seconds, strength=share)
    if as_json:
        print_json(found)
        return
    for name, row in found.items():
        if "note" in row:
            click.echo(f"{name}: {row['note']}")
            continue
        low, high = row["gain_p05_p95"]
        click.echo(
            f"{name}: UAR {row['uar']:.1%} without, {row['uar_calibrated']:.1%} with; gain"
            f" {100 * row['gain']:+.1f} points (5 to 95 % of draws: {100 * low:+.1f} to"
            f" {100 * high:+.1f})"
        )


@click.command("unseen")
@click.argument("runs", nargs=-1, required=True, type=PATH, metavar="BASE [RUN]...")
@click.option("--neutral", is_flag=True, help="Also with 6 s of each speaker's neutral speech.")
@JSON
def bench_unseen(runs: tuple[Path, ...], neutral: bool, as_json: bool) -> None:
    """Leave-one-corpus-out runs of `crossval` beside the first of them."""
    from serdemo.bench.unseen import measure

    rows = measure(
        runs,
        neutral=neutral,
        progress=lambda told: click.echo(told, err=True),
    )
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    for row in rows:
        low, high = (100 * bound for bound in row.ci95)
        each = ", ".join(f"{corpus} {100 * uar:.1f}" for corpus, uar in row.uar.items())
        click.echo(
            f"{row.run}{' with neutral seconds' if row.neutral else ''}: UAR {row.mean:.1%}, "
            f"{100 * row.difference:+.1f} points ({low:+.1f} to {high:+.1f}); {each}"
        )
