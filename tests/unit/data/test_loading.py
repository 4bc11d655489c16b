"""From a `--corpus` item to clips: data folders, class folders, tables and emotion names."""

from __future__ import annotations

import pytest
from support.corpora import touch

from serdemo.data.corpora import find, load, load_many
from serdemo.data.corpora.emotion_names import emotion_word
from serdemo.schema.errors import SerdemoError, UsageError


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
    assert [clip.speaker for clip in load("mine.csv", tmp_path)] == ["anna"]
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
        "three": ("happy", "anna"),
        "four": ("happy", "bert"),
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
