"""`space`: the page as a folder for a host."""

from __future__ import annotations

from pathlib import Path

import click

from serdemo.cli.options import PATH
from serdemo.schema.errors import UsageError


@click.command()
@click.option(
    "--static", "is_static", is_flag=True, help="A page that answers in the visitor's browser."
)
@click.option(
    "--zerogpu", is_flag=True, help="For a Space that lends each visitor a GPU to train with."
)
@click.option("--out", required=True, type=PATH, help="Folder to write, new or of this command.")
def space(is_static: bool, zerogpu: bool, out: Path) -> None:
    """Write the page as a folder for a host: a Space of the Hugging Face hub.

    It runs the page on a processor, or with --zerogpu where a GPU is lent for training. With --static it
    needs no server but one of files: a static Space, which is free, any web server, or `python -m
    http.server`.
    """
    if is_static and zerogpu:
        raise UsageError(
            "A static page has no server to lend a GPU to: leave out --static or --zerogpu."
        )
    from serdemo.ui.hosting import folder

    if is_static:
        from serdemo.ui.static_space import build

        content = build.contents()
    else:
        from serdemo.ui.hosting import gradio_space

        content = gradio_space.contents(zerogpu)
    paths = folder.write(out, content)
    size = sum(map(len, content.values()))
    kind = "static" if is_static else "ZeroGPU" if zerogpu else "Gradio"
    look = f"python -m http.server --directory {out}" if is_static else f"cd {out} && python app.py"
    click.echo(
        f"{out}: a {kind} Space of {len(paths)} files, {size / 1e6:.0f} MB. Look at it: {look}",
        err=True,
    )
