"""`embed` and `clusters`: a corpus as a table of embeddings, and what of emotion lies in them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serdemo.cli.options import (
    CORPUS,
    DEVICE,
    JSON,
    PATH,
    ROOT,
    checkpoint_folder,
    option_flags,
    print_json,
)
from serdemo.data.array_cache import CacheOptions
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.settings import data_root

if TYPE_CHECKING:
    from serdemo.schema.types import Utterance

TOLD = 5  # clips that could not be read, of which each is named


@click.command()
@click.argument("checkpoint", type=PATH)
@CORPUS
@ROOT
@click.option("--out", required=True, type=PATH, help="The Parquet file to write.")
@click.option("--source", help="Of a pretrained encoder: a hub id, a folder or a file.")
@DEVICE
def embed(
    checkpoint: Path,
    corpus: str,
    root: Path | None,
    out: Path,
    source: str | None,
    device: str,
    **values: Any,
) -> None:
    """Embed every clip with a CHECKPOINT, a row a clip.

    CHECKPOINT is a folder, the name of a shipped one, or a pretrained encoder as it is: wavlm,
    hubert, wav2vec2, whisper or xvector, read from --source.
    """
    from serdemo.cli.views.console import progress
    from serdemo.data import corpora
    from serdemo.embeddings import table
    from serdemo.embeddings.extract import embed as embed_clips

    if out.is_dir() or not out.parent.is_dir():
        raise UsageError(f"--out {out} must name a file in a folder that is there.")
    options = CacheOptions.from_json({k: v for k, v in values.items() if v is not None})
    where = data_root(root)
    folder = embedder(checkpoint, source, options.folder)
    utterances = corpora.load_many(corpus, where)
    base = common_folder(utterances, where)
    with progress("Embedding", len(utterances)) as advance:
        found = embed_clips(folder, utterances, base, options, device=device, progress=advance)
    table.write(out, found.table)
    for sentence in found.errors[:TOLD]:
        click.echo(f"Left out: {sentence}", err=True)
    count = len(found.table)
    more = f", {len(found.errors)} left out" if found.errors else ""
    click.echo(
        f"{out}: {count} clips, {found.cached} of them known from before{more}; paths are relative to"
        f" {base}.",
        err=True,
    )


def embedder(given: Path, source: str | None, kept: Path) -> Path:
    """The checkpoint folder meant by a folder, a shipped one's name, or a pretrained encoder's kind."""
    if source is None and given.exists():
        return given
    from serdemo.nn.checkpoint_files import bundled_checkpoint

    try:
        if source is None:
            return bundled_checkpoint(str(given))
    except SerdemoError:
        pass  # then it may be an encoder
    from serdemo.nn.encoders.options import PRETRAINED

    if str(given) in PRETRAINED and not given.exists():
        from serdemo.embeddings.raw_encoder import raw_encoder_embeddings

        return raw_encoder_embeddings(str(given), source or "", kept)
    if source is not None:
        names = ", ".join(PRETRAINED)
        raise UsageError(f"--source is for a pretrained encoder ({names}), not for {given}.")
    return checkpoint_folder(given)  # says what is wrong


embed.params += option_flags((CacheOptions,))


@click.command()
@click.argument("table", type=PATH)
@click.option(
    "--k",
    type=click.IntRange(min=2),
    help="Clusters to a speaker [default: 3 to 10, by silhouette].",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of it all.")
@JSON
def clusters(table: Path, k: int | None, seed: int, as_json: bool) -> None:
    """How far the clusters within each speaker of a TABLE (see `embed`) are its emotions.

    Beside it: all speakers pooled, what shuffled emotions give, and what of speaker and emotion a
    linear classifier reads off an embedding.
    """
    from serdemo.cli.views.console import progress
    from serdemo.cli.views.embed import show_clusters
    from serdemo.embeddings.table import read
    from serdemo.metrics import probes
    from serdemo.metrics.clusters import analyse

    found = read(table)
    known = [place for place, emotion in enumerate(found.emotions) if emotion]
    speakers = [found.speakers[place] for place in known]
    emotions = [found.emotions[place] for place in known]
    rows = found.embedding[known]
    if not known:
        raise SerdemoError(f"No clip of {table.name} has an emotion to compare clusters with.")
    with progress("Clustering", len(set(speakers)), hidden=as_json) as advance:
        analysis = analyse(rows, speakers, emotions, k or 0, seed=seed, progress=advance)
    read_off = probes.probes(rows, speakers, emotions, seed)
    if as_json:
        print_json(
            {
                "table": str(table),
                "checkpoint": str(found.about.get("checkpoint", "")),
                **analysis.to_json(),
                "probes": {name: one and one.to_json() for name, one in read_off.items()},
            }
        )
    else:
        show_clusters(table.name, analysis, read_off)


def common_folder(utterances: Sequence[Utterance], root: Path | None) -> Path:
    """The folder of the corpora where all clips lie in it, else the one they have in common."""
    paths = [clip.path.absolute() for clip in utterances]
    if root is not None and all(path.is_relative_to(root.absolute()) for path in paths):
        return root.absolute()
    try:
        return Path(os.path.commonpath([path.parent for path in paths]))
    except ValueError as problem:  # on Windows, two drives
        raise UsageError("The clips lie on different drives: embed each corpus by itself.") from (
            problem
        )


@click.command("map")
@click.argument("table", type=PATH)
@click.option(
    "--out", required=True, type=PATH, help="FILE.parquet with coordinates, or FILE.html."
)
@click.option(
    "--dimensions", default=2, show_default=True, type=click.IntRange(2, 3), help="Of the map."
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1), help="Of UMAP."
)
def map_(table: Path, out: Path, dimensions: int, seed: int) -> None:
    """A map of embeddings (UMAP and PCA): a table with coordinates, or a page that stands alone."""
    from serdemo.embeddings import html_map

    count = html_map.write_map(table, out, dimensions, seed)
    click.echo(f"{out}: a map of {count} clips.", err=True)
