"""Corpora from datasets of the Hugging Face hub, or saved by its library, by id and column names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serdemo.data.corpora.corpus import Note, ignore
from serdemo.data.corpora.embedded_sound import SoundCache, SoundFiles
from serdemo.data.corpora.spec import SpecOptions
from serdemo.data.corpora.table_clips import RowReader
from serdemo.data.corpora.table_columns import choose_columns
from serdemo.data.corpora.table_paths import ClipPaths
from serdemo.schema.errors import SerdemoError
from serdemo.schema.libraries import install_command
from serdemo.schema.types import Utterance


def read(
    identifier: str,
    options: SpecOptions,
    *,
    root: Path | None = None,
    unlabelled: bool = True,
    note: Note = ignore,
) -> list[Utterance]:
    """The clips of a dataset; `identifier` is an id on the hub or a folder that `datasets` can load.

    `options` names the columns, as for a table (`csv_table.read`): sound as an Audio feature, its
    bytes, or paths; emotions as class names or words. `name` is the configuration, and `split` may be
    a slice such as `train[:1000]`; `root` is where a label map may lie.

    Raises SerdemoError when the library is missing, or the dataset is not as described.
    """
    dataset = _load(identifier, options)
    columns = choose_columns(identifier, dataset.column_names, options.columns, note, "audio")
    dataset = dataset.select_columns(list(dict.fromkeys(columns.values())))
    dataset = _undecoded(dataset, columns["audio"], identifier)
    folder = Path(identifier)
    paths = ClipPaths(folder if folder.is_dir() else Path(), root, note=note)
    reader = RowReader(
        table=identifier,
        corpus=identifier.rstrip("/").replace("\\", "/").rpartition("/")[2],
        columns=columns,
        find=SoundFiles(paths, SoundCache(identifier)).find,
        options=options,
        labels=options.read_label_map(root),
        unlabelled=unlabelled,
        note=note,
    )
    names = {name: getattr(dataset.features[name], "names", None) for name in columns.values()}
    rows = ({name: _class(names[name], row[name]) for name in row} for row in dataset)
    return reader.read((f"{identifier}, row {number}", row) for number, row in enumerate(rows))


def _load(identifier: str, options: SpecOptions) -> Any:
    try:
        import datasets
    except ImportError:
        raise SerdemoError(
            f"Datasets of the Hugging Face hub need one more package: {install_command('datasets')}"
        ) from None
    folder = Path(identifier)
    try:
        if any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
            dataset = datasets.load_from_disk(identifier)
            if isinstance(dataset, datasets.DatasetDict):
                dataset = dataset[options.split]
        else:
            name, revision = options.name or None, options.revision or None
            dataset = datasets.load_dataset(
                identifier, name, split=options.split, revision=revision
            )
    except Exception as problem:  # of many kinds, some of packages below it
        reason = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        raise SerdemoError(f"The dataset {identifier} cannot be loaded: {reason}") from problem
    return dataset


def _undecoded(dataset: Any, column: str, identifier: str) -> Any:
    import datasets

    try:
        return dataset.cast_column(column, datasets.Audio(decode=False))
    except Exception as problem:  # of many kinds, some of packages below it
        raise SerdemoError(
            f"The column {column} of {identifier} holds no sound: name another by audio=COLUMN."
        ) from problem


def _class(names: Sequence[str] | None, value: Any) -> Any:
    """A class by its name, any other value as it is."""
    return names[value] if names and isinstance(value, int) and 0 <= value < len(names) else value
