"""`bench field`: all of a corpus's classes by its own protocol, as the field's tables have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from serdemo.cache import CacheOptions
from serdemo.commands.explore import common_folder, embedder
from serdemo.commands.flags import (
    CORPUS,
    DEVICE,
    JSON,
    PATH,
    ROOT,
    data_root,
    option_flags,
    print_json,
)


@click.command("field")
@click.argument("encoder", required=False, type=PATH)
@CORPUS
@ROOT
@click.option("--source", help="Of a pretrained encoder: a hub id, a folder or a file.")
@DEVICE
@JSON
def bench_field(
    encoder: Path | None,
    corpus: str,
    root: Path | None,
    source: str | None,
    device: str,
    as_json: bool,
    **values: Any,
) -> None:
    """All of a corpus's classes by its own protocol: an SVM, and a linear classifier on an ENCODER.

    The SVM is on functionals. ENCODER is what `embed` takes, and may have heard none of the speakers.
    """
    from serdemo import corpora
    from serdemo.bench.field import measure
    from serdemo.commands.show import progress

    options = CacheOptions.from_json({k: v for k, v in values.items() if v is not None})
    where = data_root(root)
    folder = None if encoder is None else embedder(encoder, source, options.folder)
    utterances = corpora.load_many(corpus, where)
    base = common_folder(utterances, where)
    with progress("Embedding", len(utterances), hidden=folder is None) as advance:
        rows = measure(utterances, folder, base, options, device=device, progress=advance)
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    for row in rows:
        low, high = row.uar_ci95
        click.echo(
            f"{row.corpus}, {row.classes} classes, {row.protocol} ({row.folds} folds, {row.speakers}"
            f" speakers, {row.clips} clips): {row.method}: UAR {row.uar:.1%} ({low:.1%} to"
            f" {high:.1%}), {row.uar_folds:.1%} as a mean of folds, accuracy {row.wa:.1%}"
        )


bench_field.params += option_flags((CacheOptions,))
