"""Which folders name the emotion and which the speaker, decided by all clips of a corpus together."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from support.corpora import touch

from serdemo.data.corpora import load, load_many
from serdemo.data.corpora.folder_levels import LevelUnclearError
from serdemo.data.corpora.folder_words import is_shared, is_speaker_id
from serdemo.schema.errors import SerdemoError, UsageError


def labels(root: Path, *files: str, options: str = "") -> set[tuple[str, str]]:
    """(speaker, emotion) of the clips of a folder `set` with these files."""
    touch(root / "set", *files)
    return {(clip.speaker, clip.emotion) for clip in load(f"{root / 'set'}{options}")}


UNKNOWN_LAYOUTS = {
    "parts": ("train/angry/1.wav", "test/sad/2.wav"),
    "other parts": ("dev/angry/1.wav", "Validation/sad/2.wav", "eval/happy/3.wav"),
    "folds": ("fold1/angry/1.wav", "fold2/sad/2.wav"),
    "numbered parts": ("angry/split0/1.wav", "sad/part_2/2.wav"),
    "sessions": ("session1/angry/1.wav", "Session2/sad/2.wav"),
    "takes and days": ("day1/take1/angry/1.wav", "day2/take2/sad/2.wav"),
    "wrappers": ("data/audio/angry/1.wav", "data/audio/sad/2.wav"),
    "formats": ("wav_16k/angry/1.wav", "flac/sad/2.wav"),
    "one name": ("my-project/angry/1.wav", "my-project/sad/2.wav"),
    "intensities": ("angry/strong/1.wav", "sad/weak/2.wav"),
    "genders": ("female/angry/1.wav", "male/sad/2.wav"),
    "languages": ("english/angry/1.wav", "de/sad/2.wav"),
    "years": ("2019/angry/1.wav", "2020/sad/2.wav"),
    "nobody's": ("unknown/angry/1.wav", "-/sad/2.wav", "NaN/sad/3.wav"),
    "no folder": ("angry/1.wav", "sad/2.wav"),
}


@pytest.mark.parametrize("files", UNKNOWN_LAYOUTS.values(), ids=UNKNOWN_LAYOUTS)
def test_names_of_parts_sessions_and_wrappers_are_no_speakers(tmp_path, files):
    notes: list[str] = []
    touch(tmp_path / "set", *files)
    clips = load_many(str(tmp_path / "set"), note=notes.append)
    assert {clip.speaker for clip in clips} == {"unknown"}
    assert {"angry", "sad"} <= {clip.emotion for clip in clips}
    assert len(notes) == 1 and "speakers of set are unknown" in notes[0]
    assert "--speaker-level" in notes[0] and "CSV" in notes[0]


KNOWN_LAYOUTS = {
    "sessions of speakers": (
        ("anna/session1/angry/1.wav", "ben/session1/sad/2.wav"),
        {("anna", "angry"), ("ben", "sad")},
    ),
    "parts within emotions": (
        ("0021/Angry/train/1.wav", "0021/Sad/test/2.wav"),
        {("0021", "angry"), ("0021", "sad")},
    ),
    "intensities of speakers": (
        ("anna/angry/strong/1.wav", "ben/sad/weak/2.wav"),
        {("anna", "angry"), ("ben", "sad")},
    ),
    "normal as an intensity": (("actor1/happy/normal/1.wav",), {("actor1", "happy")}),
    "normal as an emotion": (
        ("anna/normal/1.wav", "ben/sad/1.wav"),
        {("anna", "neutral"), ("ben", "sad")},
    ),
    "a person called Joy": (
        ("angry/Joy/1.wav", "sad/Ben/2.wav"),
        {("joy", "angry"), ("ben", "sad")},
    ),
    "a part above": (
        ("train/anna/angry/1.wav", "test/ben/sad/2.wav"),
        {("anna", "angry"), ("ben", "sad")},
    ),
    "different depths": (
        ("anna/angry/1.wav", "ben/session1/sad/2.wav"),
        {("anna", "angry"), ("ben", "sad")},
    ),
    "numbered genders": (
        ("male1/angry/1.wav", "female2/sad/2.wav"),
        {("male1", "angry"), ("female2", "sad")},
    ),
    "a person called Val": (
        ("Val/angry/1.wav", "Anna/sad/2.wav"),
        {("val", "angry"), ("anna", "sad")},
    ),
    "a session among speakers": (
        ("anna/angry/1.wav", "ben/sad/2.wav", "session1/sad/3.wav"),
        {("anna", "angry"), ("ben", "sad"), ("unknown", "sad")},
    ),
    "rooms of named actors": (
        ("kitchen/actor_1/angry/1.wav", "hall/actor_2/sad/2.wav"),
        {("actor_1", "angry"), ("actor_2", "sad")},
    ),
}


@pytest.mark.parametrize(("files", "expected"), KNOWN_LAYOUTS.values(), ids=KNOWN_LAYOUTS)
def test_the_level_of_the_speakers(tmp_path, files, expected):
    assert labels(tmp_path, *files) == expected


def test_a_gender_is_kept(tmp_path):
    touch(tmp_path / "set", "female/anna/angry/1.wav", "male/ben/sad/2.wav")
    clips = load(str(tmp_path / "set"))
    assert [(clip.speaker, clip.gender) for clip in clips] == [("anna", "f"), ("ben", "m")]


def test_unclear_levels_are_asked_about(tmp_path):
    with pytest.raises(
        LevelUnclearError, match=r"level 1 \(angry\) or of level 2 \(Joy\)"
    ) as found:
        labels(tmp_path / "a", "angry/Joy/1.wav")
    assert "--emotion-level 1 or --emotion-level 2" in str(found.value)
    assert labels(tmp_path / "a", options="?emotion_level=1") == {("unknown", "angry")}
    assert labels(tmp_path / "a", options="?emotion_level=2") == {("unknown", "happy")}
    files = ("paris/anna/angry/1.wav", "rome/ben/sad/2.wav")
    with pytest.raises(
        LevelUnclearError, match=r"\(paris, rome\) or of level 2 \(anna, ben\)"
    ) as e:
        labels(tmp_path / "b", *files)
    assert (e.value.option, [level for _, level in e.value.choices]) == ("speaker_level", [1, 2])
    for level, speakers in (
        (1, {("paris", "angry"), ("rome", "sad")}),
        (2, {("anna", "angry"), ("ben", "sad")}),
        (0, {("unknown", "angry"), ("unknown", "sad")}),
    ):
        assert labels(tmp_path / "b", options=f"?speaker_level={level}") == speakers


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("speaker_level=4", "No folder of level 4"),
        ("emotion_level=1", "No folder of level 1"),
        ("speaker_level=two", "speaker_level is 'two': give a number"),
        ("speaker_level=-1", "speaker_level is '-1': give a number"),
    ],
)
def test_impossible_levels_are_refused(tmp_path, options, words):
    with pytest.raises(UsageError, match=words):
        labels(tmp_path, "anna/angry/1.wav", "ben/sad/2.wav", options=f"?{options}")


def test_levels_are_for_folders_only(tmp_path):
    touch(tmp_path, "ravdess/03-01-05-01-01-01-01.wav")
    (tmp_path / "t.csv").write_text("path,speaker,emotion\n")
    with pytest.raises(UsageError, match="a folder with class folders only"):
        load(f"{tmp_path / 't.csv'}?speaker_level=1")
    with pytest.raises(UsageError, match="a folder with class folders only"):
        load("ravdess?speaker_level=1", tmp_path)


def test_official_names_and_own_folders_are_both_taken_and_the_rest_is_counted(tmp_path):
    touch(
        tmp_path / "set",
        "Actor_01/03-01-05-01-01-01-01.wav",
        "mine/anna/angry/1.wav",
        "mine/ben/sad/2.wav",
        "mine/ben/zzz/3.wav",
        "mine/ben/zzz/4.wav",
        "loose.wav",
    )
    notes: list[str] = []
    clips = load(str(tmp_path / "set"), note=notes.append)
    assert [(clip.corpus, clip.speaker, clip.emotion) for clip in clips] == [
        ("ravdess", "01", "angry"),
        ("set", "anna", "angry"),
        ("set", "ben", "sad"),
    ]
    assert notes == [
        "3 of 6 files in set are left out: 2 in folders that name no emotion ('zzz'), 1 outside any"
        " class folder."
    ]


def test_spellings_of_a_speaker_are_one(tmp_path):
    composed, decomposed = "Zo\u00eb", "Zoe\u0308"
    touch(tmp_path / "set", "Anna/angry/1.wav", "anna/sad/2.wav", f"{composed}/sad/3.wav")
    (tmp_path / "t.csv").write_text(
        "path,speaker,emotion\n"
        f"set/Anna/angry/1.wav,ANNA  Lee,anger\nset/anna/sad/2.wav, anna lee,sad\n"
        f"set/{composed}/sad/3.wav,{decomposed},sad\n",
        encoding="utf-8",
    )
    notes: list[str] = []
    clips = load(str(tmp_path / "set"), note=notes.append)
    assert sorted(clip.speaker for clip in clips) == ["anna", "anna", "zo\u00eb"]
    assert notes == ["Taken for one speaker: 'Anna', 'anna' as anna."]
    table = load(str(tmp_path / "t.csv"))
    assert [clip.speaker for clip in table] == ["anna lee", "anna lee", "zo\u00eb"]


@pytest.mark.parametrize("names", [("7", "07"), ("7", "7.0"), ("spk7", "spk07"), ("0", "00")])
def test_numbers_that_differ_in_zeros_are_asked_about(tmp_path, names):
    with pytest.raises(UsageError, match=r"may be one person: write them alike"):
        labels(tmp_path, f"{names[0]}/angry/1.wav", f"{names[1]}/sad/2.wav")
    # Also where each stands in a corpus item of its own.
    touch(tmp_path / "one" / "set", f"{names[0]}/angry/1.wav", "x/sad/1.wav")
    touch(tmp_path / "two" / "set", f"{names[1]}/angry/2.wav", "x/sad/2.wav")
    with pytest.raises(UsageError, match="may be one person"):
        load_many(f"{tmp_path / 'one' / 'set'},{tmp_path / 'two' / 'set'}")


def test_items_that_differ_about_a_clip_are_refused(tmp_path):
    touch(tmp_path, "1.wav")
    for name, row in (
        ("t", "anna,angry"),
        ("u", "anna,sad"),
        ("v", "ben,angry"),
        ("w", "Anna,rage"),
    ):
        (tmp_path / f"{name}.csv").write_text(f"path,speaker,emotion\n1.wav,{row}\n")
    for pair, words in (
        ("t.csv,u.csv", "1.wav has the emotion angry in t.csv and sad in u.csv"),
        ("t.csv,v.csv", "1.wav has the speaker anna in t.csv and ben in v.csv"),
    ):
        with pytest.raises(SerdemoError, match=words):
            load_many(pair, tmp_path)
    assert len(load_many("t.csv,w.csv", tmp_path)) == 1


@pytest.mark.parametrize(
    ("shared", "names"),
    [
        (True, "train session1 Session_2 wav 16k 44.1kHz Strong level1 male de 2019 TestSet nan"),
        (False, "anna 07 0021 actor1 male1 id07 de2 v1 k2 voice3 Joy p225"),
    ],
)
def test_words_of_folders(shared, names):
    assert {name: is_shared(name) for name in names.split()} == dict.fromkeys(names.split(), shared)


def test_ids_of_speakers():
    ids, others = (
        "Actor_07 0021 p225 speaker-anna sub01 male2",
        "anna subset personal session1 2020",
    )
    assert all(map(is_speaker_id, ids.split()))
    assert not any(map(is_speaker_id, others.split()))


def test_any_folders_end_in_clips_or_one_sentence(tmp_path):
    names = ("angry", "Joy", "normal", "train", "anna")
    outcomes = {"read": 0, "asked about": 0}
    for number, (a, b, c) in enumerate(itertools.product(names, repeat=3)):
        try:
            found = labels(tmp_path / str(number), f"{a}/{b}/{c}/1.wav", f"{b}/{c}/2.wav")
        except LevelUnclearError:
            outcomes["asked about"] += 1
        except SerdemoError as problem:  # none of the words is an emotion's
            assert {a, b, c} <= {"train", "anna"}, problem  # noqa: PT017
        else:
            outcomes["read"] += 1
            assert {emotion for _, emotion in found} <= {"angry", "happy", "neutral"}
    assert outcomes["read"] > 60 and outcomes["asked about"] > 10
