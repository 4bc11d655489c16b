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
@click.option("--out", required=True, type=PATH, help="Folder to write, new or of this command.")
def space(is_static: bool, out: Path) -> None:
    """Write the page as a folder for a host, such as a Space of the Hugging Face hub.

    With --static it needs no server but one of files: a static Space, which is free, any web server, or
    `python -m http.server`.
    """
    if not is_static:
        raise UsageError(
            "Add --static: a page that answers in the browser is what can be written so far."
        )
    from serdemo.ui.static_space import build

    paths = build.write(out)
    size = sum((out / path).stat().st_size for path in paths)
    click.echo(
        f"{out}: a static Space of {len(paths)} files, {size / 1e6:.0f} MB. Look at it:"
        f" python -m http.server --directory {out}",
        err=True,
    )
