"""Options of a corpus on the command line: `shemo?drop=fear&labels=modified_shemo.json`."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from serdemo.data.corpora.class_folders import Levels
from serdemo.data.corpora.emotion_names import emotion_word
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Utterance

MAX_LABEL_BYTES = 100_000_000
LEVELS = ("emotion_level", "speaker_level")


@dataclass(frozen=True, slots=True)
class SpecOptions:
    """Options of one `--corpus` item, as texts.

    `drop` names emotions to leave out, by native label or ours, with `+` between. `labels` is a
    file of corrected labels (`corrected`). `emotion_level` and `speaker_level` are for a folder with
    class folders (`class_folders.Levels`). The others are for `hf:ID` only: the columns of a
    dataset, its configuration, revision and split (`hf_dataset.read`).
    """

    drop: str = ""
    labels: str = ""
    emotion_level: str = ""
    speaker_level: str = ""
    audio: str = "audio"
    emotion: str = "emotion"
    speaker: str = "speaker"
    gender: str = ""
    language: str = ""
    fold: str = ""
    name: str = ""
    revision: str = ""
    split: str = "train"

    def refuse_columns(self) -> None:
        """Raise UsageError for an option that only a dataset of the hub has."""
        for option in fields(self):
            changed = getattr(self, option.name) != option.default
            if changed and option.name not in ("drop", "labels", *LEVELS):
                raise UsageError(f"The option {option.name} is for a corpus as hf:ID only.")

    def refuse_levels(self) -> None:
        """Raise UsageError for an option that only a folder has."""
        for name in LEVELS:
            if getattr(self, name):
                raise UsageError(f"The option {name} is for a folder with class folders only.")

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


def is_called(word: str, native: str, emotion: str | None) -> bool:
    """Whether `word` names a label, given as native label and as our emotion."""
    return word.casefold() == native.casefold() or (bool(emotion) and emotion_word(word) == emotion)


def split_spec(spec: str) -> tuple[str, SpecOptions]:
    """A `--corpus` item and the options after its `?`; raises UsageError for an unknown option."""
    item, mark, query = spec.strip().partition("?")
    if not mark or os.path.exists(spec.strip()):
        return spec.strip(), SpecOptions()
    known = [option.name for option in fields(SpecOptions)]
    try:
        pairs = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True, strict_parsing=True)
    except ValueError:
        raise UsageError(f"The options in {spec!r} are not as name=value with & between.") from None
    for name, _ in pairs:
        if name not in known:
            raise UsageError(f"A corpus has no option {name!r}; there are {', '.join(known)}.")
    return item, SpecOptions(**dict(pairs))


def with_levels(specs: str, levels: Mapping[str, int]) -> str:
    """A comma-separated `--corpus` with levels as options of each folder that has no such option."""
    items = [item.strip() for item in specs.split(",")]
    return ",".join(_with_levels(item, levels) for item in items)


def _with_levels(item: str, levels: Mapping[str, int]) -> str:
    name, options = split_spec(item)
    is_folder = os.path.isdir(name) or not Path(name).suffix
    if not levels or not is_folder or name.startswith("hf:"):
        return item
    added = [f"{key}={n}" for key, n in levels.items() if not getattr(options, key)]
    mark = "&" if name != item else "?"
    return item + mark + "&".join(added) if added else item


def corrected(path: Path) -> dict[str, str]:
    """Read corrected labels: lower-case file stem -> emotion, in any form `emotion_word` knows.

    JSON maps file names to an emotion, or to an object with `emotion` and optionally `speech_name`
    (the file's name, if it is not the key), as ShEMO's public correction does. CSV has the columns
    `path` and `emotion`. Raises SerdemoError for anything else.
    """
    try:
        if path.stat().st_size > MAX_LABEL_BYTES:
            raise ValueError("too large")
        text = path.read_text(encoding="utf-8-sig")
        rows = _json_rows(text) if path.suffix.lower() == ".json" else _csv_rows(text)
        labels = {Path(name).stem.lower(): word for name, word in rows}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, csv.Error):
        raise SerdemoError(
            f"{path} holds no labels: give JSON of file names and emotions, or CSV with the columns"
            " path and emotion."
        ) from None
    if unknown := sorted({word for word in labels.values() if emotion_word(word) is None}):
        raise SerdemoError(f"{path}: {unknown[0]!r} is no emotion we know; correct it.")
    return labels


def _json_rows(text: str) -> list[tuple[str, str]]:
    entries: dict[str, Any] = json.loads(text)
    objects = {k: {"emotion": v} if isinstance(v, str) else v for k, v in entries.items()}
    return [(v.get("speech_name", name), v["emotion"]) for name, v in objects.items()]


def _csv_rows(text: str) -> list[tuple[str, str]]:
    return [(row["path"], row["emotion"]) for row in csv.DictReader(io.StringIO(text, newline=""))]


def _label_file(name: str, root: Path | None) -> Path:
    for path in (Path(name), *([root / name, *sorted(root.glob(f"*/{name}"))] if root else [])):
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
