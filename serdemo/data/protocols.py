"""Cross-validation protocols: the folds of leave-one-speaker, -session, -fold or -corpus-out."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from serdemo.data.corpora.speakers import require_known
from serdemo.data.splits import By, LeakySplit, Split, folds, random_by_speaker
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Utterance

VALID_SHARE = 0.15  # of the training speakers, to select the epoch by
WITHIN_TEST_SHARE = 0.2  # of a corpus's speakers, to test a model trained on that corpus alone

# Like `corpus`, without the models that are trained on a single corpus.
LEAVE_ONE_CORPUS_OUT = "one-corpus-out"

Kind = Literal["unseen", "shared", "one corpus", "other corpora"]


@dataclass(frozen=True)
class Fold:
    """A model to train and test, once per seed, with the kind of its test.

    `name` is the group left out, or the corpus; `folder` is the name of the folder of its runs.
    """

    kind: Kind
    name: str
    split: Split
    folder: str


def plan_folds(
    utterances: Sequence[Utterance],
    by: str,
    k: int | None = None,
    *,
    leaky: bool = False,
    target: str = "",
) -> list[Fold]:
    """The folds of a protocol.

    `by` names the groups of `splits.folds`, each of which is tested once. "corpus" has two models
    per corpus: one trained on all others, and one trained on it alone and tested on all;
    "one-corpus-out" has only the former. The epoch is selected by speakers taken out of `train`,
    where a corpus there has two. `leaky` adds a twin of every fold, with the same clip counts per
    part, corpus and emotion, whose parts share speakers. With `target`, only groups of that corpus
    are tested, and all other corpora are always in `train`.

    Raises UsageError where the folds cannot be made, as for unknown speakers, SerdemoError for folds
    that share a speaker.
    """
    if leaky:
        require_known(utterances, "the effect of shared speakers cannot be measured")
    if by == "corpus":
        if k is not None or target:
            flag = "--target" if target else "--folds"
            raise UsageError(f"{flag} has no meaning with --by corpus, where each is left out.")
        outer = {name: _with_validation(split) for name, split in folds(utterances, "corpus")}
        within = {name: _within(utterances, name) for name in outer}
        planned = [("other corpora", name, split) for name, split in outer.items()]
        for name, split in within.items():
            others = tuple(clip for clip in utterances if clip.corpus != name)
            tested = Split(split.train, split.valid, split.test + others)
            planned.append(("one corpus", name, tested))
        sources = [(name, split) for name, split in within.items() if split.test]
    elif by == LEAVE_ONE_CORPUS_OUT:
        if k is not None or target or leaky:
            raise UsageError(
                f"--folds, --target and --leaky have no meaning with --by {LEAVE_ONE_CORPUS_OUT}."
            )
        sources = [(name, _with_validation(split)) for name, split in folds(utterances, "corpus")]
        planned = [("unseen", name, split) for name, split in sources]
    else:
        targets = [u for u in utterances if not target or u.corpus == target.lower()]
        if not targets:
            names = ", ".join(sorted({u.corpus for u in utterances}))
            raise UsageError(f"--target {target} is none of the corpora given ({names}).")
        always = tuple(u for u in utterances if target and u.corpus != target.lower())
        sources = [
            (name, _with_validation(Split(train=split.train + always, test=split.test)))
            for name, split in folds(targets, cast(By, by), k)
        ]
        planned = [("unseen", name, split) for name, split in sources]
    if leaky:
        twins = make_leaky_twins([split for _, split in sources])
        planned += [("shared", name, twin) for (name, _), twin in zip(sources, twins, strict=True)]
    return [
        Fold(cast(Kind, kind), name, split, f"{number:03d}-{_slug(f'{kind}-{name}')}")
        for number, (kind, name, split) in enumerate(planned, start=1)
    ]


def make_leaky_twins(independent: Sequence[Split], seed: int = 0) -> list[LeakySplit]:
    """For each split a speaker-dependent one with equal clip counts per part, corpus and emotion.

    The test parts are disjoint where those of `independent` are.
    """
    pools: dict[tuple[str, str], list[Utterance]] = defaultdict(list)
    everything = {u.path: u for split in independent for part in split.parts.values() for u in part}
    for clip in sorted(everything.values(), key=_order):
        pools[_stratum(clip)].append(clip)
    for stratum, clips in pools.items():
        random.Random(f"{seed}/{stratum}").shuffle(clips)
    twins = []
    for number, split in enumerate(independent):
        test = [pools[stratum].pop() for stratum in map(_stratum, split.test)]
        tested = {clip.path for clip in test}
        others = {u.path: u for part in split.parts.values() for u in part if u.path not in tested}
        remaining = sorted(others.values(), key=_order)
        random.Random(f"{seed}/{number}").shuffle(remaining)
        n_valid = Counter(map(_stratum, split.valid))
        train: list[Utterance] = []
        valid: list[Utterance] = []
        for clip in remaining:
            (valid if n_valid[_stratum(clip)] > 0 else train).append(clip)
            n_valid[_stratum(clip)] -= 1
        twins.append(LeakySplit(tuple(train), tuple(valid), tuple(test)))
    return twins


def speaker_overlap(split: Split) -> float:
    """Share in [0, 1] of the test clips whose speaker is also in `train`."""
    known = set(split.speakers("train"))
    return sum(u.speaker_key in known for u in split.test) / len(split.test)


def _with_validation(split: Split) -> Split:
    """The split with validation speakers taken out of `train`, where there are enough."""
    try:
        parts = random_by_speaker(split.train, VALID_SHARE, part="valid")
    except SerdemoError:  # one speaker of each corpus: the last epoch counts
        return split
    return Split(parts.train, parts.valid, split.test)


def _within(utterances: Sequence[Utterance], corpus: str) -> Split:
    """Split of one corpus, with test speakers unless it has a single speaker."""
    clips = tuple(u for u in utterances if u.corpus == corpus)
    if len({u.speaker_key for u in clips}) == 1:
        return Split(train=clips)
    return _with_validation(random_by_speaker(clips, WITHIN_TEST_SHARE))


def _stratum(clip: Utterance) -> tuple[str, str]:
    return clip.corpus, clip.emotion


def _order(clip: Utterance) -> tuple[str, str]:
    return clip.speaker_key, clip.path.as_posix()


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40]


def seeds(protocol: Mapping[str, Any]) -> list[int]:
    """The seeds of a protocol: as many as it has, counted from the option `seed`."""
    first = int(protocol["options"].get("seed", 0))
    return list(range(first, first + protocol["seeds"]))
