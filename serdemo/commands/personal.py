"""`train personal` and `bench personal`: a model taught one voice, and whether that pays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from serdemo.commands.flags import (
    CHECKPOINT,
    CORPUS,
    JSON,
    PATH,
    ROOT,
    STOP_AFTER,
    checkpoint_folder,
    data_root,
    option_flags,
    print_json,
)


def command() -> click.Command:
    """`train personal`, with a flag for each of its options."""
    from serdemo.personal.run import NAME, SUMMARY, PersonalOptions

    found = click.command(NAME, help=SUMMARY)(_run())
    found.params += option_flags([PersonalOptions])
    return found


def _run() -> Callable[..., None]:
    @CORPUS
    @ROOT
    @click.option("--run", "run_dir", required=True, type=PATH, help="Folder of the run.")
    @click.option("--resume", is_flag=True, help="Teach anew in a folder that holds such a run.")
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
        from serdemo import corpora
        from serdemo.commands.show import show_training
        from serdemo.personal import run as personal_run

        clips = corpora.load_many(corpus, data_root(root))
        given = {key: value for key, value in values.items() if value is not None}
        show_training(
            personal_run.train(
                given, clips, run_dir, command=command, resume=resume, stop_after=stop_after
            )
        )

    return run


@click.command("personal")
@CHECKPOINT
@ROOT
@click.option(
    "--corpus", default="aesdd,ravdess", show_default=True, help="Names, folders or CSV files."
)
@click.option(
    "--speakers",
    default="unseen",
    show_default=True,
    help="unseen, all, or ids with commas between.",
)
@click.option(
    "--shots",
    default=5,
    show_default=True,
    type=click.IntRange(2, 1000),
    help="Clips of an emotion to teach by.",
)
@click.option(
    "--draws", default=20, show_default=True, type=click.IntRange(1, 1000), help="Draws of clips."
)
@click.option(
    "--threads", default=2, show_default=True, type=click.IntRange(1, 256), help="CPU threads."
)
@JSON
def bench_personal(
    checkpoint: Path | None,
    root: Path | None,
    corpus: str,
    speakers: str,
    shots: int,
    draws: int,
    threads: int,
    as_json: bool,
) -> None:
    """UAR of each unseen speaker's clips, before and after a few of them have taught the model."""
    import torch
    from threadpoolctl import threadpool_limits

    from serdemo import corpora
    from serdemo.bench import personal as personal_bench
    from serdemo.commands.show import progress
    from serdemo.evaluate import choose
    from serdemo.predict import Predictor

    torch.set_num_threads(threads)
    predictor = Predictor(checkpoint and checkpoint_folder(checkpoint), device="cpu")
    clips = choose(corpora.load_many(corpus, data_root(root)), speakers, predictor.description)
    with (
        threadpool_limits(threads),
        progress("Hearing", len(clips), hidden=as_json) as advance,
    ):
        found = personal_bench.measure(predictor, clips, shots=shots, draws=draws, progress=advance)
    found["threads"] = threads
    if as_json:
        print_json(found)
        return
    for row in found["speakers"]:
        click.echo(
            f"{row['speaker']:14} {row['clips']:4} clips: UAR {row['uar_before']:.1%} before,"
            f" {row['uar']:.1%} after; left out in turn {row['left_out_uar_before']:.1%} and"
            f" {row['left_out_uar']:.1%}"
        )
    low, high = found["gain_ci95"]
    worst, best = found["gain_p025_p975"]
    click.echo(
        f"{len(found['speakers'])} speakers, {shots} clips of each emotion, {draws} draws: UAR"
        f" {found['uar_before']:.1%} before, {found['uar']:.1%} after; gain"
        f" {100 * found['gain']:+.1f} points (95 % interval over speakers {100 * low:+.1f} to"
        f" {100 * high:+.1f}; 95 % of the draws {100 * worst:+.1f} to {100 * best:+.1f});"
        f" {found['seconds']:.1f} s for a teaching ({found['most_seconds']:.1f} at most) on"
        f" {threads} threads"
    )
