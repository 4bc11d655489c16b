"""Whom a model has heard: the speakers it was trained and chosen on, and those of what it began with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from serdemo.data.corpora import normalise_speaker
from serdemo.data.splits import Split
from serdemo.nn import checkpoint
from serdemo.nn.checkpoint import Description
from serdemo.nn.encoders import from_checkpoint
from serdemo.schema.errors import UsageError
from serdemo.schema.types import Utterance

SpeakerTable = dict[str, list[str]]  # a corpus -> its speakers


def speakers_of(utterances: Iterable[Utterance]) -> SpeakerTable:
    """The corpora of these clips with their speakers."""
    return merge_tables(*({u.corpus: [u.speaker]} for u in utterances))


def merge_tables(*tables: Mapping[str, list[str]]) -> SpeakerTable:
    """Corpora with their speakers, of several tables together."""
    found: dict[str, set[str]] = {}
    for table in tables:
        for corpus, names in table.items():
            found.setdefault(corpus, set()).update(names)
    return {corpus: sorted(names) for corpus, names in sorted(found.items())}


def merge(description: Description, *others: Description) -> Description:
    """The description of a model that has heard whom these others have, too."""
    return replace(
        description,
        trained_on=merge_tables(description.trained_on, *(one.trained_on for one in others)),
        selected_on=merge_tables(description.selected_on, *(one.selected_on for one in others)),
    )


def include_source(description: Description) -> Description:
    """The description of a model whose encoder comes from its `--source`, which may be one of ours.

    Raises SerdemoError when that cannot be read.
    """
    source = str(description.encoder_options.get("source", ""))
    if not from_checkpoint.is_ours(source):
        return description
    return merge(description, checkpoint.describe(Path(source)))


def seen_speakers(description: Description) -> frozenset[str]:
    """`corpus/speaker` keys that the checkpoint was trained on or selected on."""
    return frozenset(
        f"{corpus}/{normalise_speaker(corpus, speaker)}"
        for part in (description.trained_on, description.selected_on)
        for corpus, names in part.items()
        for speaker in names
    )


def refuse_overlap(told: Description, what: str, split: Split) -> None:
    """Raise UsageError when a model was trained or selected on a speaker that is to be tested."""
    if known := sorted(seen_speakers(told).intersection(split.speakers("test"))):
        raise UsageError(
            f"{what} was made with the speaker {known[0]}, who is to be tested: take another, or"
            " other speakers to test."
        )
