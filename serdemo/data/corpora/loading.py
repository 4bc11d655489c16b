"""Clips of what a user names as a corpus: a known name, a folder, a CSV file or a hub dataset."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from serdemo.data.corpora import class_folders, csv_table, hf_dataset
from serdemo.data.corpora.registry import CORPORA, find, normalise_speaker, parse_all
from serdemo.data.corpora.spec import split_spec
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Utterance

HUB = "hf:"


def load(spec: str, root: Path | None = None) -> list[Utterance]:
    """The clips of one `--corpus` item: a name in `CORPORA`, a folder, a CSV file or `hf:ID`.

    Folders and files are looked up as given, then under `root`. A folder is read both as known
    corpora and as class folders (`class_folders.read`); the reading with more clips counts, known
    corpora on a tie. A CSV file is read by `csv_table.read`; `root/NAME.csv` stands for a known
    corpus without a folder. `hf:ID` is a dataset of the Hugging Face hub (`hf_dataset.read`).
    Options may follow a `?` (`spec.SpecOptions`).

    Raises UsageError when `spec` is none of these, SerdemoError when it holds no clips.
    """
    item, options = split_spec(spec)
    if item.startswith(HUB):
        clips = _canonical(hf_dataset.read(item.removeprefix(HUB), options))
    else:
        options.refuse_columns()
        clips = _load(item, root)
    return options.apply(clips, root)


def load_many(specs: str, root: Path | None = None, *, unlabelled: bool = False) -> list[Utterance]:
    """The clips of all items of a comma-separated `--corpus`, each file once.

    Raises the errors of `load`, and of `require_labels` unless `unlabelled` clips are allowed.
    """
    items = [item.strip() for item in specs.split(",") if item.strip()]
    if not items:
        raise UsageError(f"No corpus is named: give one or more of {', '.join(CORPORA)}.")
    utterances = [utterance for item in items for utterance in load(item, root)]
    if not unlabelled:
        require_labels(utterances)
    return list({utterance.path.resolve(): utterance for utterance in utterances}.values())


def require_labels(utterances: Sequence[Utterance]) -> None:
    """Raise SerdemoError when a clip has no emotion."""
    names = [utterance.path.name for utterance in utterances if not utterance.emotion]
    if names:
        raise SerdemoError(
            f"{names[0]} has no emotion ({len(names)} of {len(utterances)} clips): fill it in, or"
            " train a recipe that needs no labels."
        )


def _load(spec: str, root: Path | None) -> list[Utterance]:
    name = spec.strip().lower()
    if name in CORPORA:
        return _load_known(name, root)
    for path in [Path(spec), *([root / spec, root / f"{spec}.csv"] if root else [])]:
        if name and os.path.isdir(path):
            return _load_folder(path)
        if os.path.isfile(path):
            return _canonical(csv_table.read(path))
    raise UsageError(
        f"There is no corpus, folder or CSV file called {spec!r}; the known corpora are "
        f"{', '.join(CORPORA)}."
    )


def _load_known(name: str, root: Path | None) -> list[Utterance]:
    corpus = CORPORA[name]
    if root is None:
        raise UsageError(
            f"Where {corpus.title} lies is not known: give --root or set SERDEMO_DATA."
        )
    if utterances := find(root, name):
        return utterances
    if (root / f"{name}.csv").is_file():
        return _canonical(csv_table.read(root / f"{name}.csv"))
    raise SerdemoError(f"No clip of {corpus.title} was found under {root}. {corpus.obtain}")


def _load_folder(path: Path) -> list[Utterance]:
    official = [clip for corpus in CORPORA.values() for clip in parse_all(corpus, [path])]
    by_class = class_folders.read(path)
    if not official and not by_class:
        raise SerdemoError(
            f"No clip under {path} lies in a folder named after an emotion: sort the audio into "
            "folders such as angry, happy, neutral, sad, or describe it in a CSV file with the "
            "columns path,speaker,emotion."
        )
    return by_class if len(by_class) > len(official) else official


def _canonical(clips: list[Utterance]) -> list[Utterance]:
    """The clips with speakers of known corpora under their canonical ids."""
    return [replace(clip, speaker=normalise_speaker(clip.corpus, clip.speaker)) for clip in clips]
