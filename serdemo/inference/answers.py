"""Answers for recordings as documents: tables, JSON, and the formats of other programs."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from serdemo.inference import subtitles, timeline_files
from serdemo.inference.subtitles import Cue
from serdemo.inference.timeline import NO_SPEECH, Span, spans
from serdemo.schema.types import Prediction, Segment

if TYPE_CHECKING:  # tables need no model
    from serdemo.inference.cue_scores import ScoredCue

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer for the recording `file`: its prediction, that of each cue of its subtitles, or the
    sentence why there is none."""

    file: str
    prediction: Prediction | None = None
    error: str = ""
    cues: tuple[ScoredCue, ...] = ()
    duration_s: float = 0.0

    @property
    def seconds(self) -> float:
        """Duration of the recording, 0 where it could not be read."""
        return self.prediction.duration_s if self.prediction else self.duration_s

    @property
    def spans(self) -> list[Span]:
        """The stretches of its timeline, or its cues."""
        if self.cues:
            return [scored.span for scored in self.cues if scored.prediction]
        return spans(self.prediction.segments) if self.prediction else []

    @property
    def captions(self) -> list[tuple[Cue, str]]:
        """Its cues with the label that goes before the text, or its stretches as cues."""
        if self.cues:
            return [(scored.cue, scored.prefix) for scored in self.cues]
        return [(Cue(span.start_s, span.end_s, span.caption), "") for span in self.spans]

    def to_json(self) -> dict[str, Any]:
        """A dictionary for JSON: that of the prediction with the file, the cues or the error."""
        values = self.prediction.to_json() if self.prediction else {}
        values["file"] = self.file
        if self.cues:
            values["duration_s"] = self.seconds
            values["cues"] = [scored.to_json() for scored in self.cues]
        return {**values, "error": self.error} if self.error else values


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with typed columns; a row lacks a column where it has no value."""

    columns: Mapping[str, type]
    rows: Sequence[Mapping[str, Any]]


def files_table(answers: Sequence[Answer], expected: Sequence[str] = ()) -> Table:
    """A row for each recording, read or not, with columns for the `expected` labels and dimensions
    whether an answer has them or not."""
    predictions = [answer.prediction for answer in answers if answer.prediction]
    scores, names = _score_columns(predictions, expected)
    columns = {
        **{"file": str, "duration_s": float, "label": str, "confidence": float, "unsure": bool},
        **scores,
        **{"warnings": str, "error": str},
    }
    rows = []
    for answer in answers:
        row: dict[str, Any] = {"file": answer.file, "error": answer.error}
        if prediction := answer.prediction:
            row |= {
                "duration_s": prediction.duration_s,
                **_label(prediction),
                **_scores(prediction, names),
                "warnings": " ".join(prediction.warnings),
            }
        rows.append(row)
    return Table(columns, rows)


def segments_table(answers: Sequence[Answer]) -> Table:
    """A row for each segment of each recording."""
    parts = [(a.file, part) for a in answers if a.prediction for part in a.prediction.segments]
    scores, names = _score_columns([part for _, part in parts])
    columns = {
        **{"file": str, "start_s": float, "end_s": float, "label": str, "confidence": float},
        **scores,
        "speech": float,
    }
    rows = [
        {
            **{"file": file, "start_s": part.start_s, "end_s": part.end_s, "label": part.label},
            **{"confidence": part.confidence, **_scores(part, names)},
            "speech": part.speech_ratio,
        }
        for file, part in parts
    ]
    return Table(columns, rows)


def cues_table(answers: Sequence[Answer]) -> Table:
    """A row for each cue of each recording."""
    scored = [(answer.file, cue) for answer in answers for cue in answer.cues]
    scores, names = _score_columns([cue.prediction for _, cue in scored if cue.prediction])
    columns = {
        **{"file": str, "start_s": float, "end_s": float, "text": str},
        **{"label": str, "confidence": float, "unsure": bool, **scores, "error": str},
    }
    rows = []
    for file, one in scored:
        row: dict[str, Any] = {
            **{"file": file, "start_s": one.cue.start_s, "end_s": one.cue.end_s},
            **{"text": one.cue.text, "error": one.error},
        }
        if one.prediction:
            row |= {**_label(one.prediction), **_scores(one.prediction, names)}
        rows.append(row)
    rows += [{"file": answer.file, "error": answer.error} for answer in answers if answer.error]
    return Table(columns, rows)


def _label(prediction: Prediction) -> dict[str, Any]:
    """Label, confidence and unsure: without speech the label means nothing."""
    if not prediction.has_speech:
        return {"label": NO_SPEECH, "confidence": 0.0, "unsure": True}
    return {
        "label": prediction.label,
        "confidence": prediction.confidence,
        "unsure": prediction.unsure,
    }


def _score_columns(
    scored: Iterable[Prediction | Segment], expected: Sequence[str] = ()
) -> tuple[dict[str, type], dict[str, str]]:
    """The columns of all labels and dimensions, and the column of each; a label that is called like
    another column gets `p_` before its name."""
    taken = {"file", "duration_s", "start_s", "end_s", "text", "label", "confidence", "unsure"}
    taken |= {"warnings", "error", "speech"}
    found = dict.fromkeys(expected)
    found |= dict.fromkeys(name for one in scored for name in (*one.probabilities, *one.dimensions))
    names = {name: f"p_{name}" if name in taken else name for name in found}
    return dict.fromkeys(names.values(), float), names


def _scores(scored: Prediction | Segment, names: Mapping[str, str]) -> dict[str, float]:
    values = {**scored.probabilities, **scored.dimensions}
    return {names[name]: value for name, value in values.items()}


def to_csv(table: Table) -> str:
    """CSV. Text that a spreadsheet would run as a formula gets an apostrophe before it."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(map(_cell, table.columns))
    for row in table.rows:
        rows.writerow([_cell(row.get(name)) for name in table.columns])
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def encoded(text: str) -> bytes:
    """Text in UTF-8, the bytes of a file name that is no Unicode spelt out."""
    return text.encode("utf-8", "backslashreplace")


