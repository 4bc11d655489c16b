"""Options of a corpus on the command line: `shemo?drop=fear&labels=modified_shemo.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from serdemo.data.corpora import text_table
from serdemo.data.corpora.class_folders import Levels
from serdemo.data.corpora.emotion_names import emotion_word
from serdemo.data.corpora.label_map import read_label_map
from serdemo.data.corpora.registry import CORPORA
from serdemo.data.corpora.table_columns import NO_COLUMNS, choose_columns
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.remote_files import is_address
from serdemo.schema.types import Utterance

HUB = "hf:"
RECORD_SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet")  # tables in other formats than text
TABLE_SUFFIXES = (".csv", ".tsv", ".txt", *RECORD_SUFFIXES)
LEVELS = ("emotion_level", "speaker_level")
COLUMNS = ("audio", "emotion", "speaker", "gender", "language", "fold")
# What a corpus must be to have an option, for those that not all have.
KINDS = {
    "label_map": ("folder", "table", "dataset", "shards"),
    **dict.fromkeys(LEVELS, ("folder",)),
    **dict.fromkeys(COLUMNS, ("table", "dataset", "shards")),
    "encoding": ("table",),
    **dict.fromkeys(("name", "revision", "split"), ("dataset",)),
    "cache_gb": ("shards",),
}
CALLED = {
    "folder": "a folder with class folders",
    "table": "a table",
    "dataset": "hf:ID",
    "shards": "the address of shards",
}


@dataclass(frozen=True, slots=True)
class SpecOptions:
    """Options of one `--corpus` item, as texts.

    `drop` names emotions to leave out, by native label or ours, with `+` between. `labels` is a
    file of corrected labels (`corrected`), `label_map` one that maps labels to emotions
    (`label_map.read_label_map`). `emotion_level` and `speaker_level` are for a folder with class
    folders (`class_folders.Levels`). `audio` (also `path`), `emotion`, `speaker`, `gender`,
    `language` and `fold` are columns of a table or dataset, None for those with the usual names and
    empty for none (`table_columns.choose_columns`); `encoding` is that of a text table, and
    `cache_gb` how much of a corpus in shards may lie on disk (`shard_table.read`). The others
    are for `hf:ID` only: a dataset's configuration, revision and split (`hf_dataset.read`).
    """

    drop: str = ""
    labels: str = ""
    label_map: str = ""
    emotion_level: str = ""
    speaker_level: str = ""
    audio: str | None = None
    emotion: str | None = None
    speaker: str | None = None
    gender: str | None = None
    language: str | None = None
    fold: str | None = None
    encoding: str = ""
    name: str = ""
    revision: str = ""
    split: str = "train"
    cache_gb: str = ""

    def refuse_for(self, kind: str) -> None:
        """Raise UsageError for an option that a corpus of a kind (of `CALLED`, or known) lacks."""
        for option in fields(self):
            allowed = KINDS.get(option.name, (kind,))
            if kind not in allowed and getattr(self, option.name) != option.default:
                *others, last = (CALLED[name] for name in allowed)
                kinds = f"{', '.join(others)} or {last}" if others else last
                raise UsageError(f"The option {option.name} is for a corpus as {kinds} only.")

    @property
    def columns(self) -> dict[str, str | None]:
        """The columns that are named, by field."""
        return {name: getattr(self, name) for name in COLUMNS}

    def is_dropped(self, native: str, emotion: str | None) -> bool:
        """Whether `drop` names a label, given as native label and as our emotion."""
        return any(is_called(w, native, emotion) for w in self.drop.replace("+", " ").split())

    def read_label_map(self, root: Path | None) -> dict[str, str]:
        """The map of labels, which lies where it is named or below `root`; empty for none."""
        return read_label_map(_label_file(self.label_map, root)) if self.label_map else {}

    def levels(self) -> Levels:
        """The levels that are given; raises UsageError for one that is no number from 0 on."""
        for name in LEVELS:
            text = getattr(self, name)
            if text and not (text.isdecimal() and len(text) < 4):
                raise UsageError(f"{name} is {text!r}: give a number, 1 for the first folders.")
        emotion, speaker = (int(text) if (text := getattr(self, n)) else None for n in LEVELS)
        return Levels(emotion, speaker)

    def apply(self, clips: list[Utterance], root: Path | None) -> list[Utterance]:
        """Correct labels, then drop emotions; raises if no label matches or no clip is left."""
        if self.labels:
            clips = _relabel(clips, _label_file(self.labels, root))
        for word in self.drop.replace("+", " ").split():
            clips = [clip for clip in clips if not is_called(word, clip.native_label, clip.emotion)]
            if not clips:
                raise UsageError(f"Without {word} no clip is left: drop fewer emotions.")
        return clips


NO_OPTIONS = SpecOptions()


def is_called(word: str, native: str, emotion: str | None) -> bool:
    """Whether `word` names a label, given as native label and as our emotion."""
    return word.casefold() == native.casefold() or (bool(emotion) and emotion_word(word) == emotion)


def split_spec(spec: str) -> tuple[str, SpecOptions]:
    """A `--corpus` item and the options after its `?`; raises UsageError for an unknown option."""
    item, mark, query = spec.strip().partition("?")
    if not mark or os.path.exists(spec.strip()):
        return spec.strip(), NO_OPTIONS
    known = [option.name for option in fields(SpecOptions)]
    try:
        pairs = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True, strict_parsing=True)
    except ValueError:
        raise UsageError(f"The options in {spec!r} are not as name=value with & between.") from None
    pairs = [("audio" if name == "path" else name, value) for name, value in pairs]
    for name, _ in pairs:
        if name not in known:
            raise UsageError(f"A corpus has no option {name!r}; there are {', '.join(known)}.")
    return item, SpecOptions(**dict(pairs))


def with_options(specs: str, given: Mapping[str, str]) -> str:
    """The items of a `--corpus` with options that were given as flags.

    An option goes to each item of a kind that has it, unless the item has the option itself.
    """
    return ",".join(_with_options(item.strip(), given) for item in specs.split(","))


def _with_options(item: str, given: Mapping[str, str]) -> str:
    name, options = split_spec(item)
    if is_address(name):
        kind = "shards"
    elif name.startswith(HUB):
        kind = "dataset"
    elif name.lower() in CORPORA:
        kind = "known"
    else:
        is_table = name.lower().endswith(TABLE_SUFFIXES) and not os.path.isdir(name)
        kind = "table" if is_table else "folder"
    added = {
        key: value
        for key, value in given.items()
        if kind in KINDS.get(key, ()) and getattr(options, key) == getattr(NO_OPTIONS, key)
    }
    mark = "&" if name != item else "?"
    return item + mark + urlencode(added, quote_via=quote, safe="/:") if added else item


def corrected(path: Path) -> dict[str, str]:
    """Read corrected labels: lower-case file stem -> emotion, in any form `emotion_word` knows.

    JSON maps file names to an emotion, or to an object with `emotion` and optionally `speech_name`
    (the file's name, if it is not the key), as ShEMO's public correction does. CSV has columns for
    the path and the emotion. Raises SerdemoError for anything else.
    """
    try:
        rows = _json_rows(path) if path.suffix.lower() == ".json" else _csv_rows(path)
        labels = {Path(name.replace("\\", "/")).stem.lower(): word for _, name, word in rows}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SerdemoError(
            f"{path} holds no labels: give JSON of file names and emotions, or CSV with the columns"
            " path and emotion."
        ) from None
    for where, _, word in rows:
        if emotion_word(word) is None:
            raise SerdemoError(f"{where}: {word[:80]!r} is no emotion we know; correct it.")
    return labels


Rows = list[tuple[str, str, str]]  # where it stands, file name, emotion


def _json_rows(path: Path) -> Rows:
    entries: dict[str, Any] = json.loads(text_table.read_text(path)[0])
    objects = {k: {"emotion": v} if isinstance(v, str) else v for k, v in entries.items()}
    return [(str(path), v.get("speech_name", name), v["emotion"]) for name, v in objects.items()]


def _csv_rows(path: Path) -> Rows:
    table = text_table.read(path)
    columns = choose_columns(path.name, table.header, NO_COLUMNS | {"audio": None, "emotion": None})
    return [
        (f"{path.name}, line {n}", row[columns["audio"]], row.get(columns["emotion"], ""))
        for n, row in table.rows
    ]


def _label_file(name: str, root: Path | None) -> Path:
    places = [Path(), *([root, *sorted(root.glob("*"))] if root else [])]
    for path in (place / name for place in places):
        if os.path.isfile(path):
            return path
    raise UsageError(f"There is no file {name!r} of labels, nor in the data folder or one in it.")


def _relabel(clips: Sequence[Utterance], path: Path) -> list[Utterance]:
    labels = corrected(path)
    if not any(clip.path.stem.lower() in labels for clip in clips):
        raise SerdemoError(f"{path} names no clip of this corpus: check its file names.")
    return [_corrected(clip, labels.get(clip.path.stem.lower(), clip.emotion)) for clip in clips]


def _corrected(clip: Utterance, word: str) -> Utterance:
    emotion = emotion_word(word) or clip.emotion
    return clip if emotion == clip.emotion else replace(clip, emotion=emotion, native_label=word)
