"""Training, validation and test sets that keep speakers apart."""

from __future__ import annotations

import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from serdemo.data.corpora import normalise_speaker
from serdemo.data.corpora.speakers import listed, require_known
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Utterance

Speakers = str | Iterable[str] | Mapping[str, Iterable[str]]  # as users write them
PARTS = ("train", "valid", "test")

By = Literal["speaker", "session", "fold", "corpus"]


@dataclass(frozen=True)
class Split:
    """Utterances to train on, to select the epoch by, and to test on; each part may be empty.

    Raises SerdemoError when a speaker (of one corpus), a file or a sound is in two parts. All clips
    of unknown speakers of a corpus count as one person's here.
    """

    train: tuple[Utterance, ...] = ()
    valid: tuple[Utterance, ...] = ()
    test: tuple[Utterance, ...] = ()

    speakers_apart: ClassVar[Literal["all", "known", "none"]] = "all"

    def __post_init__(self) -> None:
        for part in PARTS:
            object.__setattr__(self, part, tuple(getattr(self, part)))
        _keep_apart(self.parts, lambda clip: str(clip.path), "The clip")
        if self.speakers_apart == "all":
            _keep_apart(self.parts, lambda clip: clip.speaker_key, "The speaker")
        elif self.speakers_apart == "known":
            known = {
                part: [clip for clip in clips if clip.speaker_known]
                for part, clips in self.parts.items()
            }
            _keep_apart(known, lambda clip: clip.speaker_key, "The speaker")
        if self.speakers_apart != "none":
            _keep_sounds_apart(self.parts)

    @property
    def speaker_independent(self) -> bool:
        """Whether no person can be in two parts: false with unknown speakers of a corpus in several."""
        return self.speakers_apart != "none" and not self.mixed_corpora

    @property
    def mixed_corpora(self) -> tuple[str, ...]:
        """The corpora with unknown speakers, and with clips in more than one part."""
        where: dict[str, set[str]] = defaultdict(set)
        unknown: set[str] = set()
        for part, clips in self.parts.items():
            for clip in clips:
                where[clip.corpus].add(part)
                unknown.update(() if clip.speaker_known else (clip.corpus,))
        return tuple(sorted(corpus for corpus in unknown if len(where[corpus]) > 1))

    @property
    def parts(self) -> dict[str, tuple[Utterance, ...]]:
        """The three parts by name."""
        return {part: getattr(self, part) for part in PARTS}

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the assignment; does not depend on the clips' order and folders."""
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
    """A split whose parts share speakers on purpose, to show how much that inflates a score."""

    speakers_apart: ClassVar[Literal["all", "known", "none"]] = "none"


@dataclass(frozen=True)
class ClipSplit(Split):
    """A split that deals out clips of unknown speakers one by one; known speakers are kept apart."""

    speakers_apart: ClassVar[Literal["all", "known", "none"]] = "known"


def dependence_sentence(split: Split) -> str:
    """Why a split's scores may not hold for other voices; empty where they do."""
    if not (corpora := split.mixed_corpora):
        return ""
    return (
        f"The speakers of {listed(corpora)} are unknown, so one voice may be in two parts: the scores"
        " do not say how well new voices are recognised."
    )


def speaker_keys(utterances: Sequence[Utterance], speakers: Speakers) -> frozenset[str]:
    """The `corpus/speaker` keys of `speakers` among the speakers of `utterances`.

    `speakers` holds `corpus/speaker` keys, or bare ids that only one corpus has, as an iterable or
    a comma-separated text; or it maps corpora to ids. `07` and `Actor_07` are the same.

    Raises UsageError for an unknown speaker, or a bare id that two corpora have.
    """
    if isinstance(speakers, Mapping):
        speakers = [f"{corpus}/{speaker}" for corpus in speakers for speaker in speakers[corpus]]
    elif isinstance(speakers, str):
        speakers = speakers.split(",")
    known = {_normalised(clip): clip.speaker_key for clip in utterances}
    corpora = sorted({clip.corpus for clip in utterances})
    return frozenset(
        _speaker_key(text.strip(), corpora, known) for text in speakers if text.strip()
    )


def select(utterances: Sequence[Utterance], speakers: Speakers) -> tuple[Utterance, ...]:
    """The clips of `speakers`, in the order of `utterances`.

    See `speaker_keys` for the forms of `speakers` and the errors raised.
    """
    keys = speaker_keys(utterances, speakers)
    return tuple(clip for clip in utterances if clip.speaker_key in keys)


