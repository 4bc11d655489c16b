"""Parts of a list of recordings, each answered as a whole, and their shares for several machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serdemo.data.recording_list import RecordingList
from serdemo.schema.errors import UsageError


@dataclass(frozen=True, slots=True)
class Entry:
    """A recording of a list.

    `row` is its number from 0, `file` what the list calls it, `location` the path or address that is
    opened, `text` what the list says of it, by column.
    """

    row: int
    file: str
    location: str
    text: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Shard:
    """The `number`-th of `count` shares of a list's parts, from 1: every `count`-th part is its own."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard `K/N`; raises UsageError for anything else."""
        number, mark, count = text.partition("/")
        if mark and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count):
            return cls(int(number), int(count))
        raise UsageError(f"{text} is no shard: give K/N, with K from 1 to N.")


@dataclass(frozen=True, slots=True)
class Parts:
    """A list as parts of `size` consecutive recordings, the last of those that are left."""

    recordings: RecordingList
    size: int

    def __len__(self) -> int:
        return -(-len(self.recordings) // self.size)

    def numbers(self, shard: Shard) -> Sequence[int]:
        """Numbers of a shard's parts, from 0."""
        return range(shard.number - 1, len(self), shard.count)

    def n_recordings(self, numbers: Sequence[int]) -> int:
        """Number of recordings in so many parts."""
        last = len(self) - 1
        short = len(self) * self.size - len(self.recordings)
        return len(numbers) * self.size - (short if last in numbers else 0)

    def entries(self, number: int) -> tuple[Entry, ...]:
        """The recordings of a part."""
        own = self.recordings
        rows = range(number * self.size, min(len(own), (number + 1) * self.size))
        return tuple(
            Entry(
                row,
                own.files[row],
                own.location(row),
                {name: values[row] for name, values in own.text.items()},
            )
            for row in rows
        )


def part_name(number: int) -> str:
    """Name of the files of a part."""
    return f"part-{number:05d}.parquet"
