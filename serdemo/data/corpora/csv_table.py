"""A corpus as a CSV file with the columns path,speaker,emotion."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path, PureWindowsPath

from serdemo.data.corpora.emotion_names import emotion_word
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Utterance

REQUIRED = ("path", "speaker", "emotion")
MAX_FIELD = 10_000


def read(path: Path) -> list[Utterance]:
    """Read a CSV of clips; its column `path` is relative to the CSV's folder and may not leave it.

    Optional columns are corpus (default: the file's name), language, gender, duration_s (seconds)
    and fold (or session); others are ignored. Emotions may be in any form that `emotion_word` knows,
    or empty for unlabelled clips. The text is UTF-8, with or without a byte order mark.

    Raises SerdemoError with the line number of a fault.
    """
    utterances: list[Utterance] = []
    lines: dict[str, int] = {}
    for line, row in _rows(path):
        where = f"{path.name}, line {line}"
        for column in ("path", "speaker"):
            if not row[column]:
                raise SerdemoError(f"{where}: the {column} is empty; fill it in.")
        clip = _clip(path.parent, row["path"], where)
        key = os.path.normcase(clip)
        if key in lines:
            raise SerdemoError(
                f"{where}: {row['path']} was already given in line {lines[key]}; keep one of them."
            )
        lines[key] = line
        emotion = emotion_word(row["emotion"]) if row["emotion"] else ""
        if emotion is None:
            raise SerdemoError(
                f"{where}: {_short(row['emotion'])} is no emotion we know; use angry, disgust, "
                "fear, happy, neutral, sad, surprise, calm or boredom."
            )
        utterances.append(
            Utterance(
                path=clip,
                corpus=(row.get("corpus") or path.stem).lower(),
                speaker=row["speaker"],
                emotion=emotion,
                native_label=row["emotion"],
                duration_s=_duration(row.get("duration_s", ""), where),
                **{name: row.get(name, "") for name in ("language", "gender", "fold")},
            )
        )
    if not utterances:
        raise SerdemoError(f"{path.name} lists no clips: add rows below its header.")
    return utterances


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """(line number, stripped text by column) of each row that is not blank."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SerdemoError(f"{path.name} is not UTF-8 text: save it as UTF-8 CSV.") from None
    except OSError as error:
        raise SerdemoError(f"{path} cannot be read: {error.strerror}.") from None
    if "\0" in text:
        raise SerdemoError(f"{path.name} holds NUL bytes: it is no CSV text; export it again.")
    if not text.strip():
        raise SerdemoError(
            f"{path.name} is empty: it needs a header {','.join(REQUIRED)} and a row for each clip."
        )
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader)]
        _check_header(path, header)
        rows = []
        for fields in reader:
            line = reader.line_num
            if not any(field.strip() for field in fields):
                continue
            if any(len(field) > MAX_FIELD for field in fields):
                raise SerdemoError(
                    f"{path.name}, line {line}: a field is longer than {MAX_FIELD} characters; "
                    "look for a missing closing quote."
                )
            if len(fields) != len(header):
                raise SerdemoError(
                    f"{path.name}, line {line}: {len(fields)} fields where the header has "
                    f"{len(header)}; quote a field that holds a comma."
                )
            rows.append((line, dict(zip(header, map(str.strip, fields), strict=True))))
    except csv.Error as error:
        raise SerdemoError(
            f"{path.name}, line {reader.line_num}: not valid CSV ({error}); check its quotes."
        ) from None
    return rows


def _check_header(path: Path, header: list[str]) -> None:
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and mark in header[0]:
            raise SerdemoError(
                f"{path.name} separates its columns by {name}: save it with commas instead."
            )
    missing = [column for column in REQUIRED if column not in header]
    if missing:
        raise SerdemoError(
            f"{path.name} has no column {' and no column '.join(missing)}: its first line must "
            f"name the columns {', '.join(REQUIRED)}."
        )
    doubled = sorted({column for column in header if column and header.count(column) > 1})
    if doubled:
        raise SerdemoError(f"{path.name} has the column {doubled[0]} twice: keep one of them.")


def _clip(folder: Path, text: str, where: str) -> Path:
    """Path of a clip; backslashes count as slashes, so that tables from Windows work anywhere."""
    relative = os.path.normpath(text.replace("\\", "/"))
    windows = PureWindowsPath(relative)
    if windows.drive or windows.root or windows.parts[:1] == ("..",):
        raise SerdemoError(
            f"{where}: {_short(text)} leads out of the table's folder; give paths relative to it."
        )
    clip = folder / relative
    if not os.path.isfile(clip):  # unlike Path.is_file, not upset by a name that is too long
        raise SerdemoError(f"{where}: there is no file {_short(text)} in {folder}; check the path.")
    return clip


def _duration(text: str, where: str) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise SerdemoError(
            f"{where}: the duration_s {_short(text)} is no number of seconds; correct or drop it."
        )
    return seconds


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
