"""Flags that several commands share, each declared once."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

PATH = click.Path(path_type=Path)

ROOT = click.option("--root", type=PATH, help="Folder of the corpora [default: SERDEMO_DATA].")
CORPUS = click.option(
    "--corpus", required=True, help="Names, folders, CSV files or hf:ID, with commas between."
)
CHECKPOINT = click.option(
    "--checkpoint",
    type=PATH,
    help="A checkpoint folder, or the name of a shipped one [default: compact].",
)
DEVICE = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document and nothing else."
)


def print_json(values: Any) -> None:
    """One JSON document on stdout, in ASCII so that any terminal, pipe and file name will do."""
    click.echo(json.dumps(values, allow_nan=False, indent=1))


def data_root(root: Path | None) -> Path | None:
    """The folder of the corpora: `--root`, else SERDEMO_DATA, else None."""
    given = root or os.environ.get("SERDEMO_DATA")
    return Path(given) if given else None


def checkpoint_folder(given: Path) -> Path:
    """A checkpoint folder as given, or the shipped one of that name.

    Raises SerdemoError when there is neither.
    """
    from serdemo.predict import shipped

    return given if os.path.exists(given) else shipped(str(given))
