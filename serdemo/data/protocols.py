"""Which models a protocol trains: one for each speaker, session, fold or corpus left out.

A plan is a list of tasks, each a model to train (once for each seed) with the clips to test it on.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from serdemo.data.splits import By, LeakySplit, Split, folds, random_by_speaker
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Utterance

VALIDATION, WITHIN = 0.15, 0.2  # shares of speakers: to choose the epoch by, and of a diagonal cell

LEAVE_ONE_CORPUS_OUT = (
    "one-corpus-out"  # without the models that `corpus` trains on one corpus each
)

Kind = Literal["unseen", "shared", "one corpus", "other corpora"]


@dataclass(frozen=True)
class Fold:
    """A model to train and test, once for each seed.

    `kind` is what its test stands for: speakers unseen or shared; trained on one corpus, or on all
    but one. `name` is the fold left out or the corpus in question, `folder` where its runs lie.
    """

    kind: Kind
    name: str
    split: Split
    folder: str


def plan(
    utterances: Sequence[Utterance],
    by: str,
    k: int | None = None,
    *,
    leaky: bool = False,
    target: str = "",
) -> list[Fold]:
    """The models of a protocol: each group of `splits.folds` left out once; for `corpus` one model
    for each corpus and one for all the others, for `one-corpus-out` only the latter.

    Each chooses its epoch by speakers taken out of its training part (where that has two of a
    corpus). With `leaky` each has a twin of the same clip counts in every part, corpus and emotion
    whose speakers are shared between the parts. With `target` only that corpus is left out in turn;
    the others are always trained on.

    Raises UsageError where the folds cannot be made, SerdemoError for folds that share a speaker.
    """
    if by == "corpus":
        if k is not None or target:
            flag = "--target" if target else "--folds"
            raise UsageError(f"{flag} has no meaning with --by corpus, where each is left out.")
        made = [("other corpora", name, _chosen(one)) for name, one in folds(utterances, "corpus")]
        within = {name: _within(utterances, name) for _, name, _ in made}
        made += [
            ("one corpus", name, _with_others(one, utterances, name))
            for name, one in within.items()
        ]
        sources = [(name, one) for name, one in within.items() if one.test]
    elif by == LEAVE_ONE_CORPUS_OUT:
        if k is not None or target or leaky:
            raise UsageError(
                f"--folds, --target and --leaky have no meaning with --by {LEAVE_ONE_CORPUS_OUT}."
            )
        sources = [(name, _chosen(one)) for name, one in folds(utterances, "corpus")]
        made = [("unseen", name, one) for name, one in sources]
    else:
        inside = [u for u in utterances if not target or u.corpus == target.lower()]
        if not inside:
            names = ", ".join(sorted({u.corpus for u in utterances}))
            raise UsageError(f"--target {target} is none of the corpora given ({names}).")
        always = tuple(u for u in utterances if target and u.corpus != target.lower())
        sources = [
            (name, _chosen(Split(train=one.train + always, test=one.test)))
            for name, one in folds(inside, cast(By, by), k)
        ]
        made = [("unseen", name, one) for name, one in sources]
    if leaky:
        twins = make_leaky_twins([one for _, one in sources])
        made += [("shared", name, one) for (name, _), one in zip(sources, twins, strict=True)]
    return [
        Fold(cast(Kind, kind), name, one, f"{number:03d}-{_slug(f'{kind}-{name}')}")
        for number, (kind, name, one) in enumerate(made, start=1)
    ]


def make_leaky_twins(independent: Sequence[Split], seed: int = 0) -> list[LeakySplit]:
    """For each split one with as many clips of every corpus and emotion in each part, dealt out
    whoever speaks; the test parts of all are disjoint where those of the splits are."""
    pools: dict[tuple[str, str], list[Utterance]] = defaultdict(list)
    whole = {u.path: u for one in independent for part in one.parts.values() for u in part}
    for clip in sorted(whole.values(), key=_order):
        pools[_stratum(clip)].append(clip)
    for stratum, clips in pools.items():
        random.Random(f"{seed}/{stratum}").shuffle(clips)
    made = []
    for number, one in enumerate(independent):
        test = [pools[stratum].pop() for stratum in map(_stratum, one.test)]
        tested = {clip.path for clip in test}
        others = {u.path: u for part in one.parts.values() for u in part if u.path not in tested}
        rest = sorted(others.values(), key=_order)
        random.Random(f"{seed}/{number}").shuffle(rest)
        wanted = Counter(map(_stratum, one.valid))
        train: list[Utterance] = []
        valid: list[Utterance] = []
        for clip in rest:
            (valid if wanted[_stratum(clip)] > 0 else train).append(clip)
            wanted[_stratum(clip)] -= 1
        made.append(LeakySplit(tuple(train), tuple(valid), tuple(test)))
    return made


def speaker_overlap(split: Split) -> float:
    """The share of test clips whose speaker also speaks in training."""
    known = set(split.speakers("train"))
    return sum(u.speaker_key in known for u in split.test) / len(split.test)


def _chosen(split: Split) -> Split:
    """With speakers taken out of training to choose the epoch by, where there are enough."""
    try:
        apart = random_by_speaker(split.train, VALIDATION, part="valid")
    except SerdemoError:  # one speaker of each corpus: the last epoch counts
        return split
    return Split(apart.train, apart.valid, split.test)


def _within(utterances: Sequence[Utterance], corpus: str) -> Split:
    """One corpus with speakers kept for testing; without, where there is one speaker."""
    clips = tuple(u for u in utterances if u.corpus == corpus)
    several = len({u.speaker_key for u in clips}) > 1
    return _chosen(random_by_speaker(clips, WITHIN) if several else Split(train=clips))


def _with_others(split: Split, utterances: Sequence[Utterance], corpus: str) -> Split:
    others = tuple(u for u in utterances if u.corpus != corpus)
    return Split(split.train, split.valid, split.test + others)


def _stratum(clip: Utterance) -> tuple[str, str]:
    return clip.corpus, clip.emotion


def _order(clip: Utterance) -> tuple[str, str]:
    return clip.speaker_key, clip.path.as_posix()


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40]


def seeds(protocol: Mapping[str, Any]) -> list[int]:
    """The seeds in order, from the option `seed` on."""
    first = int(protocol["options"].get("seed", 0))
    return list(range(first, first + protocol["seeds"]))
