"""`models`: the model registry: list, show, compare, export, import, quantize, push, pull and delete."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serdemo.cli.exits import tell
from serdemo.cli.options import CORPUS, DEVICE, JSON, LABEL_MAP, PATH, ROOT, SPEAKERS, print_json
from serdemo.nn.onnx_file import is_onnx
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.settings import data_root

if TYPE_CHECKING:
    from serdemo.runs.registry.entry import Entry
    from serdemo.runs.registry.store import Registry

RUNS = click.option(
    "--runs",
    type=PATH,
    help="Folder of the runs; imported models lie in `models` beside it"
    " [default: SERDEMO_RUNS, else runs].",
)
NAME = click.argument("name")
AS = click.option("--name", "title", help="Name of the model [default: that of its source].")
FORCE = click.option("--force", is_flag=True, help="Replace an existing one.")


@click.group(invoke_without_command=True)
@click.pass_context
def models(context: click.Context) -> None:
    """Manage models: list, show, compare, export, import, quantize, push, pull, delete."""
    if context.invoked_subcommand is None:
        context.invoke(list_)


@models.command("list")
@RUNS
@click.option("--speed", is_flag=True, help="Measure the prediction speed of each on this machine.")
@JSON
def list_(runs: Path | None = None, speed: bool = False, as_json: bool = False) -> None:
    """List every model with its scores, data, licence and size."""
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
    """Show the card of the model NAME."""
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
@click.option("--corpus", help="Corpus to score both on, as for `evaluate`, in place of files.")
@ROOT
@SPEAKERS
@click.option(
    "--most",
    default=0,
    type=click.IntRange(min=0),
    help="Number of clips, balanced over speakers and emotions [default: all].",
)
@LABEL_MAP
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
    label_map: dict[str, str] | None,
    runs: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Compare predictions of the models A and B on FILES, or their scores on a corpus."""
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

        utterances = corpora.load_many(corpus, data_root(root), note=tell)
    model_a, model_b = (
        Predictor(entry.folder, device=device, label_map=label_map) for entry in (first, second)
    )
    if corpus:
        with progress("Scoring", 2 * len(utterances), hidden=as_json) as advance:
            comparisons = comparison.compare(
                *(model_a, model_b, utterances, speakers),
                progress=lambda done, total: advance(done + 2 * len(utterances) - total),
                names=keys,
                max_clips=most,
            )
        print_json([row.to_json() for row in comparisons]) if as_json else show_comparisons(
            comparisons
        )
        return
    pairs = list(comparison.side_by_side(model_a, model_b, files))
    if as_json:
        print_json({"a": keys[0], "b": keys[1], "files": [pair.to_json() for pair in pairs]})
    else:
        show_pairs(keys, pairs)
    if any(pair.refusal for pair in pairs):
        sys.exit(1)


@models.command()
@NAME
@click.argument("archive", metavar="FILE.zip", type=PATH)
@FORCE
@RUNS
def export(name: str, archive: Path, force: bool, runs: Path | None) -> None:
    """Write the model NAME to FILE.zip, byte for byte reproducible."""
    from serdemo.runs.registry.archive import pack

    entry = _store(runs).find(name)
    pack(entry, archive, force=force)
    click.echo(f"{entry.key} is in {archive} ({archive.stat().st_size / 1e6:.1f} MB).")


@models.command("import")
@click.argument("source", metavar="SOURCE", type=PATH)
@AS
@LABEL_MAP
@FORCE
@RUNS
def import_(
    source: Path,
    title: str | None,
    label_map: dict[str, str] | None,
    force: bool,
    runs: Path | None,
) -> None:
    """Import the model of SOURCE, after checking it: a zip that `export` wrote, or a folder, such as one of
    transformers."""
    from serdemo.runs.registry.archive import copy, unpack
    from serdemo.runs.registry.store import slugify

    if not source.exists():
        raise SerdemoError(f"There is no file {source}, nor a folder of that name.")
    if is_onnx(source):
        raise UsageError(
            f"{source.name} is an ONNX file: use it as --checkpoint, and import the checkpoint that it was"
            " made from."
        )
    take = copy if source.is_dir() else unpack
    store = _store(runs)
    name = slugify(source.resolve().stem) if title is None else title
    entry = store.add(name, lambda folder: take(source, folder, label_map=label_map), force=force)
    _echo_added(entry)


