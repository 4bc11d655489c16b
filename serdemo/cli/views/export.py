"""Terminal output of `export`: both forms' labels of each clip, and how far they differ."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from serdemo.cli.views.console import plain_console
from serdemo.evaluation.agreement import ClipDifference


def show_differences(rows: Sequence[ClipDifference]) -> None:
    """Print a row for each clip, and the largest difference of all."""
    out = plain_console()
    table = Table("clip", "checkpoint", "ONNX", "difference", box=None)
    for row in rows:
        table.add_row(row.clip, *row.labels, f"{row.difference:.1e}")
    out.print(table, soft_wrap=False)
    changed = sum(row.is_changed for row in rows)
    worst = max(row.difference for row in rows)
    out.print(
        f"Largest difference {worst:.1e} on {len(rows)} clips; another label for {changed or 'none'}."
    )
