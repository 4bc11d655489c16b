"""Before a run: what its clips are, and how long this machine will take."""

from __future__ import annotations

from collections import Counter

from serdemo.data.splits import Split
from serdemo.schema.errors import UsageError

CHECKED = 16  # clips to choose by that are rehearsed


def preflight_warnings(split: Split) -> tuple[str, ...]:
    """What is to be known before training on a split, each in a sentence; empty where all is well.

    Raises UsageError when there is nothing to train on.
    """
    if not split.train:
        raise UsageError("There is no clip to train on: choose other data, or fewer test speakers.")
    told = []
    count = Counter(u.emotion for u in split.train)
    if few := {name: n for name, n in sorted(count.items()) if n < FEW}:
        named = ", ".join(f"{n} of {name}" for name, n in few.items())
        told.append(f"Only {named}: an emotion with fewer than {FEW} clips is hardly learnt.")
    speakers = split.speakers("train")
    if len(speakers) == 1:
        told.append("All training clips are of one speaker: the model may learn that voice alone.")
    if not split.valid:
        told.append("No speaker is kept to choose the model by, so the last epoch counts.")
    if not split.test:
        told.append("No speaker is kept for testing, so nothing will tell how good the model is.")
    long = [u for u in split.train if (u.duration_s or 0) > 30]
    if long:
        told.append(f"{len(long)} clips are longer than 30 s: of each only a stretch is heard.")
    return tuple(told)


FEW = 10  # clips of an emotion, below which it is pointed out