def by_speakers(
    utterances: Sequence[Utterance], valid: Speakers = (), test: Speakers = ()
) -> Split:
    """Split with the speakers `valid` and `test` held out (see `select`), all others in `train`."""
    return by_speaker_keys(
        utterances, speaker_keys(utterances, valid), speaker_keys(utterances, test)
    )


def parse_split(utterances: Sequence[Utterance], valid: str, test: str, seed: int = 0) -> Split:
    """Split from two texts: a share of each corpus's speakers (`0.15`), ids (`07,11`) or `none`.

    A share of a corpus whose speakers are all unknown is one of its clips, and the split a
    `ClipSplit`. Raises UsageError for an impossible share or unknown id, SerdemoError when a share is
    given and no corpus has two speakers.
    """
    speakers: dict[str, frozenset[str]] = {"valid": frozenset(), "test": frozenset()}
    shares: dict[str, float] = {}
    for part, text in (("valid", valid), ("test", test)):
        if (share := _share(text)) is not None:
            shares[part] = share
        else:
            speakers[part] = speaker_keys(utterances, "" if text == "none" else text)
    by_clip = _unknown_corpora(utterances) if shares else frozenset()
    dealt: dict[Path, str] = {}
    for part, share in shares.items():
        assigned = frozenset().union(*speakers.values())
        remaining = [clip for clip in utterances if clip.speaker_key not in assigned]
        loose = [c for c in remaining if c.corpus in by_clip and c.path not in dealt]
        dealt |= dict.fromkeys(_random_clips(loose, share, seed), part)
        remaining = [clip for clip in remaining if clip.corpus not in by_clip]
        if remaining or not loose:
            held = random_by_speaker(remaining, share, seed, part="test").test
            speakers[part] = frozenset(clip.speaker_key for clip in held)
    if not dealt:
        return by_speaker_keys(utterances, **speakers)
    rest = by_speaker_keys([clip for clip in utterances if clip.path not in dealt], **speakers)
    parts = {
        part: (*clips, *(clip for clip in utterances if dealt.get(clip.path) == part))
        for part, clips in rest.parts.items()
    }
    return ClipSplit(**parts)


def _unknown_corpora(utterances: Sequence[Utterance]) -> frozenset[str]:
    """The corpora of which no speaker is known."""
    known = {clip.corpus for clip in utterances if clip.speaker_known}
    return frozenset(clip.corpus for clip in utterances) - known


