"""Headers of the pages of a Parquet file, which alone say what reading it takes.

Sizes and counts in a file's metadata are claims that no reader checks. The headers are structs of
Thrift's compact protocol; of these, whole numbers and structs are read, the rest is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

MAX_PAGES = 100_000
MAX_HEADER = 1 << 16  # bytes; statistics may lie in it
UNPACKED_SIZE, PACKED_SIZE = 2, 3  # fields of a header
DATA, DICTIONARY, DATA_V2 = 5, 7, 8  # structs in it, whose first field is the number of values
_TRUE, _FALSE, _BYTE, _INTS, _DOUBLE, _BINARY, _LISTS, _STRUCT = (
    1,
    2,
    3,
    (4, 5, 6),
    7,
    8,
    (9, 10),
    12,
)


def page_sizes(path: Path, metadata: Any) -> tuple[int, int]:
    """Unpacked bytes and values of all pages of a file whose pyarrow `metadata` are given.

    Raises ValueError for pages that cannot be read.
    """
    size = values = 0
    with path.open("rb") as file:
        for number, header in enumerate(_headers(file, metadata)):
            if number >= MAX_PAGES:
                raise ValueError("there are too many pages")
            size += header.get(UNPACKED_SIZE, 0)
            values += sum(header.get(kind, {}).get(1, 0) for kind in (DATA, DICTIONARY, DATA_V2))
    return size, values


def _headers(file: BinaryIO, metadata: Any) -> Iterator[dict[int, Any]]:
    for group in range(metadata.num_row_groups):
        for column in range(metadata.row_group(group).num_columns):
            chunk = metadata.row_group(group).column(column)
            start = chunk.data_page_offset
            if chunk.has_dictionary_page and chunk.dictionary_page_offset:
                start = min(start, chunk.dictionary_page_offset)
            stop = start + chunk.total_compressed_size
            while 0 <= start < stop:
                file.seek(start)
                reader = _Compact(file.read(MAX_HEADER))
                header = reader.struct()
                packed = header.get(PACKED_SIZE, -1)
                if packed < 0 or header.get(UNPACKED_SIZE, -1) < 0:
                    raise ValueError("a page has no size")
                yield header
                start += reader.place + packed


class _Compact:
    """Reads a struct of Thrift's compact protocol from the beginning of some bytes."""

    def __init__(self, data: bytes) -> None:
        self._data, self.place = data, 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Whole numbers and structs by their field; raises ValueError where there is no struct."""
        if depth > 8:
            raise ValueError("a header is nested too deep")
        fields: dict[int, Any] = {}
        number = 0
        while (byte := self._byte()) != 0:
            number = number + (byte >> 4) if byte >> 4 else self._integer()
            fields[number] = self._value(byte & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (_TRUE, _FALSE):
            return None
        if kind in _INTS:
            return self._integer()
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in _LISTS:
            head = self._byte()
            size = head >> 4 if head >> 4 < 15 else self._unsigned()
            for _ in range(size):
                self._skip(1) if head & 15 in (_TRUE, _FALSE) else self._value(head & 15, depth + 1)
            return None
        if kind not in (_BYTE, _DOUBLE, _BINARY):
            raise ValueError("a header holds what no page has")
        self._skip({_BYTE: 1, _DOUBLE: 8}.get(kind) or self._unsigned())
        return None

    def _skip(self, size: int) -> None:
        self.place += size
        if self.place > len(self._data):
            raise ValueError("a header is cut off")

    def _byte(self) -> int:
        self._skip(1)
        return self._data[self.place - 1]

    def _unsigned(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 128:
            value |= (byte & 127) << shift
            shift += 7
        return value | byte << shift

    def _integer(self) -> int:
        value = self._unsigned()
        return value >> 1 ^ -(value & 1)
