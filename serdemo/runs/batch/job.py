"""Answers for a list in a folder of parts: what is there is done, and is not done again.

The folder holds `rows/part-00000.parquet` and so on, and in `errors/` a file of the same name for each,
both written all or nothing. Any number of machines may fill one folder at once, each its shard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from serdemo.runs.batch.parts import Parts, Shard
from serdemo.runs.batch.work import ERRORS, ROWS, PartReport, Task, Worker, is_done
from serdemo.schema.errors import UsageError
from serdemo.schema.files import make_folder, read_json, write_json

JOB = "job.json"
# What may differ from the job that a folder belongs to, as a sentence calls it.
DIFFERENT = {"task": "model or command", "list": "list", "part_size": "--part-size"}


@dataclass(frozen=True, slots=True)
class BatchJob:
    """A `task` for each recording of a list, whose `parts` are written below the folder `out`."""

    task: Task
    parts: Parts
    out: Path

    def open(self) -> None:
        """Make the folder, or go on with that of another start of the same job.

        Raises UsageError where it is another job's, SerdemoError where it cannot be made.
        """
        for name in (ROWS, ERRORS):
            make_folder(self.out / name)
        described = {
            "task": self.task.digest,
            "list": self.parts.recordings.digest,
            "part_size": self.parts.size,
        }
        path = self.out / JOB
        if not path.exists():
            write_json(path, described)
            return
        before = read_json(path)
        for key, value in described.items():
            if not isinstance(before, dict) or before.get(key) != value:
                raise UsageError(
                    f"{self.out} was begun with another {DIFFERENT[key]}: name another folder by --out,"
                    " or delete this one."
                )

    def remaining(self, shard: Shard) -> Sequence[int]:
        """Numbers of a shard's parts that are not done yet."""
        return [number for number in self.parts.numbers(shard) if not is_done(self.out, number)]

    def work(self, remaining: Sequence[int]) -> Iterator[PartReport]:
        """Do parts one after another in this process."""
        worker = Worker(self.task, self.out)
        for number in remaining:
            yield worker.work(number, self.parts.entries(number))
