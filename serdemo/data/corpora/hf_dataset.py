"""Corpora from datasets of the Hugging Face hub, or saved by its library, by id and column names.

Rows hold sound as bytes, while the rest of the project reads files. So each clip is written once,
named by the hash of its bytes, to the cache folder, which may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from serdemo.data.corpora.corpus import AUDIO_SUFFIXES
from serdemo.data.corpora.emotion_names import emotion_word
from serdemo.data.corpora.spec import SpecOptions, is_called
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import atomic, make_folder
from serdemo.schema.libraries import install_command
from serdemo.schema.settings import cache_root
from serdemo.schema.types import UNKNOWN_SPEAKER, Utterance

MAX_BYTES = 50_000_000_000  # of clips written per dataset


def read(identifier: str, options: SpecOptions) -> list[Utterance]:
    """The clips of a dataset; `identifier` is an id on the hub or a folder that `datasets` can load.

    `options` names the columns: `audio` (an Audio feature, its bytes, or paths), `emotion` (class
    names or words that `emotion_word` knows), `speaker` (empty: all are `unknown`) and optionally
    `gender`, `language` and `fold`; `name` is the configuration, and `split` may be a slice such as
    `train[:1000]`. Unknown emotions must be in `drop`.

    Raises SerdemoError when the library is missing, or the dataset is not as described.
    """
    rows = _rows(identifier, options)
    dropped = options.drop.replace("+", " ").split()
    corpus = identifier.rstrip("/").replace("\\", "/").rpartition("/")[2].lower()
    written, clips = 0, []
    for number, row in enumerate(rows):
        native = _text(rows, row, options.emotion)
        emotion = emotion_word(native)
        if any(is_called(word, native, emotion) for word in dropped):
            continue
        if emotion is None:
            raise SerdemoError(
                f"{identifier}, row {number}: {native[:80]!r} is no emotion we know; leave it out by"
                f" drop={native[:80]}, or name the right column by emotion=COLUMN."
            )
        path, size = _clip(row[options.audio], f"{identifier}, row {number}")
        written += size
        if written > MAX_BYTES:
            raise SerdemoError(
                f"{identifier} holds more than {MAX_BYTES // 10**9} GB of sound: take a part of it,"
                f" as in split={options.split}[:1000]."
            )
        gender = _text(rows, row, options.gender)[:1].lower()
        clips.append(
            Utterance(
                path=path,
                corpus=corpus,
                speaker=_text(rows, row, options.speaker) or UNKNOWN_SPEAKER,
                emotion=emotion,
                native_label=native,
                gender=gender if gender in ("f", "m") else "",
                language=_text(rows, row, options.language),
                fold=_text(rows, row, options.fold),
            )
        )
    if not clips:
        raise SerdemoError(f"{identifier} holds no clips in the split {options.split}.")
    return clips


def _rows(identifier: str, options: SpecOptions) -> Any:
    """The dataset with only the columns of `options`, sound undecoded."""
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
    fields = ("audio", "emotion", "speaker", "gender", "language", "fold")
    columns = {field: column for field in fields if (column := getattr(options, field))}
    for field, column in columns.items():
        if column not in dataset.column_names:
            raise UsageError(
                f"{identifier} has no column {column!r}: name one by {field}=COLUMN; it has"
                f" {', '.join(dataset.column_names)}."
            )
    dataset = dataset.select_columns(list(dict.fromkeys(columns.values())))
    return dataset.cast_column(options.audio, datasets.Audio(decode=False))


def _text(rows: Any, row: dict[str, Any], column: str) -> str:
    """A value as text, a class by its name; empty without a value or a `column`."""
    if not column:
        return ""
    names, value = getattr(rows.features[column], "names", None), row[column]
    if names and isinstance(value, int) and 0 <= value < len(names):
        value = names[value]
    return "" if value is None else str(value)


def _clip(sound: Any, where: str) -> tuple[Path, int]:
    """The file of a row's sound, and the number of its bytes in the cache."""
    named = Path(sound.get("path") or "")
    content = sound.get("bytes")
    if content is None:
        if not os.path.isfile(named):
            raise SerdemoError(f"{where}: no sound is stored, and there is no file {str(named)!r}.")
        return named, 0
    suffix = named.suffix.lower() if named.suffix.lower() in AUDIO_SUFFIXES else ".wav"
    key = hashlib.sha256(content).hexdigest()
    path = cache_root() / "clips" / key[:2] / f"{key}{suffix}"
    if not path.is_file() or path.stat().st_size != len(content):
        make_folder(path.parent)
        with atomic(path) as temporary:
            temporary.write_bytes(content)
    return path, len(content)
