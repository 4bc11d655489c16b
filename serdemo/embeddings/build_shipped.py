"""Build the map shipped with a checkpoint: `python -m serdemo.embeddings.build_shipped compact`.

It holds no sound, lies in `shipped/`, and must be rebuilt whenever the checkpoint is retrained.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from serdemo.data import corpora
from serdemo.data.array_cache import CacheOptions
from serdemo.embeddings import embedding_map
from serdemo.embeddings.cluster_study import study
from serdemo.embeddings.embedding_map import MAPS, PROJECTIONS, EmbeddingMap
from serdemo.embeddings.extract import embed
from serdemo.embeddings.table import Table
from serdemo.nn.checkpoint_files import bundled_checkpoint
from serdemo.schema.errors import SerdemoError

MAX_CLIPS = 12_000
MAX_BYTES = 3_000_000


def subsample(table: Table, limit: int = MAX_CLIPS) -> Table:
    """Random subset of at most `limit` clips, stratified by speaker and emotion."""
    if len(table) <= limit:
        return table
    rng = np.random.default_rng(0)
    order = np.lexsort((rng.random(len(table)), np.array(table.emotions), np.array(table.speakers)))
    return table.take(np.sort(order[np.linspace(0, len(table) - 1, limit).astype(int)]))


@click.command()
@click.argument("checkpoint")
@click.option("--root", envvar="SERDEMO_DATA", required=True, type=click.Path(path_type=Path))
@click.option(
    "--cache", default="", help="Folder for embeddings [default: .cache/serdemo at home]."
)
def main(checkpoint: str, root: Path, cache: str) -> None:
    """Map the clips of all known corpora under --root (or SERDEMO_DATA) by a shipped CHECKPOINT."""
    names = [name for name in corpora.CORPORA if corpora.find(root, name)]
    clips = corpora.load_many(",".join(names), root)
    click.echo(f"{len(clips)} clips of {', '.join(names)}", err=True)
    folder = bundled_checkpoint(checkpoint)
    table = subsample(embed(folder, clips, root.absolute(), CacheOptions(cache=cache)).table)
    positions = {name: embedding_map.project(table, name) for name in PROJECTIONS}
    path = MAPS / f"{folder.name}.parquet"
    path.parent.mkdir(exist_ok=True)
    embedding_map.write(path, embedding_map.compress(EmbeddingMap(table, positions, *study(table))))
    size = path.stat().st_size
    click.echo(f"{path}: {size / 1e6:.2f} MB", err=True)
    if size > MAX_BYTES:
        raise SerdemoError(f"{path.name} is larger than {MAX_BYTES / 1e6:g} MB: thin it out.")


if __name__ == "__main__":
    main()
