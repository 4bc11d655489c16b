"""Flags that several commands share, each declared once."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from serdemo.cli.exits import tell
from serdemo.nn.checkpoint_files import SHIPPED
from serdemo.schema.errors import UsageError
from serdemo.schema.options import Options, Spec, Value, specs
from serdemo.schema.renamed_options import (
    MOVED,
    MOVED_TO,
    REMOVED,
    RENAMED_VALUES,
    current_options,
    flag,
)

if TYPE_CHECKING:
    from serdemo.runs.tracking import Tracking

F = TypeVar("F", bound=Callable[..., Any] | click.Command)

PATH = click.Path(path_type=Path)

ROOT = click.option("--root", type=PATH, help="Folder of the corpora [default: SERDEMO_DATA].")
CORPUS_OPTIONS = "corpus"  # key of the options of corpora that flags gave, in a context's `meta`


def _set_corpus_option(
    context: click.Context, parameter: click.Parameter, value: object | None
) -> None:
    if value is not None:
        context.meta.setdefault(CORPUS_OPTIONS, {})[parameter.name] = str(value)


def _set_columns(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    from serdemo.data.corpora.table_columns import parse_columns

    context.meta.setdefault(CORPUS_OPTIONS, {}).update(parse_columns(value or ""))


def _with_corpus_options(
    context: click.Context, parameter: click.Parameter, specs: str | None
) -> str | None:
    from serdemo.data.corpora.spec import with_options

    return specs and with_options(specs, context.meta.get(CORPUS_OPTIONS, {}))


def _level_option(kind: str, lowest: int, help: str) -> Callable[[F], F]:
    """A flag that becomes an option of each folder in `--corpus`."""
    return click.option(
        f"--{kind}-level",
        type=click.IntRange(min=lowest),
        metavar="N",
        callback=_set_corpus_option,
        expose_value=False,
        is_eager=True,  # read before --corpus
        help=help,
    )


def corpus_flags(command: F, *, required: bool = True) -> F:
    """`--corpus`, with the flags that say how the folders and tables in it are read."""
    options = (
        click.option(
            "--corpus",
            required=required,
            callback=_with_corpus_options,
            help="Names, folders, tables (CSV, JSON, Parquet) or hf:ID, with commas between; to train and to"
            " evaluate also addresses of shards, such as s3://bucket/corpus.",
        ),
        _level_option(
            "speaker",
            0,
            "Level of the folders named after speakers, 1 for those in the corpus folder, 0 for none"
            " [default: found by their names].",
        ),
        _level_option(
            "emotion", 1, "Level of those named after emotions [default: found by their names]."
        ),
        click.option(
            "--columns",
            metavar="FIELD=COLUMN,...",
            callback=_set_columns,
            expose_value=False,
            is_eager=True,
            help="Columns of tables, as in path=filename,emotion=label [default: usual names].",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


CORPUS, CORPUS_OR_LIST = corpus_flags, partial(corpus_flags, required=False)


def checkpoint_folder(path: Path, label_map: Mapping[str, str] | None = None) -> Path:
    """A folder, that of the shipped checkpoint of a name, or that of OWNER/NAME on the hub.

    A model of the hub is downloaded into the registry once, with the `label_map` that it may need.
    Raises SerdemoError when there is none of these.
    """
    from serdemo.nn.checkpoint_files import bundled_checkpoint

    if os.path.exists(path):
        return path
    if len(path.parts) == 2 and not path.is_absolute():
        from serdemo.runs.registry import hub
        from serdemo.runs.registry.store import default_registry

        folder = hub.resolve_checkpoint(path.as_posix(), default_registry(), label_map)
        if folder.exists():
            return folder
    return bundled_checkpoint(str(path))


def _resolve_checkpoint(
    context: click.Context, parameter: click.Parameter, path: Path | None
) -> Path | None:
    label_map = context.params.get("label_map")
    return None if path is None else checkpoint_folder(path, label_map)


LIST = click.option(
    "--list",
    "list_file",
    type=PATH,
    help="The recordings that a file names: a path or an address (such as s3://) a line, or the column path"
    " or file of CSV, Parquet or JSONL.",
)
SOURCE = click.option(
    "--source", help="Hub id, folder or file of a pretrained encoder [default: its usual id]."
)
CHECKPOINT = click.option(
    "--checkpoint",
    type=PATH,
    callback=_resolve_checkpoint,
    help="A checkpoint or a model of transformers: its folder, OWNER/NAME on the hub, or the name of a"
    f" shipped one [default: {SHIPPED}].",
)


def _read_label_map(
    context: click.Context, parameter: click.Parameter, path: Path | None
) -> dict[str, str] | None:
    from serdemo.data.corpora.label_map import read_label_map

    _set_corpus_option(context, parameter, path)
    return None if path is None else read_label_map(path)


LABEL_MAP = click.option(
    "--label-map",
    metavar="FILE",
    type=PATH,
    is_eager=True,  # read before the checkpoint, which may be downloaded with it
    callback=_read_label_map,
    help="Labels of a model or of a table -> ours: a JSON object, or a CSV file `label,emotion`.",
)
CORPUS_LABEL_MAP = click.option(
    "--label-map",
    metavar="FILE",
    callback=_set_corpus_option,
    expose_value=False,
    is_eager=True,
    help="Labels of tables and folders -> ours: a JSON object, or a CSV file `label,emotion`.",
)
CHECKPOINT_ARGUMENT = click.argument("checkpoint", type=PATH, callback=_resolve_checkpoint)
SPEAKERS = click.option(
    "--speakers",
    default="unseen",
    show_default=True,
    help="Speakers to test on: unseen, all, or ids with commas between.",
)
DEVICE = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")


def check_seconds(
    context: click.Context, parameter: click.Parameter, value: float | None
) -> float | None:
    """Callback of a flag in seconds: raises UsageError for nan."""
    if value is not None and math.isnan(value):
        raise UsageError(f"{parameter.opts[0]} must be a number of seconds, not nan.")
    return value


RUN = click.option("--run", "run_dir", required=True, type=PATH, help="Folder of the run.")
STOP_AFTER = click.option(
    "--stop-after",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    callback=check_seconds,
    help="Stop after so many seconds, resumable.",
)


def _tracking(context: click.Context, parameter: click.Parameter, value: str | None) -> Tracking:
    from serdemo.runs.tracking import Tracking, parse

    return Tracking(() if value is None else parse(value), note=tell)


TRACK = click.option(
    "--track",
    "tracking",
    metavar="NAME[,NAME]",
    callback=_tracking,
    help="Send the curves to trackers: tensorboard, wandb, mlflow, trackio [default: none].",
)
JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document and nothing else."
)


def number_option(
    flag: str, default: float, low: float, high: float, help: str
) -> Callable[[F], F]:
    """A flag for a number in [low, high], whole where `default` is."""
    bounds: Any = click.IntRange if isinstance(default, int) else click.FloatRange
    return click.option(flag, default=default, show_default=True, type=bounds(low, high), help=help)


def corpus_option(default: str) -> Callable[[F], F]:
    """`--corpus` with a default."""
    return click.option(
        "--corpus", default=default, show_default=True, help="Names, folders or CSV files."
    )


THREADS = number_option("--threads", 2, 1, 256, "CPU threads.")


def option_flags(
    groups: Iterable[type[Options]], presets: Mapping[str, Value] = MappingProxyType({})
) -> list[click.Parameter]:
    """Flags for every option of the groups, None where not given; former flags are hidden.

    Help states the default, which is that of `presets` where they name the option.
    """
    declared = [spec for group in groups for spec in specs(group)]
    return [
        *(_flag(spec.name, spec.kind, _help(spec, presets), spec.choices) for spec in declared),
        *(
            _flag(old, str if spec.name in RENAMED_VALUES else spec.kind)
            for spec in declared
            for old in spec.former_names
        ),
    ]


def former_flags(recipe: str, declared: Iterable[click.Parameter]) -> list[click.Parameter]:
    """Hidden flags of the options that a recipe had, apart from those that are `declared`."""
    names = {parameter.name for parameter in declared}
    removed = [_flag(name, kind) for name, kind in REMOVED.items() if name not in names]
    return [*removed, *(_moved_flag(name) for name in MOVED.get(recipe, ()))]


def _moved_flag(name: str) -> click.Option:
    def refuse(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            raise UsageError(f"{flag(name)} is gone: {MOVED_TO}.")

    return click.Option([flag(name)], callback=refuse, expose_value=False, hidden=True)


def _flag(
    name: str, kind: type, help: str | None = None, choices: tuple[str, ...] = ()
) -> click.Option:
    """A flag that is None where not given, hidden without `help`; a bool one has a `--no-` form."""
    spelling = flag(name)
    return click.Option(
        [f"{spelling}/--no-{spelling[2:]}" if kind is bool else spelling],
        default=None,
        type=None if kind is bool else kind,
        metavar="|".join(choices) or None,
        help=help,
        hidden=help is None,
    )


def _help(spec: Spec, presets: Mapping[str, Value]) -> str:
    """Help that ends in the default, unless the declaration states what the default means."""
    if "[default:" in spec.help:
        return spec.help
    return f"{spec.help} [default: {presets.get(spec.name, spec.default)}]"


def given_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """Options that were given (not None) under their present names.

    Warns on stderr of options that were removed. Raises UsageError where an option is given under
    its present and its former name.
    """
    options = {name: value for name, value in values.items() if value is not None}
    current = current_options(options)
    for name in options:
        if name in REMOVED:
            tell(f"{flag(name)} was removed in 0.2.0, as it improved no result: it is ignored.")
    return current


def print_json(values: Any) -> None:
    """One JSON document on stdout, in ASCII so that any terminal, pipe and file name will do."""
    click.echo(json.dumps(values, allow_nan=False, indent=1))


def print_figures(figures: dict[str, Any], as_json: bool) -> None:
    """Figures as one JSON document, or a line for each."""
    if as_json:
        print_json(figures)
        return
    for key, value in figures.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {number}" for name, number in value.items())
        click.echo(f"{key:24} {'-' if value is None else value}")
