"""Provenance: the speakers a checkpoint was trained or validated on, including those of the
checkpoint it was initialised from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from serdemo.data.corpora import normalise_speaker
from serdemo.nn.checkpoint_files import source_folder
from serdemo.nn.description import Description, read_description
from serdemo.schema.errors import UsageError
from serdemo.schema.types import UNKNOWN_SPEAKER, Utterance, is_known_speaker

if TYPE_CHECKING:
    from serdemo.data.splits import Split

SpeakerTable = dict[str, list[str]]  # corpus -> its speakers


def speakers_of(utterances: Iterable[Utterance]) -> SpeakerTable:
    """Speakers of the clips, by corpus."""
    return merge_tables(*({u.corpus: [u.speaker]} for u in utterances))


def merge_tables(*tables: Mapping[str, list[str]]) -> SpeakerTable:
    """Union of several speaker tables, sorted."""
    merged: dict[str, set[str]] = {}
    for table in tables:
        for corpus, names in table.items():
            merged.setdefault(corpus, set()).update(names)
    return {corpus: sorted(names) for corpus, names in sorted(merged.items())}


def merge(description: Description, *others: Description) -> Description:
    """`description` with the training and validation speakers of `others` added to its own."""
    return replace(
        description,
        trained_on=merge_tables(description.trained_on, *(d.trained_on for d in others)),
        selected_on=merge_tables(description.selected_on, *(d.selected_on for d in others)),
    )


def include_source(description: Description) -> Description:
    """`description` merged with that of its `--source`, where this is a checkpoint of serdemo."""
    folder = source_folder(str(description.encoder_options.get("source", "")))
    return description if folder is None else merge(description, read_description(folder))


def seen_speakers(description: Description) -> frozenset[str]:
    """`corpus/speaker` keys that the checkpoint was trained or validated on."""
    return frozenset(
        f"{corpus}/{normalise_speaker(corpus, speaker)}"
        for part in (description.trained_on, description.selected_on)
        for corpus, names in part.items()
        for speaker in names
    )


def are_unseen(seen: Collection[str], speakers: Iterable[str]) -> bool:
    """Whether certainly none of the `speakers` is among those `seen`, both as `corpus/speaker` keys.

    False where it is unknown who speaks, in these clips or in others of the corpus that were seen.
    """
    keys = set(speakers)
    corpora = tuple(key.removesuffix(UNKNOWN_SPEAKER) for key in seen if not is_known_speaker(key))
    return all(map(is_known_speaker, keys)) and not any(
        key in seen or key.startswith(corpora) for key in keys
    )


def refuse_overlap(description: Description, name: str, split: Split) -> None:
    """Raise UsageError when the model called `name` was trained or validated on a test speaker."""
    if overlap := sorted(seen_speakers(description).intersection(split.speakers("test"))):
        raise UsageError(
            f"{name} was made with the speaker {overlap[0]}, who is to be tested: take another, or"
            " other speakers to test."
        )
