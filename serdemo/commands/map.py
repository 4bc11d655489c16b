"""`map`: embeddings on a plane, as a table or a page."""

from __future__ import annotations

from pathlib import Path

import click

from serdemo.commands.flags import PATH


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
    from serdemo.explore import maps

    count = maps.make(table, out, dimensions, seed)
    click.echo(f"{out}: a map of {count} clips.", err=True)
