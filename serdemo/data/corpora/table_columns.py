"""Which column of a table holds what, by its usual names or as the user says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from serdemo.data.corpora.corpus import Note, ignore
from serdemo.schema.errors import SerdemoError, UsageError

# Usual names by field, of letters and digits only; the first ones are right even beside others.
NAMES: dict[str, tuple[str, ...]] = {
    "audio": (
        *("path", "audio", "file", "filename", "filepath", "fname", "wav", "wavfile", "wavpath"),
        *("audiofile", "audiofilename", "audiopath", "audiofilepath", "clip", "clippath"),
        *(
            "clipname",
            "sound",
            "soundfile",
            "soundpath",
            "recording",
            "paths",
            "files",
            "filenames",
        ),
    ),
    "emotion": (
        *("emotion", "emotions", "label", "labels", "emotionlabel", "emotionname", "class"),
        *("category", "emo", "majoremotion"),
    ),
    "speaker": (
        *("speaker", "speakers", "speakerid", "speakername", "spk", "spkid", "spkr", "actor"),
        *("actorid", "subject", "subjectid", "clientid", "talker", "talkerid", "participant"),
        *("participantid",),
    ),
    "gender": ("gender", "sex"),
    "language": ("language", "lang", "locale"),
    "fold": ("fold", "session"),
    "corpus": ("corpus", "dataset"),
    "duration_s": ("durations", "durationsec", "durationseconds", "seconds"),
}
NO_COLUMNS: dict[str, str | None] = dict.fromkeys(NAMES, "")
CALLED = {"audio": "path"}  # how sentences and `--columns` name a field


def choose_columns(
    table: str,
    header: Sequence[str],
    named: Mapping[str, str | None],
    note: Note = ignore,
    sound: str = "path",
) -> dict[str, str]:
    """The column of each field in `NAMES` that a table has.

    `named` has the columns that the user names by field, empty for none, None for the usual names;
    `sound` is the name of the sound's column that precedes all others. A column found by another
    name than the field's is noted. Raises UsageError where a named column is missing, or two
    columns could be meant, and SerdemoError where nothing names the sound or the emotion.
    """
    columns, others = {}, []
    for field, names in NAMES.items():
        column = named.get(field)
        if column:
            columns[field] = _named(table, header, field, column)
        elif column is None:
            first = sound if field == "audio" else names[0]
            column = _usual(table, header, field, (first, *names))
            if column is not None:
                columns[field] = column
                if _key(column) != first:
                    others.append(f"{column[:40]} is read as the {CALLED.get(field, field)}")
    missing = [
        CALLED.get(field, field)
        for field in ("audio", "emotion")
        if field not in columns and named.get(field) != ""
    ]
    if missing:
        raise SerdemoError(
            f"{table} has no column {' and no column '.join(missing)}: name it by --columns "
            f"{','.join(f'{name}=COLUMN' for name in missing)}; its first line has {_listed(header)}."
        )
    if others:
        note(f"{table}: {', '.join(others)}.")
    return columns


def parse_columns(text: str) -> dict[str, str]:
    """Columns by field from `path=filename,emotion=label`; raises UsageError for anything else."""
    columns = {}
    for pair in filter(None, (pair.strip() for pair in text.split(","))):
        field, mark, column = (part.strip() for part in pair.partition("="))
        field = {name: field for field, name in CALLED.items()}.get(field, field)
        if not mark or field not in NAMES or field in columns:
            fields = ", ".join(CALLED.get(name, name) for name in NAMES)
            raise UsageError(
                f"{pair!r} is no choice of a column: give path=COLUMN,emotion=COLUMN, each once, of"
                f" {fields}."
            )
        columns[field] = column
    return columns


def _named(table: str, header: Sequence[str], field: str, column: str) -> str:
    matches = [name for name in header if name == column] or [
        name for name in header if name.casefold() == column.casefold()
    ]
    if not matches:
        raise UsageError(
            f"{table} has no column {column!r}: name one by {CALLED.get(field, field)}=COLUMN; it has"
            f" {_listed(header)}."
        )
    return _single(table, matches)


def _usual(table: str, header: Sequence[str], field: str, names: Sequence[str]) -> str | None:
    matches = [name for name in header if _key(name) in names]
    first = [name for name in matches if _key(name) == names[0]]
    if len({_key(name) for name in first or matches}) > 1:
        called = CALLED.get(field, field)
        raise UsageError(
            f"{table}: {' and '.join(matches[:4])} could each be the {called}: say which by --columns"
            f" {called}=COLUMN."
        )
    return _single(table, first or matches) if matches else None


def _single(table: str, matches: Sequence[str]) -> str:
    if len(matches) > 1:
        raise SerdemoError(f"{table} has the column {matches[0][:80]} twice: keep one of them.")
    return matches[0]


def _key(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _listed(header: Sequence[str]) -> str:
    names = ", ".join(name[:40] for name in header if name)
    return names if len(names) <= 160 else names[:157] + "..."
