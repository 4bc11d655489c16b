"""Tables as text: comma, semicolon or tab separated, in the encodings that programs write."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from serdemo.schema.errors import SerdemoError

# Of a file, so that reading one takes some seconds and a gigabyte at most.
MAX_BYTES, MAX_ROWS, MAX_CELLS = 40_000_000, 500_000, 5_000_000
MAX_FIELD, MAX_HEADER = 10_000, 1_000_000  # characters of a field, and of the line of column names
DELIMITERS = ",;\t|"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like UTF-16's
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class TextTable:
    """Rows of a table with their line numbers in the file.

    A row has no entry for a column behind its last field. `notes` are sentences about how the file
    was read.
    """

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[int, Mapping[str, str]], ...]
    notes: tuple[str, ...] = ()


def read_bytes(path: Path, *, bounded: bool = True) -> bytes:
    """The content of a table's file; raises SerdemoError where it cannot be read, or is too large and
    should be `bounded`."""
    try:
        if bounded and path.stat().st_size > MAX_BYTES:
            raise SerdemoError(f"{path.name} is larger than {MAX_BYTES // 10**6} MB: split it.")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SerdemoError(f"{path} cannot be read: {reason}.") from None


def read_text(
    path: Path, encoding: str = "", *, bounded: bool = True
) -> tuple[str, tuple[str, ...]]:
    """Text of a file in UTF-8, with a byte order mark, in Windows code page 1252, or in `encoding`.

    The second value has a sentence where the code page is a guess. Raises SerdemoError for no text.
    """
    content, notes = read_bytes(path, bounded=bounded), tuple[str, ...]()
    if content.startswith(b"PK\3\4"):
        raise SerdemoError(
            f"{path.name} is a workbook or zip: export the table from its program as CSV (UTF-8)."
        )
    marked = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding or marked)
    except LookupError:
        raise SerdemoError(f"There is no encoding {encoding!r}: try cp1251 or gb18030.") from None
    except UnicodeDecodeError:
        if encoding or marked != "utf-8" or b"\0" in content:
            raise SerdemoError(
                f"{path.name} is no text in {encoding or marked}: save it as UTF-8 CSV."
            ) from None
        text = content.decode("cp1252", errors="replace")
        notes = (
            f"{path.name} is not UTF-8: read in Windows code page 1252; save it as UTF-8, or name"
            " its encoding as in encoding=cp1251, where names look wrong.",
        )
    if "\0" in text:
        raise SerdemoError(f"{path.name} holds NUL bytes: it is no CSV text; export it again.")
    return text, notes


def read(path: Path, encoding: str = "", *, bounded: bool = True) -> TextTable:
    """Read a table with a header.

    The separator is that of an Excel line `sep=;`, else the one that gives the header most fields.
    Blank lines and comments (`# ...`) are left out, as are columns without a name and content at
    the end of lines. Raises SerdemoError with the line number of a fault.
    """
    text, notes = read_text(path, encoding, bounded=bounded)
    lines = _lines(path, text)
    first = next(lines, None)
    if first is None:
        raise SerdemoError(f"{path.name} is empty: it needs a header and a row for each clip.")
    header = _trimmed(first[1])
    rows: list[tuple[int, Mapping[str, str]]] = []
    n_cells = 0
    for line, fields in lines:
        n_cells += len(fields)
        if bounded and (len(rows) == MAX_ROWS or n_cells > MAX_CELLS):
            raise too_many(path)
        fields = _trimmed(fields, len(header))
        if fields[0].startswith("# ") or (fields[0].startswith("#") and len(fields) != len(header)):
            continue
        if len(fields) > len(header):
            raise SerdemoError(
                f"{path.name}, line {line}: {len(fields)} fields where the header has "
                f"{len(header)}; quote a field that holds a separator."
            )
        rows.append((line, dict(zip(header, fields, strict=False))))
    return TextTable(path.name, tuple(header), tuple(rows), notes)


def too_many(path: Path) -> SerdemoError:
    """The error for a table with more rows or fields than are read."""
    return SerdemoError(
        f"{path.name} has more than {MAX_ROWS} rows or {MAX_CELLS} fields: split it, or save it as"
        " Parquet."
    )


def _lines(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, stripped fields) of each row that is not blank, header first."""
    stream = io.StringIO(text, newline="")
    skipped, delimiter = _preamble(path, stream)
    reader = csv.reader(stream, delimiter=delimiter, strict=True)
    line = skipped + 1
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                if any(len(field) > MAX_FIELD for field in fields):
                    raise SerdemoError(
                        f"{path.name}, line {line}: a field is longer than {MAX_FIELD} characters; "
                        "look for a missing closing quote."
                    )
                yield line, [field.strip() for field in fields]
            line = skipped + reader.line_num + 1
    except csv.Error as error:
        raise SerdemoError(
            f"{path.name}, line {line}: not valid CSV ({error}); check its quotes."
        ) from None


def _preamble(path: Path, stream: io.StringIO) -> tuple[int, str]:
    """Number of lines before the header (blank, comments, Excel's `sep=`), and the separator.

    The stream is left at the header.
    """
    number, start, delimiter = 0, 0, ","
    for line in iter(stream.readline, ""):
        content = line.strip("\r\n")
        is_choice = content.strip('"')[:4].lower() == "sep=" and len(content.strip('"')) == 5
        if is_choice:
            delimiter = content.strip('"')[4]
        elif len(content) > MAX_HEADER:
            raise SerdemoError(
                f"{path.name}, line {number + 1}: longer than {MAX_HEADER} characters; a table"
                " begins with the names of its columns."
            )
        elif content.strip() and not content.startswith("#"):
            stream.seek(start)
            return number, max(DELIMITERS, key=lambda mark: _n_fields(content, mark))
        number, start = number + 1, stream.tell()
        if is_choice:
            break
    return number, delimiter


def _n_fields(line: str, delimiter: str) -> int:
    try:
        return len(next(csv.reader([line], delimiter=delimiter)))
    except csv.Error:
        return 0


def _trimmed(fields: list[str], n_columns: int = 1) -> list[str]:
    """The fields without empty ones at the end, at least `n_columns` of them."""
    size = len(fields)
    while size > n_columns and not fields[size - 1]:
        size -= 1
    return fields[:size]
