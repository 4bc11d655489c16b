"""The project's own held-out speakers, on which none of its checkpoints was trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Literal

from serdemo.data.splits import Split, by_speaker_keys
from serdemo.schema.types import Utterance


@cache
def held_out(part: Literal["test", "selection"]) -> frozenset[str]:
    """Held-out `corpus/speaker` keys: those of the test, or those that select the epoch."""
    text = resources.files("serdemo.data").joinpath("held_out.json").read_text("utf-8")
    return frozenset(
        f"{corpus}/{speaker}"
        for corpus, speakers in json.loads(text)[part].items()
        for speaker in speakers
    )


def shipped_split(utterances: Sequence[Utterance]) -> Split:
    """Split of the project's own checkpoints, with the selection speakers as `valid`.

    Held-out speakers that are not among `utterances` are ignored.
    """
    return by_speaker_keys(utterances, held_out("selection"), held_out("test"))
