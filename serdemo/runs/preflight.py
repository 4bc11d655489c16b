"""The check of a split before a run trains on it."""

from __future__ import annotations

from collections import Counter

from serdemo.data.splits import Split, dependence_sentence
from serdemo.schema.errors import UsageError

MIN_CLIPS = 10  # of an emotion, below which a warning says so
MAX_DURATION_S = 30.0  # of a clip, above which only a part of it is used in an epoch


def preflight_warnings(split: Split) -> tuple[str, ...]:
    """What is doubtful about training on a split, each in a sentence.

    Raises UsageError when there is nothing to train on.
    """
    if not split.train:
        raise UsageError("There is no clip to train on: choose other data, or fewer test speakers.")
    warnings = []
    counts = sorted(Counter(clip.emotion for clip in split.train).items())
    if rare := [f"{count} of {emotion}" for emotion, count in counts if count < MIN_CLIPS]:
        warnings.append(
            f"Only {', '.join(rare)}: an emotion with fewer than {MIN_CLIPS} clips is hardly learnt."
        )
    if sentence := dependence_sentence(split):
        warnings.append(sentence)
    elif len(split.speakers("train")) == 1:
        warnings.append(
            "All training clips are of one speaker: the model may learn that voice alone."
        )
    if not split.valid:
        warnings.append("No speaker is kept to choose the model by, so the last epoch counts.")
    if not split.test:
        warnings.append(
            "No speaker is kept for testing, so nothing will tell how good the model is."
        )
    if n_long := sum((clip.duration_s or 0) > MAX_DURATION_S for clip in split.train):
        warnings.append(
            f"{n_long} clips are longer than {MAX_DURATION_S:.0f} s: an epoch trains on only a part of each."
        )
    return tuple(warnings)
