"""`embed`, `clusters` and `map`: a table of embeddings, and its analysis."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serdemo.cli.batch import BATCH, Batch
from serdemo.cli.exits import tell
from serdemo.cli.options import (
    CORPUS_OR_LIST,
    DEVICE,
    JSON,
    LABEL_MAP,
    LIST,
    PATH,
    ROOT,
    SOURCE,
    checkpoint_folder,
    given_options,
    option_flags,
    print_json,
)
from serdemo.data.array_cache import CacheOptions
from serdemo.embeddings.map_options import MapOptions
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.settings import data_root
from serdemo.schema.text import counted

if TYPE_CHECKING:
    from serdemo.schema.types import Utterance

MAX_NAMED = 5  # unreadable clips that are named


@click.command()
@click.argument("checkpoint", type=PATH)
@CORPUS_OR_LIST
@LIST
@ROOT
@click.option(
    "--out",
    required=True,
    type=PATH,
    help="The Parquet file to write; of a list a folder for parts, which a second start goes on with.",
)
@BATCH
@SOURCE
@LABEL_MAP
@DEVICE
@JSON
def embed(
    checkpoint: Path,
    corpus: str | None,
    list_file: Path | None,
    root: Path | None,
    out: Path,
    source: str | None,
    label_map: dict[str, str] | None,
    device: str,
    as_json: bool,
    parts: Batch,
    **values: Any,
) -> None:
    """Embed every clip of a corpus, or of a list, with a CHECKPOINT, into a table with a row for each clip.

    CHECKPOINT is a folder (also of a model of transformers), OWNER/NAME on the hub, the name of a shipped
    one, or a pretrained encoder that is not fine-tuned:
    wavlm, hubert, wav2vec2, whisper or xvector, read from --source.
    """
    from serdemo.cli.views.console import progress
    from serdemo.data import corpora
    from serdemo.data.recording_list import read_list
    from serdemo.embeddings import table
    from serdemo.embeddings.extract import embed as embed_clips

    options = CacheOptions.from_json(given_options(values))
    if (corpus is None) == (list_file is None):
        raise UsageError("Name what to embed by --corpus or by --list, one of them.")
    if list_file is not None:
        if out.suffix or out.is_file():
            raise UsageError(f"A list is embedded in parts, and --out {out} must name a folder.")
        parts.run(
            *("embed", read_list(list_file), out),
            checkpoint=embedder(checkpoint, source, options.folder, label_map),
            device=device,
            label_map=label_map,
            as_json=as_json,
        )
        return
    assert corpus is not None  # as there is no list
    parts.refuse()
    if out.is_dir() or not out.parent.is_dir():
        raise UsageError(f"--out {out} must name a file in an existing folder.")
    where = data_root(root)
    folder = embedder(checkpoint, source, options.folder, label_map)
    utterances = corpora.load_many(corpus, where, note=tell)
    base = common_folder(utterances, where)
    with progress("Embedding", len(utterances)) as advance:
        result = embed_clips(
            *(folder, utterances, base, options),
            device=device,
            progress=advance,
            label_map=label_map,
        )
    table.write(out, result.table)
    for sentence in result.errors[:MAX_NAMED]:
        click.echo(f"Left out: {sentence}", err=True)
    more = f", {len(result.errors)} left out" if result.errors else ""
    counts = f"{len(result.table)} clips, {result.cached} of them from the cache{more}"
    if as_json:
        totals = {"clips": len(result.table), "cached": result.cached, "errors": result.errors}
        print_json({"out": str(out), "base": str(base), **totals})
        return
    click.echo(f"{out}: {counts}; paths are relative to {base}.", err=True)


def embedder(
    path: Path, source: str | None, cache: Path, label_map: Mapping[str, str] | None = None
) -> Path:
    """Checkpoint folder of a folder, a shipped checkpoint's name, or a pretrained encoder's kind."""
    if source is None:
        with suppress(SerdemoError):  # it may be an encoder
            return checkpoint_folder(path, label_map)
    from serdemo.nn.encoders.options import PRETRAINED

    if str(path) in PRETRAINED and not path.exists():
        from serdemo.embeddings.raw_encoder import raw_encoder_embeddings

        return raw_encoder_embeddings(str(path), source or "", cache)
    if source is not None:
        names = ", ".join(PRETRAINED)
        raise UsageError(f"--source is for a pretrained encoder ({names}), not for {path}.")
    return checkpoint_folder(path, label_map)  # raises with the reason


embed.params += option_flags((CacheOptions,))


@click.command()
@click.argument("table", type=PATH)
@click.option(
    "--k",
    type=click.IntRange(min=2),
    help="Clusters of each speaker [default: 3 to 10, by silhouette].",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, help="Seed of k-means and of the probes."
)
@JSON
def clusters(table: Path, k: int | None, seed: int, as_json: bool) -> None:
    """Agreement of clusters within each speaker of a TABLE (see `embed`) with the emotions.

    Also with all speakers pooled and with shuffled emotions, and the accuracy of linear probes for
    speaker and emotion. Of a large table a random sample of speakers and clips is compared.
    """
    import numpy as np

    from serdemo.cli.views.console import progress
    from serdemo.cli.views.embed import show_clusters
    from serdemo.embeddings.cluster_study import probed_rows
    from serdemo.embeddings.table import read
    from serdemo.metrics import probes
    from serdemo.metrics.clusters import analyse

    clips = read(table)
    known = [place for place, emotion in enumerate(clips.emotions) if emotion]
    speaker_known = clips.speaker_known
    people = [place for place in known if speaker_known[place]]
    if not known:
        raise SerdemoError(f"No clip of {table.name} has an emotion to compare clusters with.")
    if not people:
        tell(f"No speaker of {table.name} is known: its clips are clustered as one person's.")
    elif len(people) < len(known):
        tell(f"{counted(len(known) - len(people), 'clip')} of unknown speakers left out.")
    known = people or known
    speakers = clips.speakers
    chosen = [known[at] for at in probed_rows([speakers[place] for place in known], seed)]
    if len(chosen) < len(known):
        tell(
            f"{len(chosen)} of {len(known)} clips, by {len({speakers[at] for at in chosen})} of"
            f" {len({speakers[at] for at in known})} speakers, are compared, chosen at random."
        )
    clips = clips.take(np.array(chosen))
    columns = clips.embedding, clips.speakers, clips.emotions
    with progress("Clustering", len(set(clips.speakers)), hidden=as_json) as advance:
        analysis = analyse(*columns, k or 0, seed=seed, progress=advance)
    probe_results = probes.probes(*columns, seed)
    if not as_json:
        show_clusters(table.name, analysis, probe_results)
        return
    origin = {"table": str(table), "checkpoint": str(clips.about.get("checkpoint", ""))}
    scores = {name: probe and probe.to_json() for name, probe in probe_results.items()}
    print_json({**origin, **analysis.to_json(), "probes": scores})


def common_folder(utterances: Sequence[Utterance], root: Path | None) -> Path:
    """The root of the corpora where all clips lie in it, else the clips' common folder."""
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
def map_(table: Path, out: Path, **values: Any) -> None:
    """Map of the embeddings of a TABLE (UMAP and PCA): a table with coordinates, or an HTML page.

    TABLE is a file of `embed`, or a folder of parts. A table of more clips than --sample is mapped in
    bounded memory: UMAP and PCA are fitted on a random sample, and the other clips placed by their
    nearest neighbours in it.
    """
    from serdemo.cli.views.console import progress
    from serdemo.embeddings import html_map
    from serdemo.embeddings.table import TableFile

    options = MapOptions.from_json(given_options(values))
    count = len(TableFile(table))
    with progress("Mapping", count, hidden=count <= options.sample) as advance:
        html_map.write_map(table, out, options, advance)
    fitted = f", fitted on {options.sample} of them" if count > options.sample else ""
    click.echo(f"{out}: a map of {count} clips{fitted}.", err=True)


map_.params += option_flags((MapOptions,))
