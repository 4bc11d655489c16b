"""Terminal output of `crossval`."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from serdemo.evaluation.report import Found, leakage, tables

WIDTH = 110  # columns; a cell broken over lines cannot be read


def show_protocol(document: Found, folder: Path) -> None:
    """Print the tables of a report, the effect of leakage, and the path of the report."""
    out = Console(highlight=False, markup=False)
    out.width = max(out.width, WIDTH)
    out.print(document["protocol"], soft_wrap=True)
    for title, (head, *rows) in tables(document):
        table = Table(*head, box=None, title=title, title_justify="left", title_style="bold")
        for row in rows:
            table.add_row(*row)
        out.print()
        out.print(table)
    if sentence := leakage(document):
        out.print(f"\n{sentence}", soft_wrap=True)
    out.print(f"\nThe report: {folder / 'report.md'}", soft_wrap=True)
