"""What reading a Parquet file takes, from its footer and the headers of its pages.

The sizes and counts of the footer are claims that no reader checks, so the pages are counted. Both are
structs of Thrift's compact protocol; pyarrow's own view of a damaged footer can end the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

MAGIC = b"PAR1"
MAX_PAGES = 100_000
MAX_HEADER = 1 << 16  # bytes; statistics may lie in it
MAX_PARTS = 1_000_000  # of a struct: fields, and members of lists
MAX_DEPTH = 16
ROW_GROUPS = 4  # field of a footer
COLUMNS = 1  # of a row group
CHUNK = 3  # of a column
CHUNK_SIZE, DATA_OFFSET, DICTIONARY_OFFSET = 7, 9, 11  # of a chunk
UNPACKED_SIZE, PACKED_SIZE = 2, 3  # of a header
# Structs in a header, whose first field is the number of values.
DATA, DICTIONARY, DATA_V2 = 5, 7, 8
# Kinds of values in Thrift's compact protocol.
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _STRUCT = 1, 2, 3, 7, 8, 12
_INTS, _LISTS = (4, 5, 6), (9, 10)


@dataclass(frozen=True, slots=True)
class Pages:
    """Unpacked bytes of all pages of a file, of its largest page, and the values in them."""

    n_bytes: int
    largest: int
    n_values: int


def measure(path: Path) -> Pages:
    """The pages of a file; raises ValueError for a footer or pages that cannot be read."""
    n_bytes = largest = n_values = 0
    with path.open("rb") as file:
        for number, header in enumerate(_headers(file)):
            if number >= MAX_PAGES:
                raise ValueError("there are too many pages")
            size = _integer(header, UNPACKED_SIZE)
            n_bytes, largest = n_bytes + size, max(largest, size)
            kinds = [kind for kind in (DATA, DICTIONARY, DATA_V2) if kind in header]
            n_values += sum(_integer(_struct(header, kind), 1) for kind in kinds)
    return Pages(n_bytes, largest, n_values)


def _headers(file: BinaryIO) -> Iterator[dict[int, Any]]:
    for chunk in _chunks(file):
        start = _integer(chunk, DATA_OFFSET)
        if chunk.get(DICTIONARY_OFFSET):
            start = min(start, _integer(chunk, DICTIONARY_OFFSET))
        stop = start + _integer(chunk, CHUNK_SIZE)
        while start < stop:
            file.seek(start)
            reader = _Compact(file.read(MAX_HEADER))
            header = reader.struct()
            yield header
            start += reader.place + _integer(header, PACKED_SIZE)


def _chunks(file: BinaryIO) -> Iterator[dict[int, Any]]:
    """The metadata of every column of every row group."""
    length = file.seek(-8, 2)
    tail = file.read(8)
    size = int.from_bytes(tail[:4], "little")
    if tail[4:] != MAGIC or size > length:
        raise ValueError("there is no footer")
    file.seek(length - size)
    for group in _members(_Compact(file.read(size)).struct(), ROW_GROUPS):
        for column in _members(group, COLUMNS):
            yield _struct(column, CHUNK)


def _integer(fields: dict[int, Any], number: int) -> int:
    if not isinstance(value := fields.get(number), int) or value < 0:
        raise ValueError("a size or a place is missing")
    return value


def _struct(fields: dict[int, Any], number: int) -> dict[int, Any]:
    if not isinstance(value := fields.get(number), dict):
        raise ValueError("a part is missing")
    return value


def _members(fields: dict[int, Any], number: int) -> list[dict[int, Any]]:
    value = fields.get(number)
    if not isinstance(value, list) or not all(isinstance(member, dict) for member in value):
        raise ValueError("a list is missing")
    return value


class _Compact:
    """Reads a struct of Thrift's compact protocol from the beginning of some bytes.

    A field that comes twice, or under a number that Thrift would cut, is refused: readers would differ.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self.place, self._n_parts = data, 0, 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Whole numbers, structs and lists by their field, None for all else; raises ValueError where
        there is no struct."""
        fields: dict[int, Any] = {}
        number = 0
        while (byte := self._byte()) != 0:
            number = number + (byte >> 4) if byte >> 4 else self._integer()
            if number in fields or not -(1 << 15) <= number < 1 << 15:
                raise ValueError("a field is in its place twice, or in none")
            is_flag = byte & 15 in (_TRUE, _FALSE)  # whose value is its kind
            fields[number] = None if is_flag else self._value(byte & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        self._n_parts += 1
        if depth > MAX_DEPTH or self._n_parts > MAX_PARTS:
            raise ValueError("there are too many parts, or parts within parts")
        if kind in _INTS:
            return self._integer()
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in _LISTS:
            head = self._byte()
            size = head >> 4 if head >> 4 < 15 else self._unsigned()
            return [self._value(head & 15, depth + 1) for _ in range(size)]
        if kind not in (_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY):
            raise ValueError("a field is of a kind that no Parquet file has")
        self._skip({_TRUE: 1, _FALSE: 1, _BYTE: 1, _DOUBLE: 8}.get(kind) or self._unsigned())
        return None

    def _skip(self, size: int) -> None:
        self.place += size
        if self.place > len(self._data):
            raise ValueError("a struct is cut off")

    def _byte(self) -> int:
        self._skip(1)
        return self._data[self.place - 1]

    def _unsigned(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 128:
            value |= (byte & 127) << shift
            shift += 7
            if shift > 63:
                raise ValueError("a number has more than 64 bits")
        return value | byte << shift

    def _integer(self) -> int:
        value = self._unsigned()
        return value >> 1 ^ -(value & 1)
