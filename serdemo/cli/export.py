"""`serdemo export`: a checkpoint as an ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from serdemo.cli.options import CHECKPOINT_ARGUMENT, JSON, PATH, print_json
from serdemo.schema.errors import UsageError


@click.command()
@CHECKPOINT_ARGUMENT
@click.argument("clips", nargs=-1, type=PATH)
@click.option(
    "--format", "form", type=click.Choice(["onnx"]), default="onnx", help="Format [default: onnx]."
)
@click.option("--out", type=PATH, help="The file .onnx to write.")
@click.option(
    "--int8", is_flag=True, help="The encoder's matrices in 8 bits, a scale for each row."
)
@click.option(
    "--verify", is_flag=True, help="Compare with the checkpoint on CLIPS [default: example speech]."
)
@click.option(
    "--beside",
    is_flag=True,
    help="In place of --out: small graphs in the checkpoint's folder, which use its own weights.",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@JSON
def export(
    checkpoint: Path,
    clips: Sequence[Path],
    form: str,
    out: Path | None,
    int8: bool,
    verify: bool,
    beside: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Write a CHECKPOINT to one ONNX file, from sound to embedding and logits, for any ONNX runtime.

    With --verify both answer the same CLIPS, and nothing is written where they differ.
    """
    from serdemo.cli.views.export import show_differences
    from serdemo.evaluation import verified_export
    from serdemo.evaluation.agreement import example_speech

    if (out is None) != beside or (beside and (int8 or verify)):
        raise UsageError("Name a file with --out, or give --beside alone.")
    if clips and not verify:
        raise UsageError("CLIPS are for --verify.")
    if out is None:
        from serdemo.nn.onnx_export import write_graphs

        files, rows = write_graphs(checkpoint), []
    else:
        sources = (clips or example_speech()) if verify else ()
        rows = verified_export.export(checkpoint, out, int8=int8, clips=sources, force=force)
        files = [out]
    sizes = {str(path): path.stat().st_size for path in files}
    if as_json:
        print_json({"files": sizes, "clips": [row.to_json() for row in rows]})
        return
    if rows:
        show_differences(rows)
    for path, size in sizes.items():
        click.echo(f"{path} is written ({size / 1e6:.2f} MB).", err=True)
