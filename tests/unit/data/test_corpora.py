"""Official file names, folders and tables of clips -> utterances."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from serdemo.data import corpora
from serdemo.data.corpora import CORPORA, csv_table, find, load, load_many, same_speaker, status
from serdemo.data.corpora.emotion_names import emotion_word
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import EMOTIONS

DATA = os.environ.get("SERDEMO_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="SERDEMO_DATA names no folder with corpora")

# stem -> corpus, speaker, emotion, gender
NAMES = [
    ("03-01-05-01-01-01-07", "ravdess", "07", "angry", "m"),
    ("03-01-02-02-02-02-24", "ravdess", "24", "calm", "f"),
    ("1001_DFA_HAP_XX", "cremad", "1001", "happy", "m"),
    ("1040_ITH_SAD_X", "cremad", "1040", "sad", "m"),
    ("1091_WSI_ANG_HI", "cremad", "1091", "angry", "f"),
    ("03a01Fa", "emodb", "03", "happy", "m"),
    ("16b10Lb", "emodb", "16", "boredom", "f"),
    ("IC0_anger_1", "nemo", "IC0", "angry", "f"),
    ("WR0_surprised_90", "nemo", "WR0", "surprise", "m"),
    ("a5-01-01-01-01", "ased", "01", "angry", ""),
    ("N1-07-02-02-65", "ased", "65", "neutral", ""),
    ("a01 (1)", "aesdd", "spk1", "angry", ""),
    ("a01-1", "aesdd", "spk1", "angry", ""),
    ("s01-5b", "aesdd", "spk5", "sad", ""),
    ("d03-01", "aesdd", "spk1", "disgust", ""),
    ("SM7_F9_H081", "urdu", "SM7", "happy", "m"),
    ("SF10_F1_S01", "urdu", "SF10", "sad", "f"),
]
NOT_CLIPS = [
    "03-02-05-01-01-01-07",  # RAVDESS song
    "01-01-05-01-01-01-07",  # RAVDESS video
    "03-01-09-01-01-01-07",
    "1001_DFA_JOY_XX",
    "03a01Xa",
    "IC0_calm_1",
    "b5-01-01-01-01",
    "SM7_F9_X081",
    "x01 (1)",
    "a01",
    "notes",
    "",
]


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


@pytest.mark.parametrize(("stem", "name", "speaker", "emotion", "gender"), NAMES)
def test_official_name_is_read_by_its_own_corpus_alone(stem, name, speaker, emotion, gender):
    read = {known: corpus.parse(Path(f"{stem}.wav")) for known, corpus in CORPORA.items()}
    assert [known for known, clip in read.items() if clip] == [name]
    clip = read[name]
    assert (clip.corpus, clip.speaker, clip.emotion, clip.gender) == (
        name,
        speaker,
        emotion,
        gender,
    )
    assert clip.language == CORPORA[name].language


@pytest.mark.parametrize("stem", NOT_CLIPS)
def test_other_names_are_passed_over(stem):
    assert [name for name, corpus in CORPORA.items() if corpus.parse(Path(f"{stem}.wav"))] == []


def test_native_label_is_the_corpus_own_word():
    assert CORPORA["emodb"].parse(Path("03a01Wa.wav")).native_label == "Wut"
    assert CORPORA["ravdess"].parse(Path("03-01-06-01-01-01-01.wav")).native_label == "fearful"


@pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA)
def test_a_corpus_states_all_a_user_needs(corpus):
    assert sum(corpus.emotion_counts.values()) == corpus.clips
    assert corpus.protocol and "--by " in corpus.protocol
    assert set(corpus.emotion_counts) <= {*EMOTIONS, "calm", "boredom"}
    assert corpus.name in corpus.folders
    assert all(folder == folder.lower() for folder in corpus.folders)
    assert not corpus.females & corpus.males
    assert corpus.homepage.startswith("http") and corpus.obtain.endswith(".")
    assert corpus.licence and corpus.citation and corpus.title


@pytest.mark.parametrize(
    ("corpus", "spellings"),
    [
        ("ravdess", ["07", "7", "Actor_07", "actor 7", " 07 ", "Actor-07"]),
        ("aesdd", ["spk2", "2", "02", "speaker 2", "SPK2"]),
        ("cremad", ["1001", "Actor_1001"]),
        ("urdu", ["SF3", "sf3"]),
        ("nemo", ["MK0", "mk0"]),
        ("emodb", ["03", "3"]),
        ("elsewhere", ["Anna", " Anna"]),
    ],
)
def test_spellings_of_one_speaker(corpus, spellings):
    assert all(same_speaker(corpus, spellings[0], other) for other in spellings)
    assert corpora.normalise_speaker(corpus, spellings[1]) == spellings[0]
    assert not same_speaker(corpus, spellings[0], "08")


def test_ids_of_other_corpora_are_not_touched():
    assert not same_speaker("elsewhere", "07", "Actor_07")


def test_find_searches_the_usual_folders_to_any_depth(tmp_path):
    touch(
        tmp_path,
        "RAVDESS/Actor_01/03-01-01-01-01-01-01.wav",
        "RAVDESS/deep/er/Actor_02/03-01-08-02-01-01-02.FLAC",
        "RAVDESS/copy/03-01-01-01-01-01-01.ogg",
        "RAVDESS/03-02-01-01-01-01-01.wav",
        "RAVDESS/readme.txt",
        "RAVDESS/03-01-01-01-01-01-03.txt",
        "RAVDESS/.cache/03-01-01-01-01-01-04.wav",
        "RAVDESS/._03-01-01-01-01-01-05.wav",
        "elsewhere/03-01-01-01-01-01-06.wav",
    )
    clips = find(tmp_path, "ravdess")
    assert [(clip.path.name, clip.speaker, clip.fold) for clip in clips] == [
        ("03-01-01-01-01-01-01.wav", "01", "1"),
        ("03-01-08-02-01-01-02.FLAC", "02", "5"),
    ]
    assert find(tmp_path, "emodb") == []


def test_find_takes_the_root_itself_for_the_corpus(tmp_path):
    touch(tmp_path, "wav/03a01Fa.wav", "wav/16b10Lb.wav")
    assert [clip.speaker for clip in find(tmp_path, "EmoDB")] == ["03", "16"]


def test_a_sentence_counts_for_each_speaker_and_emotion_and_a_copy_once(tmp_path):
    folders = [f"{who}/{mood}" for who in ("wangzhe", "liuchanhg") for mood in ("sad", "fear")]
    touch(tmp_path / "CASIA", *(f"{name}/201.wav" for name in folders))
    touch(tmp_path / "CASIA", "copy/wangzhe/sad/201.wav")
    assert {(clip.speaker, clip.emotion) for clip in find(tmp_path, "casia")} == {
        (who, mood) for who in ("WANGZHE", "LIUCHANHG") for mood in ("sad", "fear")
    }
    assert len(find(tmp_path, "casia")) == 4


def test_many_corpora_in_one_folder_are_told_apart(tmp_path):
    names = ["DC/a01.wav", "dis-f1-b1.wav", "Calm/1984_sk_eger.wav", "F01A01.wav", "03a01Fa.wav"]
    touch(tmp_path / "all", *names)
    assert {clip.corpus: clip.path.name for clip in load("all", tmp_path)} == {
        "savee": "a01.wav",
        "emovo": "dis-f1-b1.wav",
        "turevdb": "1984_sk_eger.wav",
        "shemo": "F01A01.wav",
        "emodb": "03a01Fa.wav",
    }


@pytest.mark.parametrize("words", ["fear", "FEAR", "afraid", "fear+happiness"])
def test_emotions_are_dropped_in_any_words(tmp_path, words):
    touch(tmp_path / "shemo", "F01A01.wav", "F01F01.wav", "M01N01.wav")
    clips = load(f"shemo?drop={words}", tmp_path)
    assert [clip.path.stem for clip in clips] == ["F01A01", "M01N01"]


def test_find_refuses_what_cannot_be(tmp_path):
    with pytest.raises(UsageError, match="no corpus called 'nosuch'; the known ones are ravdess"):
        find(tmp_path, "nosuch")
    with pytest.raises(UsageError, match=r"does not exist: check --root"):
        find(tmp_path / "nowhere", "ravdess")


def test_load_takes_a_name_a_folder_or_a_table(tmp_path):
    touch(tmp_path, "emodb/03a01Fa.wav", "mine/angry/a.wav", "mine/happy/b.wav")
    (tmp_path / "mine.csv").write_text("path,speaker,emotion\nmine/angry/a.wav,Anna,anger\n")
    assert [clip.corpus for clip in load("EMODB", tmp_path)] == ["emodb"]
    assert [clip.emotion for clip in load("mine", tmp_path)] == ["angry", "happy"]
    assert [clip.emotion for clip in load(str(tmp_path / "mine"))] == ["angry", "happy"]
    assert [clip.speaker for clip in load("mine.csv", tmp_path)] == ["Anna"]
    # a.wav is named by the folder and by the table, and counts once
    assert len(load_many(" mine, mine.csv ,emodb", tmp_path)) == 3


def test_load_falls_back_to_the_table_of_a_known_corpus(tmp_path):
    touch(tmp_path, "audio/one.wav")
    (tmp_path / "ravdess.csv").write_text(
        "path,speaker,emotion\naudio/one.wav,Actor_07,surprised\n"
    )
    (clip,) = load("ravdess", tmp_path)
    assert (clip.corpus, clip.speaker, clip.emotion) == ("ravdess", "07", "surprise")


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("nothing-here", UsageError, "no corpus, folder or CSV file called 'nothing-here'"),
        ("", UsageError, "no corpus, folder or CSV file called ''"),
        ("x" * 5000, UsageError, "no corpus, folder or CSV file"),
        ("a\0b", UsageError, "no corpus, folder or CSV file"),
        ("ravdess", SerdemoError, "No clip of RAVDESS .* Download Audio_Speech_Actors"),
        ("plain", SerdemoError, "named after an emotion"),
    ],
)
def test_load_refuses_what_holds_no_clips(tmp_path, spec, error, words):
    touch(tmp_path, "plain/holiday/one.wav")
    with pytest.raises(error, match=words) as raised:
        load(spec, tmp_path)
    assert "\n" not in str(raised.value)


def test_a_name_without_a_root_asks_for_one():
    with pytest.raises(UsageError, match="give --root or set SERDEMO_DATA"):
        load("ravdess")
    with pytest.raises(UsageError, match="No corpus is named"):
        load_many(" , ")


def test_class_folders_and_their_speakers(tmp_path):
    touch(
        tmp_path,
        "voices/Anger/one.wav",
        "voices/05-Tristesse/two.mp3",
        "voices/Anna/joy/three.wav",
        "voices/Freude/Bert/four.flac",
        "voices/loose.wav",
        "voices/Anna/notes/five.wav",
    )
    clips = {clip.path.stem: clip for clip in load("voices", tmp_path)}
    assert {stem: (clip.emotion, clip.speaker) for stem, clip in clips.items()} == {
        "one": ("angry", "unknown"),
        "two": ("sad", "unknown"),
        "three": ("happy", "Anna"),
        "four": ("happy", "Bert"),
    }
    assert {clip.corpus for clip in clips.values()} == {"voices"}
    assert clips["four"].native_label == "Freude"


def test_official_names_beat_class_folders_unless_they_are_few(tmp_path):
    touch(tmp_path, "talk/Angry/SM1_F10_A010.wav", "talk/Sad/SF1_F1_S01.wav")
    assert [clip.speaker for clip in load("talk", tmp_path)] == ["SF1", "SM1"]
    touch(tmp_path, "own/angry/a01-1.wav", "own/angry/first.wav", "own/sad/second.wav")
    assert [clip.corpus for clip in load("own", tmp_path)] == ["own"] * 3


@pytest.mark.parametrize(
    ("text", "emotion"),
    [
        ("Happiness", "happy"),
        ("WÜTEND", "angry"),
        ("dégoût", "disgust"),
        ("Φόβος", "fear"),
        ("pleasant_surprise", "surprise"),
        ("smutek", "sad"),
        ("01 - Neutral", "neutral"),
        ("bored", "boredom"),
        ("recordings", None),
        ("", None),
        ("123", None),
    ],
)
def test_words_for_emotions(text, emotion):
    assert emotion_word(text) == emotion


HEADER = "path,speaker,emotion\n"
BAD_TABLES = {
    "empty": (b"", "t.csv is empty"),
    "blank": (b"\n \n", "t.csv is empty"),
    "header only": (HEADER.encode(), "lists no clips"),
    "no emotion": (b"path,speaker\na.wav,1\n", "no column emotion"),
    "no header": (b"a.wav,1,angry\n", "no column path and no column speaker"),
    "semicolons": (b"path;speaker;emotion\na.wav;1;angry\n", "separates its columns by semicolons"),
    "tabs": (b"path\tspeaker\temotion\na.wav\t1\tangry\n", "separates its columns by tabs"),
    "column twice": (
        b"path,speaker,emotion,emotion\na.wav,1,sad,sad\n",
        "the column emotion twice",
    ),
    "unknown emotion": (
        (HEADER + "a.wav,1,angry\nb.wav,1,hungry\n").encode(),
        "line 3: 'hungry' is no emotion we know",
    ),
    "empty speaker": ((HEADER + "a.wav, ,angry\n").encode(), "line 2: the speaker is empty"),
    "no file": ((HEADER + "c.wav,1,angry\n").encode(), "line 2: there is no file 'c.wav'"),
    "a folder": ((HEADER + "sub,1,angry\n").encode(), "line 2: there is no file 'sub'"),
    "long path": ((HEADER + "c" * 5000 + ",1,angry\n").encode(), "line 2: there is no file 'ccc"),
    "climbs out": ((HEADER + "../t.csv,1,angry\n").encode(), "line 2: '../t.csv' leads out"),
    "climbs deep": ((HEADER + "sub/../../a.wav,1,sad\n").encode(), "leads out"),
    "climbs on Windows": ((HEADER + "..\\a.wav,1,sad\n").encode(), "leads out"),
    "absolute": ((HEADER + "/etc/hostname,1,sad\n").encode(), "leads out"),
    "a drive": ((HEADER + "C:\\a.wav,1,sad\n").encode(), "leads out"),
    "same clip twice": (
        (HEADER + "a.wav,1,sad\nsub/../a.wav,1,sad\n").encode(),
        "line 3: sub/../a.wav was already given in line 2",
    ),
    "Latin-1": ((HEADER + "a.wav,Jürgen,sad\n").encode("latin-1"), "is not UTF-8"),
    "UTF-16": ((HEADER + "a.wav,1,sad\n").encode("utf-16"), "is not UTF-8"),
    "NUL bytes": ((HEADER + "a.wav,1\0,sad\n").encode(), "holds NUL bytes"),
    "huge field": ((HEADER + "a.wav," + "1" * 20_000 + ",sad\n").encode(), "longer than 10000"),
    "monstrous field": ((HEADER + "a.wav," + "1" * 200_000 + ",sad\n").encode(), "not valid CSV"),
    "open quote": ((HEADER + 'a.wav,"1,sad\n').encode(), "not valid CSV"),
    "too many fields": (
        (HEADER + "a.wav,1,sad,more\n").encode(),
        "line 2: 4 fields where .* has 3",
    ),
    "too few fields": ((HEADER + "a.wav,1\n").encode(), "line 2: 2 fields where .* has 3"),
    "no duration": (b"path,speaker,emotion,duration_s\na.wav,1,sad,long\n", "no number of seconds"),
    "negative duration": (b"path,speaker,emotion,duration_s\na.wav,1,sad,-1\n", "no number of sec"),
    "nan duration": (b"path,speaker,emotion,duration_s\na.wav,1,sad,nan\n", "no number of seconds"),
}


@pytest.mark.parametrize(("content", "words"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_bad_tables_end_in_one_sentence(tmp_path, content, words):
    folder = touch(tmp_path / "set", "a.wav", "b.wav", "sub/d.wav")
    touch(tmp_path, "a.wav")
    (folder / "t.csv").write_bytes(content)
    with pytest.raises(SerdemoError, match=words) as raised:
        csv_table.read(folder / "t.csv")
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400


def test_a_missing_table_is_told():
    with pytest.raises(SerdemoError, match="cannot be read"):
        csv_table.read(Path("nowhere.csv"))


def test_a_good_table_with_all_its_columns(tmp_path):
    touch(tmp_path, "a.wav", "sub/ü b.wav")
    (tmp_path / "My Set.csv").write_bytes(
        (
            "\ufeffEmotion, Path ,speaker,corpus,language,gender,duration_s,fold,comment\r\n"
            'Trauer,a.wav,Anna,,de,f,2.5,s1,"said ""so"", twice"\r\n'
            "\r\n"
            "joy,sub\\ü b.wav,Actor_7,ravdess,en,m,,,\r\n"
        ).encode()
    )
    one, two = load("My Set.csv", tmp_path)
    assert (one.path, one.corpus, one.speaker) == (tmp_path / "a.wav", "my set", "Anna")
    assert (one.emotion, one.native_label, one.language, one.gender) == ("sad", "Trauer", "de", "f")
    assert (one.duration_s, one.fold) == (2.5, "s1")
    assert two.path == tmp_path / "sub" / "ü b.wav"
    assert (two.speaker_key, two.emotion, two.duration_s) == ("ravdess/07", "happy", None)


def test_status_counts_what_is_there_and_says_how_to_get_the_rest(tmp_path):
    touch(tmp_path, "ravdess/03-01-01-01-01-01-01.wav", "ravdess/03-01-02-01-01-01-01.wav")
    rows = {row.name: row for row in status(tmp_path)}
    assert list(rows) == list(CORPORA)
    row = rows["ravdess"]
    assert (row.clips, row.expected_clips, row.speakers, row.expected_speakers) == (2, 1440, 1, 24)
    assert row.emotions == {"neutral": 1, "calm": 1}
    assert not row.complete and "zenodo" in row.missing
    assert [row.clips for row in status(None)] == [0] * len(CORPORA)


def test_status_of_a_complete_corpus(tmp_path):
    stems = [
        f"{'SM' if n < 20 else 'SF'}{n % 20 + 1}_F1_{letter}{n}"
        for letter in "AHNS"
        for n in range(29)
    ] + [f"SM1_F2_{letter}{n}" for letter in "AHNS" for n in range(71)]
    touch(tmp_path / "URDU-Dataset", *[f"{stem}.wav" for stem in stems])
    row = next(row for row in status(tmp_path) if row.name == "urdu")
    assert (row.clips, row.speakers, row.complete, row.missing) == (400, 29, True, "")
    assert row.emotions == row.expected_emotions


@needs_data
@pytest.mark.parametrize("name", CORPORA)
def test_file_names_say_what_the_published_tables_say(name):
    root = Path(DATA or "")
    listing = root / f"{name}.csv"
    if not listing.is_file() or not find(root, name):
        pytest.skip(f"{name} and its table are not in SERDEMO_DATA")
    with listing.open(encoding="utf-8", newline="") as file:
        rows = {Path(row["path"]).stem.lower(): row for row in csv.DictReader(file)}
    clips = {clip.path.stem.lower(): clip for clip in find(root, name)}
    assert clips.keys() == rows.keys()
    for stem, clip in clips.items():
        row = rows[stem]
        assert clip.emotion == emotion_word(row["emotion"]), stem
        assert same_speaker(name, clip.speaker, row["speaker"]), stem
        assert clip.gender in ("", row["gender"]), stem
        assert clip.fold in ("", row["fold"]), stem
        assert clip.language == row["language"], stem
    if name in ("ravdess", "cremad", "emodb", "nemo", "urdu"):
        assert all(clip.gender for clip in clips.values())
    assert len(clips) <= CORPORA[name].clips
    # the table itself gives the same speakers and emotions
    by_table = {clip.path.stem.lower(): clip for clip in load(str(listing))}
    assert {stem: (clip.speaker_key, clip.emotion) for stem, clip in by_table.items()} == {
        stem: (clip.speaker_key, clip.emotion) for stem, clip in clips.items()
    }
