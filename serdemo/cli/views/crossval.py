"""What a protocol found, as tables on a terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from serdemo.evaluation.report import Found, leakage, tables

WIDTH = 110  # columns; a cell broken over lines cannot be read


def show_protocol(found: Found, folder: Path) -> None:
    """Every table of a document, what sharing speakers is worth, and where the report lies."""
    out = Console(highlight=False, markup=False)
    out.width = max(out.width, WIDTH)
    out.print(found["protocol"], soft_wrap=True)
    for title, (head, *rows) in tables(found):
        table = Table(*head, box=None, title=title, title_justify="left", title_style="bold")
        for row in rows:
            table.add_row(*row)
        out.print()
        out.print(table)
    if told := leakage(found):
        out.print(f"\n{told}", soft_wrap=True)
    out.print(f"\nThe report: {folder / 'report.md'}", soft_wrap=True)
