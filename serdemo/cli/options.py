"""Flags that several commands share, each declared once."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from serdemo.schema.errors import UsageError
from serdemo.schema.options import Options, Spec, Value, specs

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


def _seconds(
    context: click.Context, parameter: click.Parameter, value: float | None
) -> float | None:
    if value is not None and math.isnan(value):
        raise UsageError("--stop-after must be a number of seconds, not nan.")
    return value


STOP_AFTER = click.option(
    "--stop-after",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    callback=_seconds,
    help="Stop after so many seconds, resumable.",
)
JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document and nothing else."
)


def option_flags(
    groups: Iterable[type[Options]], presets: Mapping[str, Value] | None = None
) -> list[click.Parameter]:
    """A flag for every option of the groups, None where it is not given; its help tells the default,
    that of `presets` where they have one."""
    return [
        click.Option(
            [f"{spec.flag}/--no-{spec.flag[2:]}" if spec.kind is bool else spec.flag],
            default=None,
            type=None if spec.kind is bool else spec.kind,
            metavar="|".join(spec.choices) or None,
            help=_help(spec, (presets or {}).get(spec.name, spec.default)),
        )
        for group in groups
        for spec in specs(group)
    ]


def _help(spec: Spec, default: Value) -> str:
    """A flag's help with its default, unless the help itself says what none given means."""
    return spec.help if "[default:" in spec.help else f"{spec.help} [default: {default}]"


def print_json(values: Any) -> None:
    """One JSON document on stdout, in ASCII so that any terminal, pipe and file name will do."""
    click.echo(json.dumps(values, allow_nan=False, indent=1))


def checkpoint_folder(given: Path) -> Path:
    """A checkpoint folder as given, or the shipped one of that name.

    Raises SerdemoError when there is neither.
    """
    from serdemo.nn.checkpoint_files import bundled_checkpoint

    return given if os.path.exists(given) else bundled_checkpoint(str(given))


THREADS = click.option(
    "--threads", default=2, show_default=True, type=click.IntRange(1, 256), help="CPU threads."
)


def print_figures(figures: dict[str, Any], as_json: bool) -> None:
    """Figures as one JSON document, or a line for each."""
    if as_json:
        print_json(figures)
        return
    for key, value in figures.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {number}" for name, number in value.items())
        click.echo(f"{key:24} {'-' if value is None else value}")