@models.command()
@NAME
@click.argument("out", metavar="OUT", type=PATH)
@click.option(
    "--corpus", help="Corpora to compare both on, as for `evaluate` [default: example speech]."
)
@ROOT
@click.option(
    "--most",
    default=200,
    show_default=True,
    type=click.IntRange(min=1),
    help="Number of clips of the corpora, spread evenly.",
)
@click.option(
    "--max-difference",
    default=0.01,
    show_default=True,
    type=click.FloatRange(0.0, 1.0),
    help="Largest difference of a probability at which the copy is written.",
)
@FORCE
@RUNS
@JSON
def quantize(
    name: str,
    out: Path,
    corpus: str | None,
    root: Path | None,
    most: int,
    max_difference: float,
    force: bool,
    runs: Path | None,
    as_json: bool,
) -> None:
    """Write a copy of the model NAME to the folder OUT, with weights in 8 bits and no file over 10 MB.

    It is written only where its output stays within --max-difference of the original's.
    """
    from serdemo.evaluation.quantization import quantize as quantize_checkpoint

    entry, paths = _store(runs).find(name), []
    if corpus:
        from serdemo.data import corpora

        paths = [clip.path for clip in corpora.load_many(corpus, data_root(root), note=tell)]
        paths = paths[:: -(-len(paths) // most)]
    result = quantize_checkpoint(
        entry.folder, out, paths, max_difference=max_difference, force=force
    )
    if as_json:
        print_json(result.to_json())
        return
    click.echo(
        f"{out} holds {entry.key} in {result.megabytes:.1f} MB instead of {result.megabytes_before:.1f}:"
        f" on {result.clips} clips its output differs by {result.max_difference:.4f} at most."
    )


@models.command()
@NAME
@click.argument("repo")
@click.option("--public", is_flag=True, help="Make the repository public [default: private].")
@FORCE
@RUNS
def push(name: str, repo: str, public: bool, force: bool, runs: Path | None) -> None:
    """Upload the model NAME to the Hugging Face hub as REPO (OWNER/NAME), with your HF_TOKEN."""
    from serdemo.runs.registry import hub

    entry = _store(runs).find(name)
    done = hub.push(entry.folder, repo, public=public, force=force)
    visibility = "for you alone to see" if done.private else "for all to see"
    click.echo(f"{entry.key} is at {done.url}, {visibility} (commit {done.commit[:12]}).")


@models.command()
@click.argument("repo")
@click.option("--revision", help="A commit, tag or branch [default: the newest].")
@AS
@LABEL_MAP
@FORCE
@RUNS
def pull(
    repo: str,
    revision: str | None,
    title: str | None,
    label_map: dict[str, str] | None,
    force: bool,
    runs: Path | None,
) -> None:
    """Download the model REPO (OWNER/NAME) of the Hugging Face hub, after checking it."""
    from serdemo.runs.registry import hub
    from serdemo.runs.registry.store import slugify

    commits: list[str] = []
    name = slugify(repo.rpartition("/")[2]) if title is None else title
    store = _store(runs)

    def fill(folder: Path) -> None:
        commits.append(hub.pull(repo, folder, revision, label_map=label_map))

    entry = store.add(name, fill, force=force)
    click.echo(f"{repo} at commit {commits[0]}.", err=True)
    _echo_added(entry)


@models.command()
@NAME
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@RUNS
def delete(name: str, yes: bool, runs: Path | None) -> None:
    """Delete the model NAME: an imported one, or a run with all its files."""
    store = _store(runs)
    entry = store.find(name)
    noun = "the run with all that it made" if entry.origin == "run" else "the model"
    if not yes and entry.origin in ("run", "imported"):
        try:
            agreed = click.confirm(f"Delete {noun}, {entry.key}?", err=True)
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


@models.command()
@click.argument("checkpoint", type=PATH)
@click.argument("run", type=PATH)
@CORPUS
@ROOT
@JSON
def calibrate(checkpoint: Path, run: Path, corpus: str, root: Path | None, as_json: bool) -> None:
    """Set the temperature and the "not sure" of CHECKPOINT by how models of RUN, a `crossval --by
    one-corpus-out` of the same recipe, answer the corpora that they were not trained on."""
    from dataclasses import asdict

    from serdemo.data import corpora
    from serdemo.runs.calibration import calibrate_for_strangers

    clips = corpora.load_many(corpus, data_root(root), note=tell)
    result = calibrate_for_strangers(
        checkpoint, run, clips, progress=lambda title: click.echo(title, err=True)
    )
    if as_json:
        print_json(asdict(result))
        return
    click.echo(
        f"Temperature {result.temperature:.2f}, times exp({result.slope:.2f} x novelty); not sure"
        f" below {result.unsure_below:.0%}. Calibration error {result.ece_unseen:.3f} on unseen"
        f" speakers, {result.ece_left_out:.3f} on corpora left out."
    )


def _store(runs: Path | None) -> Registry:
    from serdemo.runs.registry.store import default_registry

    return default_registry(runs)


def _echo_added(entry: Entry) -> None:
    click.echo(f"It is kept as {entry.key}; use it by --checkpoint {entry.folder}.")
