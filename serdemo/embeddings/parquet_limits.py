"""What the columns of a Parquet file may hold, told by what the file says of them, before it is read:
a stranger's is small on the way here, and may be told to grow without end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serdemo.schema.errors import SerdemoError

WORDS = ("clip", "corpus", "speaker", "gender", "language", "emotion", "prediction")
SHARE = "p_"  # before a label: the column of its probability
NEEDED = ("embedding", "speaker", "emotion")
LISTS, PARTS = "lists of as many finite numbers each", "numbers from 0 to 1"
MOST_ROWS, MOST_VALUES, MOST_BYTES = 100_000, 20_000_000, 200_000_000  # of a stranger's
MOST_LETTERS = 1000  # of a word there: one that is told once may stand in every row


def wanted(path: Path, schema: Any) -> list[str]:
    """The columns that a table is made of. Raises SerdemoError where one is missing, stands twice,
    or holds something else."""
    for name in NEEDED:
        if name not in schema.names:
            raise SerdemoError(
                f"{path.name} has no column {name}: make the table with `serdemo embed`."
            )
    found = [name for name in schema.names if name in _KNOWN or name.startswith(SHARE)]
    for name in found:
        if not _alone(schema, name):
            raise SerdemoError(f"{path.name} has more than one column {name}: leave one of them.")
        holds, needed = _KNOWN.get(name, (_number, PARTS))
        if not holds(schema.field(name).type):
            raise SerdemoError(f"The column {name} of {path.name} must hold {needed}.")
    return found


def numeric(schema: Any, names: Sequence[str]) -> list[str]:
    """Those of `names` that are columns of numbers and stand once."""
    there = (name for name in names if name in schema.names and _alone(schema, name))
    return [name for name in there if _number(schema.field(name).type)]


def refuse_large(path: Path) -> None:
    """Raise SerdemoError for a stranger's Parquet file that would take much room to read, or whose
    columns make no table."""
    try:
        with pq.ParquetFile(path) as file:
            wanted(path, file.schema_arrow)
            about = file.metadata
            groups = [about.row_group(n) for n in range(about.num_row_groups)]
            chunks = [group.column(n) for group in groups for n in range(group.num_columns)]
            rows = about.num_rows
            values = sum(chunk.num_values for chunk in chunks)
            size = sum(chunk.total_uncompressed_size for chunk in chunks)
        large = rows > MOST_ROWS or values > MOST_VALUES or size > MOST_BYTES
        long = 0 if large else _longest(path)
    except (pa.ArrowException, OSError, ValueError):
        return  # `table.read` says what is wrong with it
    if large or long > MOST_LETTERS:
        raise SerdemoError(
            f"{path.name} holds {rows} clips, too much for the page: send at most {MOST_ROWS}"
            " clips of a few hundred numbers, with short names."
        )


def _longest(path: Path) -> int:
    """The length of the longest text among the words of a table, which are not spread out for it."""
    with pq.ParquetFile(path) as file:
        there = [name for name in WORDS if name in file.schema_arrow.names]
    lengths = [0]
    with pq.ParquetFile(path, read_dictionary=there) as file:
        found = file.read(there)
    for chunk in (chunk for column in found.columns for chunk in column.chunks):
        texts = chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk
        if pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type):
            lengths.append(pc.max(pc.binary_length(texts)).as_py() or 0)
    return max(lengths)


def _alone(schema: Any, name: str) -> bool:
    """Whether only one column is read by a name: one with a dot counts as a part of another."""
    first = name.split(".")[0]
    return sum(other.split(".")[0] == first for other in schema.names) == 1


def _number(kind: Any) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _word(kind: Any) -> bool:
    own = kind.value_type if pa.types.is_dictionary(kind) else kind
    text = pa.types.is_string(own) or pa.types.is_large_string(own)
    return bool(text or pa.types.is_null(own) or pa.types.is_primitive(own))


def _numbers(kind: Any) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(one(kind) for one in lists) and _number(kind.value_type)


_KNOWN: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(WORDS, (_word, "text")),
    "embedding": (_numbers, LISTS),
}
