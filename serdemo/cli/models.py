"""`models`: the checkpoints at hand, listed, shown, compared, moved in and out, deleted."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serdemo.cli.options import DEVICE, JSON, PATH, ROOT, print_json
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.settings import data_root

if TYPE_CHECKING:
    from serdemo.runs.registry.entry import Entry
    from serdemo.runs.registry.store import Registry

RUNS = click.option(
    "--runs",
    type=PATH,
    help="Folder of the runs; what is imported lies in `models` beside it"
    " [default: SERDEMO_RUNS, else runs].",
)
NAME = click.argument("name")
AS = click.option("--name", "title", help="What to call it [default: after where it comes from].")
FORCE = click.option("--force", is_flag=True, help="Replace what is there.")


@click.group(invoke_without_command=True)
@click.pass_context
def models(context: click.Context) -> None:
    """The models at hand: list, show, compare, export, import, push, pull, delete."""
    if context.invoked_subcommand is None:
        context.invoke(list_)


@models.command("list")
@RUNS
@click.option("--speed", is_flag=True, help="Measure how fast each answers on this machine.")
@JSON
def list_(runs: Path | None = None, speed: bool = False, as_json: bool = False) -> None:
    """Every model with its figures, data, licence and size."""
    from serdemo.cli.views.console import progress
    from serdemo.cli.views.models import show_list
    from serdemo.runs.registry.summary import summarise

    entries, rows = _store(runs).entries(), []
    with progress("Measuring", len(entries), hidden=as_json or not speed) as advance:
        for done, entry in enumerate(entries, start=1):
            rows.append(summarise(entry, speed=speed))
            advance(done)
    print_json([row.to_json() for row in rows]) if as_json else show_list(rows, speed)


@models.command()
@NAME
@RUNS
@JSON
def show(name: str, runs: Path | None, as_json: bool) -> None:
    """The card of the model NAME."""
    from serdemo.cli.views.models import show_card
    from serdemo.runs.registry.summary import card_text, summarise

    entry = _store(runs).find(name)
    row, card = summarise(entry), card_text(entry.folder)
    if row.problem:
        raise SerdemoError(row.problem)
    print_json({**row.to_json(), "card": card}) if as_json else show_card(row, card)


@models.command()
@click.argument("a")
@click.argument("b")
@click.argument("files", nargs=-1, type=PATH)
@click.option("--corpus", help="Score both on this, as `evaluate` takes it, in place of files.")
@ROOT
@click.option(
    "--speakers",
    default="unseen",
    show_default=True,
    help="unseen by both, all, or ids with commas between.",
)
@click.option(
    "--most",
    default=0,
    type=click.IntRange(min=0),
    help="Hear so many clips, evenly from speakers and emotions [default: all].",
)
@RUNS
@DEVICE
@JSON
def compare(
    a: str,
    b: str,
    files: Sequence[Path],
    corpus: str | None,
    root: Path | None,
    speakers: str,
    most: int,
    runs: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """What the models A and B say to FILES, or whether B is better than A on a corpus."""
    from serdemo.cli.views.console import progress
    from serdemo.cli.views.models import show_comparisons, show_pairs
    from serdemo.evaluation import comparison
    from serdemo.inference.predictor import Predictor

    if bool(files) == bool(corpus):
        raise UsageError("Give either sound files or --corpus to compare two models on.")
    store = _store(runs)
    first, second = store.find(a), store.find(b)
    keys = (first.key, second.key)
    utterances = []
    if corpus:
        from serdemo.data import corpora

        utterances = corpora.load_many(corpus, data_root(root))
    model_a, model_b = (Predictor(entry.folder, device=device) for entry in (first, second))
    if corpus:
        with progress("Scoring", 2 * len(utterances), hidden=as_json) as advance:
            found = comparison.compare(
                *(model_a, model_b, utterances, speakers),
                progress=lambda done, total: advance(done + 2 * len(utterances) - total),
                names=keys,
                most=most,
            )
        print_json([one.to_json() for one in found]) if as_json else show_comparisons(found)
        return
    said = list(comparison.side_by_side(model_a, model_b, files))
    if as_json:
        print_json({"a": keys[0], "b": keys[1], "files": [one.to_json() for one in said]})
    else:
        show_pairs(keys, said)
    if any(one.refusal for one in said):
        sys.exit(1)


@models.command()
@NAME
@click.argument("archive", metavar="FILE.zip", type=PATH)
@FORCE
@RUNS
def export(name: str, archive: Path, force: bool, runs: Path | None) -> None:
    """Write the model NAME to FILE.zip; the same model gives the same bytes."""
    from serdemo.runs.registry.archive import pack

    entry = _store(runs).find(name)
    pack(entry, archive, force=force)
    click.echo(f"{entry.key} is in {archive} ({archive.stat().st_size / 1e6:.1f} MB).")


@models.command("import")
@click.argument("archive", metavar="FILE.zip", type=PATH)
@AS
@FORCE
@RUNS
def import_(archive: Path, title: str | None, force: bool, runs: Path | None) -> None:
    """Take in a model that `export` wrote, once it is proved to be one."""
    from serdemo.runs.registry.archive import unpack
    from serdemo.runs.registry.store import slugify

    if not archive.is_file():
        raise SerdemoError(f"There is no file {archive}.")
    store = _store(runs)
    name = slugify(archive.stem) if title is None else title
    entry = store.add(name, lambda folder: unpack(archive, folder), force=force)
    _taken(entry)


@models.command()
@NAME
@click.argument("repo")
@click.option("--public", is_flag=True, help="For all to see [default: for you alone].")
@FORCE
@RUNS
def push(name: str, repo: str, public: bool, force: bool, runs: Path | None) -> None:
    """Put the model NAME on the Hugging Face hub as REPO (OWNER/NAME); HF_TOKEN is your token."""
    from serdemo.runs.registry import hub

    entry = _store(runs).find(name)
    done = hub.push(entry.folder, repo, public=public, force=force)
    who = "for you alone to see" if done.private else "for all to see"
    click.echo(f"{entry.key} is at {done.url}, {who} (commit {done.commit[:12]}).")


@models.command()
@click.argument("repo")
@click.option("--revision", help="A commit, tag or branch [default: the newest].")
@AS
@FORCE
@RUNS
def pull(
    repo: str, revision: str | None, title: str | None, force: bool, runs: Path | None
) -> None:
    """Take in the model REPO (OWNER/NAME) of the Hugging Face hub, once it is proved to be one."""
    from serdemo.runs.registry import hub
    from serdemo.runs.registry.store import slugify

    commits: list[str] = []
    name = slugify(repo.rpartition("/")[2]) if title is None else title
    store = _store(runs)
    entry = store.add(
        name, lambda folder: commits.append(hub.pull(repo, folder, revision)), force=force
    )
    click.echo(f"{repo} at commit {commits[0]}.", err=True)
    _taken(entry)


@models.command()
@NAME
@click.option("--yes", is_flag=True, help="Do not ask.")
@RUNS
def delete(name: str, yes: bool, runs: Path | None) -> None:
    """Delete the model NAME: one taken in, or a run with all that it made."""
    store = _store(runs)
    entry = store.find(name)
    what = "the run with all that it made" if entry.origin == "run" else "the model"
    if not yes and entry.origin in ("run", "imported"):
        try:
            agreed = click.confirm(f"Delete {what}, {entry.key}?", err=True)
        except click.Abort as problem:
            if sys.stdin is not None and sys.stdin.isatty():
                raise
            raise UsageError("Nobody answers here: give --yes to delete without asking.") from (
                problem
            )
        if not agreed:
            click.echo(f"{entry.key} is kept.")
            return
    store.delete(entry)
    click.echo(f"{entry.key} is deleted.")


def _store(runs: Path | None) -> Registry:
    from serdemo.runs.registry.store import default_registry

    return default_registry(runs)


def _taken(entry: Entry) -> None:
    click.echo(f"It is kept as {entry.key}; use it by --checkpoint {entry.folder}.")