def to_json(answers: Iterable[Answer]) -> str:
    """One JSON list, in ASCII as on the command line."""
    return json.dumps([a.to_json() for a in answers], allow_nan=False, indent=1) + "\n"


def to_jsonl(answers: Iterable[Answer]) -> str:
    """JSON, a line for each recording."""
    return "".join(json.dumps(a.to_json(), allow_nan=False) + "\n" for a in answers)


def to_rttm(answers: Sequence[Answer]) -> str:
    """RTTM of any number of recordings, each under its `unique_stems`."""
    names = unique_stems([answer.file for answer in answers])
    return "".join(timeline_files.to_rttm(a.spans, n) for a, n in zip(answers, names, strict=True))


@dataclass(frozen=True, slots=True)
class TimelineFormat:
    """A format of one recording's timeline: its file suffix and its text of an answer."""

    suffix: str
    text: Callable[[Answer], str]


TIMELINES: dict[str, TimelineFormat] = {
    "srt": TimelineFormat(".srt", lambda answer: subtitles.to_srt(answer.captions)),
    "vtt": TimelineFormat(".vtt", lambda answer: subtitles.to_vtt(answer.captions)),
    "textgrid": TimelineFormat(
        ".TextGrid", lambda answer: timeline_files.to_textgrid(answer.spans, answer.seconds)
    ),
    "audacity": TimelineFormat(".txt", lambda answer: timeline_files.to_audacity(answer.spans)),
    "rttm": TimelineFormat(".rttm", lambda answer: to_rttm([answer])),
}
SUFFIXES: dict[str, str] = {
    **{".json": "json", ".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet"},
    **{form.suffix.lower(): name for name, form in TIMELINES.items()},
}
FORMATS = tuple(SUFFIXES.values())


def unique_stems(files: Sequence[str]) -> list[str]:
    """A name without suffix for the output of each file.

    Where two files share one, all are named by their path below the folder that holds them all, with
    their suffix; a file that is given twice gets a number.
    """
    paths = [PurePath(file) for file in files]
    stems = [path.stem for path in paths]
    if len({stem.casefold() for stem in stems}) == len(stems):
        return stems
    absolute = [Path(path).resolve() for path in paths]
    top = os.path.commonpath([path.parent for path in absolute])
    names: list[str] = []
    taken: set[str] = set()
    for path in absolute:
        name = base = str(path.relative_to(top))
        number = 2
        while name.casefold() in taken:
            name, number = f"{base}-{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names