def _random_clips(utterances: Sequence[Utterance], share: float, seed: int) -> list[Path]:
    """Paths of about `share` of the clips of each corpus and emotion, equal sounds together.

    Of each at least one is taken and one left; a single one is left. Raises UsageError for a share
    outside (0, 1).
    """
    _check_share(share)
    groups: dict[tuple[str, str], dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for clip in utterances:
        groups[clip.corpus, clip.emotion][clip.sound or str(clip.path)].append(clip.path)
    chosen: list[Path] = []
    for (corpus, emotion), sounds in sorted(groups.items()):
        if len(sounds) > 1:
            count = min(max(round(share * len(sounds)), 1), len(sounds) - 1)
            drawn = random.Random(f"{seed}/{corpus}/{emotion}").sample(sorted(sounds), count)
            chosen += [path for sound in drawn for path in sounds[sound]]
    return chosen


def folds(
    utterances: Sequence[Utterance], by: By = "speaker", k: int | None = None
) -> Iterator[tuple[str, Split]]:
    """Cross-validation: yields (name, Split) with each group as `test` once, the rest as `train`.

    Groups are speakers, published folds or sessions (`Utterance.fold`), or corpora. With `k` the
    groups are merged into `k` folds of about equal numbers of clips. `valid` is empty. Raises
    UsageError for fewer than two groups (or than `k`), for clips without a fold, and for clips of
    unknown speakers (but with corpora), SerdemoError when two published folds share a speaker.
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
    if by != "corpus":
        require_known(utterances, f"no folds can be made by {by} that keep voices apart")
    groups = [keys[by](clip) for clip in utterances]
    if not all(groups):
        corpus = utterances[groups.index("")].corpus
        raise UsageError(
            f"Clips of {corpus} belong to no {by}: make the folds by speaker, or give a CSV file "
            "with a fold column."
        )
    n_groups = len(set(groups))
    n_folds = n_groups if k is None else k
    if not 2 <= n_folds <= n_groups:
        raise UsageError(
            f"{n_folds} fold(s) cannot be made of {n_groups} different {by}(s): give more data or "
            "make the folds another way."
        )
    # With as many folds as groups, GroupKFold puts one group into each.
    by_name = {}
    for number, (train, test) in enumerate(GroupKFold(n_folds).split(groups, groups=groups), 1):
        name = groups[test[0]] if n_folds == n_groups else f"{number:0{len(str(n_folds))}d}"
        by_name[name] = (train, test)
    for name, (train, test) in sorted(by_name.items()):
        train_clips = tuple(utterances[index] for index in train)
        yield name, Split(train=train_clips, test=tuple(utterances[index] for index in test))


def random_by_speaker(
    utterances: Sequence[Utterance],
    share: float = 0.2,
    seed: int = 0,
    part: Literal["valid", "test"] = "test",
) -> Split:
    """Hold out about `share` of each corpus's speakers at random as `part`, the rest as `train`.

    Of each corpus at least one speaker is held out and one left; a single speaker stays in `train`.
    Clips of unknown speakers stay there too. The choice within a corpus depends only on `seed` and
    its own speakers. Raises UsageError for a share outside (0, 1), SerdemoError when no corpus has
    two speakers.
    """
    _check_share(share)
    speakers: dict[str, set[str]] = defaultdict(set)
    for clip in utterances:
        if clip.speaker_known:
            speakers[clip.corpus].add(clip.speaker_key)
    chosen: set[str] = set()
    for corpus, keys in speakers.items():
        if len(keys) > 1:
            count = min(max(round(share * len(keys)), 1), len(keys) - 1)
            chosen.update(random.Random(f"{seed}/{corpus}").sample(sorted(keys), count))
    if not chosen:
        raise SerdemoError(
            "No corpus here has two speakers, so none can be held out: add clips of other speakers."
        )
    return by_speaker_keys(utterances, **{part: frozenset(chosen)})


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise UsageError(f"The share held out is {share}: it must lie between 0 and 1.")


def by_speaker_keys(
    utterances: Sequence[Utterance],
    valid: frozenset[str] = frozenset(),
    test: frozenset[str] = frozenset(),
) -> Split:
    """Split by `corpus/speaker` keys: `valid` and `test` are held out, all others train.

    Raises UsageError for a key in both.
    """
    if both := sorted(valid & test):
        raise UsageError(f"The speaker {both[0]} is named for two parts: name it for one.")
    return Split(
        train=tuple(clip for clip in utterances if clip.speaker_key not in valid | test),
        valid=tuple(clip for clip in utterances if clip.speaker_key in valid),
        test=tuple(clip for clip in utterances if clip.speaker_key in test),
    )


def _normalised(clip: Utterance) -> str:
    return f"{clip.corpus}/{normalise_speaker(clip.corpus, clip.speaker)}"


def _speaker_key(text: str, corpora: Sequence[str], known: Mapping[str, str]) -> str:
    # A slash splits off a corpus only where there is one of that name.
    head, slash, rest = text.partition("/")
    named = [corpus for corpus in corpora if slash and corpus.lower() == head.lower()]
    speaker = rest if named else text
    candidates = [f"{name}/{normalise_speaker(name, speaker)}" for name in named or corpora]
    matches = [known[key] for key in candidates if key in known]
    if not matches:
        raise UsageError(
            f"There is no speaker {text!r} in {', '.join(corpora) or 'no clips'}: check the id."
        )
    if len(matches) > 1:
        raise UsageError(f"Speaker {text!r} could be {' or '.join(matches)}: write it in full.")
    return matches[0]


def _keep_apart(
    parts: Mapping[str, Sequence[Utterance]], key: Callable[[Utterance], str], noun: str
) -> None:
    """Raise SerdemoError when clips of two parts have the same key."""
    seen: dict[str, str] = {}
    for part, utterances in parts.items():
        for name in sorted({key(clip) for clip in utterances}):
            other = seen.setdefault(name, part)
            if other != part:
                raise SerdemoError(
                    f"{noun} {name} stands in both {other} and {part}: keep each in one part only."
                )


def _keep_sounds_apart(parts: Mapping[str, Sequence[Utterance]]) -> None:
    """Raise SerdemoError when clips of two parts hold the same samples."""
    seen: dict[str, tuple[str, Utterance]] = {}
    for part, utterances in parts.items():
        for clip in utterances:
            if not clip.sound:
                continue
            other_part, other = seen.setdefault(clip.sound, (part, clip))
            if other_part != part:
                raise SerdemoError(
                    f"{clip.path.name} of {clip.speaker_key} in {part} is the same sound as"
                    f" {other.path.name} of {other.speaker_key} in {other_part}: delete one of them,"
                    " or correct its speaker."
                )


def _share(text: str) -> float | None:
    try:
        return None if text.isdecimal() else float(text)  # 14 is a speaker's id, 0.14 a share
    except ValueError:
        return None
