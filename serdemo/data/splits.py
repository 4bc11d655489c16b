"""Who trains, who chooses, who is tested: splits of utterances that keep speakers apart."""

from __future__ import annotations

import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from serdemo.data.corpora.speaker_ids import Speakers, held_out, speaker_keys
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Utterance

PARTS = ("train", "valid", "test")

By = Literal["speaker", "session", "fold", "corpus"]


@dataclass(frozen=True)
class Split:
    """Utterances to train on, to choose the model by, and to test on; each part may be empty.

    Raises SerdemoError when a speaker (of one corpus) or a file stands in two parts.
    """

    train: tuple[Utterance, ...] = ()
    valid: tuple[Utterance, ...] = ()
    test: tuple[Utterance, ...] = ()

    speaker_independent: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for part in PARTS:
            object.__setattr__(self, part, tuple(getattr(self, part)))
        _keep_apart(self.parts, lambda clip: str(clip.path), "The clip")
        if self.speaker_independent:
            _keep_apart(self.parts, lambda clip: clip.speaker_key, "The speaker")

    @property
    def parts(self) -> dict[str, tuple[Utterance, ...]]:
        """The three parts by name."""
        return {part: getattr(self, part) for part in PARTS}

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of who stands where: equal for the same clips in any order and place."""
        clips = sorted(
            [part, clip.corpus, clip.speaker, clip.path.stem, clip.emotion]
            for part, utterances in self.parts.items()
            for clip in utterances
        )
        return hashlib.sha256(json.dumps(clips).encode()).hexdigest()

    def speakers(self, part: str) -> tuple[str, ...]:
        """The sorted `corpus/speaker` keys of one part."""
        return tuple(sorted({clip.speaker_key for clip in self.parts[part]}))


@dataclass(frozen=True)
class LeakySplit(Split):
    """A split whose parts share speakers on purpose, to show how much that flatters a score.

    `speaker_independent` is False: report its figures only beside speaker-independent ones.
    """

    speaker_independent: ClassVar[bool] = False


def select(utterances: Sequence[Utterance], speakers: Speakers) -> tuple[Utterance, ...]:
    """The clips of the named speakers, in the order given.

    See `corpora.speakers.speaker_keys` for how they may be named and what is raised.
    """
    keys = speaker_keys(utterances, speakers)
    return tuple(clip for clip in utterances if clip.speaker_key in keys)


def by_speakers(
    utterances: Sequence[Utterance], valid: Speakers = (), test: Speakers = ()
) -> Split:
    """The named speakers to `valid` and `test` (see `select`), all others to `train`."""
    return _assign(utterances, speaker_keys(utterances, valid), speaker_keys(utterances, test))


def plan(utterances: Sequence[Utterance], valid: str, test: str, seed: int = 0) -> Split:
    """A split as a user words it: for `valid` and `test` a share of the speakers of each corpus
    (`0.15`), their ids with commas between, or `none`.

    Raises UsageError for a share or an id that is not there, SerdemoError when a share is asked for
    and no corpus has speakers enough.
    """
    chosen: dict[str, frozenset[str]] = {"valid": frozenset(), "test": frozenset()}
    shares: dict[str, float] = {}
    for part, words in (("valid", valid), ("test", test)):
        if (share := _share(words)) is not None:
            shares[part] = share
        else:
            chosen[part] = speaker_keys(utterances, "" if words == "none" else words)
    for part, share in shares.items():
        taken = frozenset().union(*chosen.values())
        left = [clip for clip in utterances if clip.speaker_key not in taken]
        held = random_by_speaker(left, share, seed, part="test").test
        chosen[part] = frozenset(clip.speaker_key for clip in held)
    return _assign(utterances, **chosen)


def shipped(utterances: Sequence[Utterance]) -> Split:
    """The split of the project's own checkpoints: their selection speakers are `valid`.

    Speakers of the list that are not among `utterances` are passed over.
    """
    return _assign(utterances, held_out("selection"), held_out("test"))


def folds(
    utterances: Sequence[Utterance], by: By = "speaker", k: int | None = None
) -> Iterator[tuple[str, Split]]:
    """Cross-validation: yields (name, Split) with each group as `test` once, the rest as `train`.

    Groups are speakers, published folds or sessions (`Utterance.fold`), or corpora. With `k` they
    are first put together into `k` folds of about equal numbers of clips. `valid` stays empty:
    take it out of `train` by `random_by_speaker`.

    Raises UsageError when there are fewer than two groups (or than `k`), or clips without a fold;
    SerdemoError when a published fold shares a speaker with another.
    """
    from sklearn.model_selection import GroupKFold

    keys: dict[str, Callable[[Utterance], str]] = {
        "speaker": lambda clip: clip.speaker_key,
        "session": lambda clip: clip.fold and f"{clip.corpus}/{clip.fold}",
        "fold": lambda clip: clip.fold and f"{clip.corpus}/{clip.fold}",
        "corpus": lambda clip: clip.corpus,
    }
    if by not in keys:
        raise UsageError(f"Folds are made by {', '.join(keys)}, not by {by!r}.")
    groups = [keys[by](clip) for clip in utterances]
    if not all(groups):
        corpus = utterances[groups.index("")].corpus
        raise UsageError(
            f"Clips of {corpus} belong to no {by}: make the folds by speaker, or give a CSV file "
            "with a fold column."
        )
    count = len(set(groups))
    parts = count if k is None else k
    if not 2 <= parts <= count:
        raise UsageError(
            f"{parts} fold(s) cannot be made of {count} different {by}(s): give more data or make "
            "the folds another way."
        )
    # Groups of about equal clips; as many folds as groups means one group in each.
    made = {}
    for number, (train, test) in enumerate(GroupKFold(parts).split(groups, groups=groups), 1):
        name = groups[test[0]] if parts == count else f"{number:0{len(str(parts))}d}"
        made[name] = (train, test)
    for name, (train, test) in sorted(made.items()):
        yield (
            name,
            Split(
                train=tuple(utterances[place] for place in train),
                test=tuple(utterances[place] for place in test),
            ),
        )


def random_by_speaker(
    utterances: Sequence[Utterance],
    share: float = 0.2,
    seed: int = 0,
    part: Literal["valid", "test"] = "test",
) -> Split:
    """Hold out about `share` of each corpus's speakers at random as `part`, the rest as `train`.

    At least one speaker of each corpus is held out and one kept; a corpus of one speaker is kept.
    The choice within a corpus depends on `seed` and its own speakers alone.

    Raises UsageError for a share outside (0, 1), SerdemoError when no corpus has two speakers.
    """
    _check_share(share)
    speakers: dict[str, set[str]] = defaultdict(set)
    for clip in utterances:
        speakers[clip.corpus].add(clip.speaker_key)
    chosen: set[str] = set()
    for corpus, keys in speakers.items():
        if len(keys) > 1:
            count = min(max(round(share * len(keys)), 1), len(keys) - 1)
            chosen.update(random.Random(f"{seed}/{corpus}").sample(sorted(keys), count))
    if not chosen:
        raise SerdemoError(
            "No corpus here has two speakers, so none can be held out: add speakers, or ask for a "
            "speaker-dependent split."
        )
    return _assign(utterances, **{part: frozenset(chosen)})


def speaker_dependent(
    utterances: Sequence[Utterance],
    share: float = 0.2,
    seed: int = 0,
    part: Literal["valid", "test"] = "test",
) -> LeakySplit:
    """Hold out about `share` of the clips of each corpus and emotion, whoever speaks.

    Raises UsageError for a share outside (0, 1).
    """
    _check_share(share)
    strata: dict[str, list[Utterance]] = defaultdict(list)
    for clip in sorted(utterances, key=lambda clip: (clip.speaker_key, clip.path.stem)):
        strata[f"{clip.corpus}/{clip.emotion}"].append(clip)
    chosen = {
        clip.path
        for name, clips in strata.items()
        for clip in random.Random(f"{seed}/{name}").sample(clips, round(share * len(clips)))
    }
    held = tuple(clip for clip in utterances if clip.path in chosen)
    train = tuple(clip for clip in utterances if clip.path not in chosen)
    return LeakySplit(train, held) if part == "valid" else LeakySplit(train, (), held)


def _assign(
    utterances: Sequence[Utterance],
    valid: frozenset[str] = frozenset(),
    test: frozenset[str] = frozenset(),
) -> Split:
    """A split by `corpus/speaker` keys."""
    if both := sorted(valid & test):
        raise UsageError(f"The speaker {both[0]} is named for two parts: name it for one.")
    return Split(
        train=tuple(clip for clip in utterances if clip.speaker_key not in valid | test),
        valid=tuple(clip for clip in utterances if clip.speaker_key in valid),
        test=tuple(clip for clip in utterances if clip.speaker_key in test),
    )


def _keep_apart(
    parts: Mapping[str, Sequence[Utterance]], key: Callable[[Utterance], str], what: str
) -> None:
    """Raise when a key stands in two parts."""
    seen: dict[str, str] = {}
    for part, utterances in parts.items():
        for name in sorted({key(clip) for clip in utterances}):
            other = seen.setdefault(name, part)
            if other != part:
                raise SerdemoError(
                    f"{what} {name} stands in both {other} and {part}: keep each in one part only."
                )


def _share(words: str) -> float | None:
    try:
        return None if words.isdecimal() else float(words)  # 14 is a speaker's id, 0.14 a share
    except ValueError:
        return None


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise UsageError(f"The share held out is {share}: it must lie between 0 and 1.")
