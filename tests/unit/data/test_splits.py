"""Splits keep speakers apart, folds cover everything once, fingerprints mean what they say."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serdemo.data import corpora, splits
from serdemo.data.held_out import held_out, shipped_split
from serdemo.data.splits import LeakySplit, Split
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Utterance

EMOTIONS = ("angry", "happy", "sad")


def clips(
    corpus: str, speakers: dict[str, int], folds: dict[str, str] | None = None
) -> list[Utterance]:
    return [
        Utterance(
            path=Path(f"{corpus}/{speaker}-{number}.wav"),
            corpus=corpus,
            speaker=speaker,
            emotion=EMOTIONS[number % 3],
            native_label="",
            fold=(folds or {}).get(speaker, ""),
        )
        for speaker, count in speakers.items()
        for number in range(count)
    ]


RAVDESS = clips("ravdess", {"07": 3, "08": 3, "11": 6})
ASED = clips("ased", {"07": 3, "09": 3})
BOTH = RAVDESS + ASED


def test_a_split_refuses_a_speaker_in_two_parts():
    with pytest.raises(SerdemoError, match="speaker ravdess/07 stands in both train and test"):
        Split(train=RAVDESS[:1], test=RAVDESS[1:2])
    with pytest.raises(SerdemoError, match="stands in both train and valid"):
        Split(train=RAVDESS[:1], valid=RAVDESS[1:2])
    # the same id in another corpus is another person
    assert Split(train=RAVDESS[:1], test=ASED[:1]).speakers("test") == ("ased/07",)


def test_parts_may_be_empty_and_become_tuples():
    split = Split([], test=RAVDESS)
    assert split.train == () and split.test == tuple(RAVDESS)


def test_a_leaky_split_shares_speakers_but_never_a_clip():
    split = LeakySplit(train=RAVDESS[:1], test=RAVDESS[1:2])
    assert not split.speaker_independent and Split().speaker_independent
    with pytest.raises(SerdemoError, match=r"The clip .* stands in both train and test"):
        LeakySplit(train=RAVDESS[:1], test=RAVDESS[:1])


def test_the_fingerprint_depends_on_who_stands_where_and_nothing_else():
    split = splits.by_speakers(RAVDESS, test=["07"])
    moved = [replace(c, path=Path("elsewhere") / c.path.name, gender="f") for c in RAVDESS[::-1]]
    assert splits.by_speakers(moved, test=["07"]).fingerprint == split.fingerprint
    assert len(split.fingerprint) == 64
    others = [
        splits.by_speakers(RAVDESS, test=["08"]),
        splits.by_speakers(RAVDESS, valid=["07"]),
        splits.by_speakers(RAVDESS[1:], test=["07"]),
        splits.by_speakers([replace(RAVDESS[0], emotion="fear"), *RAVDESS[1:]], test=["07"]),
    ]
    assert len({split.fingerprint, *(other.fingerprint for other in others)}) == 5


@pytest.mark.parametrize(
    "speakers",
    [
        ["ravdess/07", "ravdess/11"],
        ["RAVDESS/Actor_07", "11"],
        "ravdess/7, 11,",
        {"ravdess": ["Actor_07", "11"]},
    ],
)
def test_select_accepts_every_spelling(speakers):
    chosen = splits.select(BOTH, speakers)
    assert Counter(clip.speaker_key for clip in chosen) == {"ravdess/07": 3, "ravdess/11": 6}


@pytest.mark.parametrize(
    ("speakers", "words"),
    [
        (["99"], "no speaker '99' in ased, ravdess"),
        (["ravdess/09"], "no speaker 'ravdess/09'"),
        ({"emodb": ["03"]}, "no speaker 'emodb/03'"),
        (["07"], "'07' could be ased/07 or ravdess/07"),
    ],
)
def test_select_refuses_who_is_not_there(speakers, words):
    with pytest.raises(UsageError, match=words):
        splits.select(BOTH, speakers)


def test_a_speaker_id_may_hold_a_slash():
    voices = clips("mine", {"home/Anna": 2, "Bert": 1})
    assert len(splits.select(voices, ["home/Anna"])) == 2
    assert len(splits.select(voices, ["mine/home/Anna", "Bert"])) == 3


def test_by_speakers_leaves_the_rest_to_train():
    split = splits.by_speakers(BOTH, valid="ravdess/07", test={"ravdess": ["11"], "ased": ["09"]})
    assert split.speakers("train") == ("ased/07", "ravdess/08")
    assert split.speakers("valid") == ("ravdess/07",)
    assert split.speakers("test") == ("ased/09", "ravdess/11")
    with pytest.raises(UsageError, match="ravdess/11 is named for two parts"):
        splits.by_speakers(BOTH, valid=["11"], test=["Actor_11"])


def test_shipped_speakers():
    test, selection = held_out("test"), held_out("selection")
    count = Counter(key.split("/")[0] for key in test)
    assert count == {"ravdess": 5, "cremad": 16, "emodb": 2, "aesdd": 1, "urdu": 6}
    chosen = Counter(key.split("/")[0] for key in selection)
    assert chosen == {"ravdess": 2, "cremad": 8, "emodb": 1, "nemo": 1, "ased": 6, "urdu": 3}
    assert not test & selection
    assert {"ravdess/07", "emodb/13", "aesdd/spk2", "urdu/SM24", "cremad/1014"} <= test
    # every id is in its canonical form, or it would hold out nobody
    for key in test | selection:
        corpus, speaker = key.split("/")
        assert corpora.normalise_speaker(corpus, speaker) == speaker
    split = shipped_split([*clips("ravdess", {"02": 1, "07": 2, "09": 3}), *clips("x", {"07": 1})])
    assert [len(part) for part in split.parts.values()] == [4, 1, 2]


def check_folds(utterances, made):
    assert Counter(clip.path for _, split in made for clip in split.test) == Counter(
        clip.path for clip in utterances
    )
    for _, split in made:
        assert len(split.train) + len(split.test) == len(utterances)
        assert split.train and split.test and not split.valid
    assert len({name for name, _ in made}) == len(made)


def test_leave_one_speaker_out():
    made = list(splits.folds(BOTH))
    check_folds(BOTH, made)
    assert [name for name, _ in made] == [
        "ased/07",
        "ased/09",
        "ravdess/07",
        "ravdess/08",
        "ravdess/11",
    ]
    assert all(split.speakers("test") == (name,) for name, split in made)


def test_k_folds_are_of_about_equal_size():
    made = list(splits.folds(BOTH, k=3))
    check_folds(BOTH, made)
    assert [name for name, _ in made] == ["1", "2", "3"]
    assert sorted(len(split.test) for _, split in made) == [6, 6, 6]


def test_folds_of_the_corpus_and_across_corpora():
    published = clips("ravdess", {"01": 2, "02": 2, "03": 4}, {"01": "1", "02": "1", "03": "2"})
    made = list(splits.folds(published, by="fold"))
    check_folds(published, made)
    assert [(name, len(split.test)) for name, split in made] == [("ravdess/1", 4), ("ravdess/2", 4)]
    assert [name for name, _ in splits.folds(published, by="session")] == ["ravdess/1", "ravdess/2"]
    across = list(splits.folds(BOTH, by="corpus"))
    check_folds(BOTH, across)
    assert [(name, len(split.test)) for name, split in across] == [("ased", 6), ("ravdess", 12)]


def test_published_folds_that_share_a_speaker_are_refused():
    shared = clips("emodb", {"03": 2}, {"03": "1"}) + [
        replace(clip, path=Path(f"again-{clip.path.name}"), fold="2")
        for clip in clips("emodb", {"03": 2})
    ]
    with pytest.raises(SerdemoError, match="speaker emodb/03 stands in both"):
        list(splits.folds(shared, by="fold"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"by": "fold"}, "Clips of ravdess belong to no fold"),
        ({"by": "session"}, "belong to no session"),
        ({"by": "moon"}, "not by 'moon'"),
        ({"k": 1}, "1 fold"),
        ({"k": 0}, "0 fold"),
        ({"k": 6}, r"6 fold\(s\) cannot be made of 5 different speaker"),
        ({"by": "corpus", "k": 3}, "cannot be made of 2 different corpus"),
    ],
)
def test_folds_that_cannot_be_made(arguments, words):
    with pytest.raises(UsageError, match=words):
        list(splits.folds(BOTH, **arguments))


def test_folds_of_nothing():
    with pytest.raises(UsageError, match="cannot be made of 0"):
        list(splits.folds([]))


def test_random_by_speaker_holds_out_a_share_of_each_corpus():
    many = clips("a", {f"{n}": 2 for n in range(20)}) + clips("b", {"1": 2, "2": 2})
    single = clips("c", {"only": 5})
    split = splits.random_by_speaker(many + single, 0.25, seed=3)
    held = Counter(key.split("/")[0] for key in split.speakers("test"))
    assert held == {"a": 5, "b": 1} and not split.valid
    again = splits.random_by_speaker((many + single)[::-1], 0.25, seed=3)
    assert again.fingerprint == split.fingerprint
    assert splits.random_by_speaker(many, 0.25, seed=4).fingerprint != split.fingerprint
    # the choice in one corpus does not depend on which others there are
    part = splits.random_by_speaker(many[:40], 0.25, seed=3, part="valid")
    assert set(part.speakers("valid")) <= set(split.speakers("test")) and not part.test


def test_a_number_of_digits_alone_is_a_speaker():
    many = clips("a", {f"{n}": 2 for n in range(20)})
    split = splits.parse_split(many, "14", "0.25")
    assert split.speakers("valid") == ("a/14",)
    assert len(split.speakers("test")) == 5 and "a/14" not in split.speakers("test")
    with pytest.raises(UsageError, match="99"):
        splits.parse_split(many, "99", "none")


@pytest.mark.parametrize("share", [0, 1, -0.1, 2, float("nan")])
def test_impossible_shares(share):
    with pytest.raises(UsageError, match="between 0 and 1"):
        splits.random_by_speaker(BOTH, share)


def test_one_speaker_cannot_be_held_out():
    with pytest.raises(SerdemoError, match="No corpus here has two speakers"):
        splits.random_by_speaker(clips("mine", {"unknown": 9}))


@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=12),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 99),
)
def test_nothing_is_lost_and_no_speaker_crosses(sizes, share, seed):
    some = clips("a", {f"s{n}": size for n, size in enumerate(sizes)})
    split = splits.random_by_speaker(some, share, seed)
    assert sorted([*split.train, *split.test], key=str) == sorted(some, key=str)
    assert split.train and split.test
    assert not set(split.speakers("train")) & set(split.speakers("test"))
    check_folds(some, list(splits.folds(some, k=2)))


@pytest.mark.skipif(
    not os.environ.get("SERDEMO_DATA"), reason="SERDEMO_DATA names no folder with corpora"
)
def test_shipped_split_of_the_real_corpora():
    root = Path(os.environ["SERDEMO_DATA"])
    names = [name for name in corpora.CORPORA if corpora.find(root, name)]
    if not names:
        pytest.skip("SERDEMO_DATA holds none of the corpora")
    utterances = corpora.load_many(",".join(names), root)
    split = shipped_split(utterances)
    assert sum(map(len, split.parts.values())) == len(utterances)
    if set(names) == set(corpora.CORPORA):
        assert set(split.speakers("test")) == held_out("test")
        assert set(split.speakers("valid")) == held_out("selection")


def anonymous(name: str, corpus: str = "mine", speaker: str = "unknown") -> Utterance:
    emotion = "angry" if name < "m" else "sad"
    return Utterance(Path(f"{name}.wav"), corpus, speaker, emotion, emotion)


STRANGERS = [anonymous(letter) for letter in "abcdwxyz"]


def test_a_share_of_unknown_speakers_is_one_of_clips_and_no_claim_is_made():
    split = splits.parse_split(STRANGERS, valid="0.25", test="0.25")
    assert {part: len(clips) for part, clips in split.parts.items()} == {
        "train": 4,
        "valid": 2,
        "test": 2,
    }
    assert not split.speaker_independent
    assert "speakers of mine are unknown" in splits.dependence_sentence(split)
    # Beside a corpus whose speakers are known, those are still kept apart.
    both = splits.parse_split([*STRANGERS, *RAVDESS], valid="none", test="0.25")
    known = {part: {c.speaker for c in own if c.speaker_known} for part, own in both.parts.items()}
    assert known["test"] and not known["test"] & known["train"]
    assert not both.speaker_independent and both.mixed_corpora == ("mine",)


def test_unknown_speakers_are_never_held_out_as_a_person():
    mixed = [*STRANGERS, anonymous("e", speaker="anna"), anonymous("f", speaker="ben")]
    split = splits.random_by_speaker(mixed, 0.5)
    assert {clip.speaker for clip in split.test} < {"anna", "ben"}
    assert not split.speaker_independent
    with pytest.raises(SerdemoError, match="stands in both train and test"):
        Split(train=STRANGERS[:1], test=STRANGERS[1:2])


@pytest.mark.parametrize("by", ["speaker", "session", "fold"])
def test_folds_of_unknown_speakers_are_refused(by):
    with pytest.raises(
        UsageError, match=r"mine are unknown, so no folds.*--speaker-level.*CSV file"
    ):
        list(splits.folds(STRANGERS, by))
