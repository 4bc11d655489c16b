"""`bench papers`: the papers' claims put to the test, and the page that tells of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serdemo.commands.flags import JSON, PATH, ROOT, STOP_AFTER, data_root, print_json
from serdemo.schema import UsageError

if TYPE_CHECKING:
    from serdemo.events import Event


@click.command("papers")
@click.option("--run", "run_dir", required=True, type=PATH, help="Folder of it all.")
@ROOT
@click.option("--paper", "numbers", multiple=True, help="An arXiv number [default: all three].")
@click.option(
    "--network",
    default="compact",
    show_default=True,
    help="The network: compact, whisper or whisper-frozen.",
)
@click.option("--source", default="", help="Whisper's hub id, folder or .safetensors file.")
@click.option("--model", "only", multiple=True, help="A model by its name there [default: all].")
@click.option(
    "--with", "given", multiple=True, metavar="NAME=VALUE", help="An option of train for each."
)
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1, 100))
@STOP_AFTER
@JSON
@click.pass_obj
def bench_papers(
    command: str,
    run_dir: Path,
    root: Path | None,
    numbers: tuple[str, ...],
    network: str,
    source: str,
    only: tuple[str, ...],
    given: tuple[str, ...],
    seeds: int,
    stop_after: float | None,
    as_json: bool,
) -> None:
    """Put the three papers' claims to the test: train what is missing, compare, write the page.

    What has been trained is never trained again, so that the same command goes on where it was
    stopped; with --stop-after 0 it writes the page of what there is.
    """
    from serdemo.bench import papers, papers_page
    from serdemo.bench.papers_plan import NETWORKS
    from serdemo.bench.papers_plan import papers as planned
    from serdemo.card import portable
    from serdemo.commands.show import show_training
    from serdemo.options import parsed
    from serdemo.trainer import TrainOptions

    if network not in NETWORKS:
        raise UsageError(f"There is no network {network!r} here; known are {', '.join(NETWORKS)}.")
    known = {paper.number: paper for paper in planned(network, source)}
    for number in numbers:
        if number not in known:
            raise UsageError(f"There is no paper {number!r} here; known are {', '.join(known)}.")

    def follow(title: str, happening: Iterator[Event]) -> None:
        click.echo(title, err=True)
        show_training(happening)

    finished = True
    for number in numbers or known:
        folder = run_dir / network / number
        finished = papers.train(
            known[number],
            folder,
            data_root(root),
            seeds,
            only=only,
            shared=parsed(TrainOptions, given),
            command=command,
            stop_after=stop_after,
            follow=follow,
        )
        if not finished:
            break
    found = papers.collected(run_dir, seeds)
    run_dir.mkdir(parents=True, exist_ok=True)
    papers_page.write(run_dir, found, portable(command) if command else "")
    if as_json:
        print_json({"finished": finished, "papers": found})
        return
    for one in found:
        for row in papers_page.answers(one):
            click.echo("; ".join(row))
    state = "All is trained." if finished else "Stopped: the same command goes on."
    click.echo(f"{state} The page is {run_dir / papers_page.PAGE}.", err=True)
