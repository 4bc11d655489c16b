"""Clips from the rows of a table or dataset, whatever format they are stored in."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serdemo.data.corpora.corpus import Note, ignore
from serdemo.data.corpora.emotion_names import emotion_word, is_other_emotion
from serdemo.data.corpora.label_map import emotion_of, map_label
from serdemo.data.corpora.speakers import speaker_form
from serdemo.data.corpora.spec import NO_OPTIONS, SpecOptions
from serdemo.data.corpora.table_paths import short
from serdemo.schema.errors import SerdemoError
from serdemo.schema.text import counted
from serdemo.schema.types import UNKNOWN_SPEAKER, Utterance

UNLABELLED = frozenset({"", "nan", "null", "n/a", "#n/a", "na", "<na>", "-", "?", "unknown"})
DROPPED = "dropped"  # in place of an emotion
MAX_NAMED = 6  # labels that a sentence lists


@dataclass(slots=True)
class RowReader:
    """Reading of a table's rows, one after another, into clips.

    `table` names the table in sentences, `corpus` is the clips' corpus unless a column has it,
    `columns` the column of each field (`table_columns.choose_columns`), `find` gives the file of a
    value and a place such as `t.csv, line 3`. `labels` is a label map. With `unlabelled`, clips may
    be without an emotion.
    """

    table: str
    corpus: str
    columns: Mapping[str, str]
    find: Callable[[Any, str], Path]
    options: SpecOptions = NO_OPTIONS
    labels: Mapping[str, str] = field(default_factory=dict)
    unlabelled: bool = True
    note: Note = ignore
    _clips: dict[str, tuple[str, Utterance]] = field(default_factory=dict)
    _n_dropped: int = 0
    _emotions: dict[str, str | None] = field(default_factory=dict)  # by native label
    _left_out: Counter[str] = field(default_factory=Counter)
    _repeated: list[str] = field(default_factory=list)
    _empty: list[str] = field(default_factory=list)

    def read(self, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Utterance]:
        """The clips of `rows`, which are places and values by column.

        A clip that occurs twice alike counts once. Labels that are none of our emotions
        (`is_other_emotion`), and those that the label map or the option `drop` leaves out, are left
        out, the former with a note. Raises SerdemoError, which names the place, for a row that
        cannot be read.
        """
        for where, row in rows:
            self._add(where, row)
        if not self._clips:
            reason = "lists no clips: add rows below its header"
            if self._n_dropped:
                reason = "lists no clips but those that drop leaves out: drop fewer emotions"
            elif self._left_out:
                reason = "lists no clip with an emotion of ours: map its labels by --label-map FILE"
            raise SerdemoError(f"{self.table} {reason}.")
        self._tell()
        return [clip for _, clip in self._clips.values()]

    def _add(self, where: str, row: Mapping[str, Any]) -> None:
        text = {name: value_text(row.get(column)) for name, column in self.columns.items()}
        native = text.get("emotion", "")
        if native not in self._emotions:
            emotion = self._emotion(native, where)
            dropped = self.options.is_dropped(native, emotion)
            self._emotions[native] = DROPPED if dropped else emotion
        emotion = self._emotions[native]
        if emotion == DROPPED:
            self._n_dropped += 1
            return
        if emotion is None:
            self._left_out[native] += 1
            return
        sound = row.get(self.columns["audio"])
        if sound is None or not str(sound).strip():
            raise SerdemoError(f"{where}: the path is empty; fill it in.")
        path = self.find(sound, where)
        clip = Utterance(
            path=path,
            corpus=(text.get("corpus") or self.corpus).lower(),
            speaker=text.get("speaker") or UNKNOWN_SPEAKER,
            emotion=emotion,
            native_label=native,
            duration_s=_duration(text.get("duration_s", ""), where),
            gender=gender_code(text.get("gender", "")),
            language=text.get("language", ""),
            fold=text.get("fold", ""),
        )
        first, before = self._clips.setdefault(os.path.normcase(path.absolute()), (where, clip))
        if before is not clip:
            self._repeat(where, clip, first, before)
        elif not emotion:
            self._empty.append(where)

    def _emotion(self, native: str, where: str) -> str | None:
        """Our emotion, empty for an unlabelled clip, None for one to leave out."""
        if map_label(native, self.labels) is not None:
            return emotion_of(native, self.labels)
        if native.casefold() in UNLABELLED:
            is_dropped = self.options.is_dropped(native, None)
            if self.unlabelled or is_dropped or "emotion" not in self.columns:
                return ""
            what = f"{short(native)} is no emotion" if native else "the emotion is empty"
            raise SerdemoError(
                f"{where}: {what}; fill it in, delete the row, or train a recipe that needs no labels."
            )
        emotion = emotion_word(native)
        if emotion is None and not (
            is_other_emotion(native) or self.options.is_dropped(native, None)
        ):
            number = native.replace(".", "").isdecimal()
            raise SerdemoError(
                f"{where}: {short(native)} is no emotion we know"
                f"{', but a number' if number else ''}; map it by --label-map FILE, leave it out by"
                f" drop={native[:40]}, or use angry, disgust, fear, happy, neutral, sad, surprise,"
                " calm or boredom."
            )
        return emotion

    def _repeat(self, where: str, clip: Utterance, first: str, before: Utterance) -> None:
        for attribute, name in (("emotion", "labels"), ("speaker", "speakers")):
            values = [getattr(before, attribute), getattr(clip, attribute)]
            if values[0] != values[1] and len(set(map(speaker_form, values))) > 1:
                raise SerdemoError(
                    f"{where}: {short(str(clip.path.name))} was already given in"
                    f" {first.rpartition(', ')[2]}, and the {name} differ ({values[0] or 'none'},"
                    f" {values[1] or 'none'}); keep one of them."
                )
        self._repeated.append(where)

    def _tell(self) -> None:
        if self._left_out:
            labels = [f"{short(name)} ({n})" for name, n in self._left_out.most_common(MAX_NAMED)]
            more = len(self._left_out) - MAX_NAMED
            self.note(
                f"{self.table}: {counted(self._left_out.total(), 'clip')} left out, as the label is"
                f" none of our emotions: {', '.join(labels)}{f' and {more} more' if more > 0 else ''}."
            )
        for places, words in (
            (self._repeated, "of a clip that was given before count once"),
            (self._empty, "without an emotion"),
        ):
            if places:
                self.note(
                    f"{self.table}: {counted(len(places), 'row')} {words}, first in"
                    f" {places[0].rpartition(', ')[2]}."
                )


def value_text(value: Any) -> str:
    """A value as text: none and NaN as empty, whole numbers without a fraction."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    return str(value).encode("utf-8", "replace").decode().strip()


def gender_code(text: str) -> str:
    """`f`, `m` or empty for a gender in a usual English form."""
    folded = text.strip().casefold()
    return "f" if folded in FEMALE else "m" if folded in MALE else ""


FEMALE, MALE = {"f", "female", "w", "woman", "women"}, {"m", "male", "man", "men"}


def _duration(text: str, where: str) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text.replace(",", "."))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise SerdemoError(
            f"{where}: the duration_s {short(text)} is no number of seconds; correct or drop it."
        )
    return seconds
