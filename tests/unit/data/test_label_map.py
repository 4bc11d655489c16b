"""Label maps from JSON and CSV files, and the words that need none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serdemo.data.corpora import emotion_names
from serdemo.data.corpora.emotion_names import emotion_word, is_other_emotion
from serdemo.data.corpora.label_map import map_label, read_label_map
from serdemo.schema.errors import SerdemoError


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"LABEL_0": "Anger", "2": "sleepy", "LABEL_1": None}).encode(),
        b"label,emotion\nLABEL_0,ang\n2,sleepy\nLABEL_1,\n",
        b"sep=;\r\nEmotion;Label\r\n\xe7\x94\x9f\xe6\xb0\x94;LABEL_0\r\nsleepy;2\r\n;LABEL_1\r\n",
        "label\temotion\nLABEL_0\twütend\n2\tsleepy\nLABEL_1\t\n".encode("utf-16"),
        "label;emotion\nLABEL_0;wütend\n2;sleepy\nLABEL_1;\n".encode("cp1252"),
    ],
)
def test_a_map_names_emotions_in_any_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / ("map.json" if content.startswith(b"{") else "map.csv")
    path.write_bytes(content)
    labels = read_label_map(path)
    assert labels == {"LABEL_0": "angry", "2": "sleepy", "LABEL_1": ""}
    assert map_label("label_0", labels) == "angry" and map_label("LABEL_3", labels) is None


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("m.json", "[1]", r"m\.json is no JSON object"),
        ("m.json", "[" * 100_000, r"m\.json is no JSON object"),
        ("m.json", '{"0": 1}', "emotion of '0' must be a text, or null"),
        ("m.json", "{}", "maps no label"),
        ("m.json", '{"": "sad"}', "the label is empty"),
        ("m.csv", "label,emotion\n0,sad\n0,angry\n", "line 3: '0' was already given another"),
        ("m.csv", "label,emotion\nA,sad\n\na,angry\n", "line 4: 'a' was already given another"),
        ("m.csv", "label,emotion\n,sad\n", "line 2: the label is empty"),
        ("m.csv", "label,emotion\n", "maps no label"),
        ("m.csv", "0,sad\n1,angry\n", "two columns label and emotion"),
        ("m.csv", "", "is empty"),
        ("m.csv", "PK\3\4", "is a workbook or zip"),
    ],
)
def test_a_wrong_map_ends_in_one_sentence(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(SerdemoError, match=words) as raised:
        read_label_map(tmp_path / name)
    assert "\n" not in str(raised.value)
    with pytest.raises(SerdemoError, match="cannot be read"):
        read_label_map(tmp_path / "away.csv")


# Each row: angry, disgust, fear, happy, neutral, sad, surprise.
LANGUAGES = {
    "English": "anger disgusted Fearful excited normal sadness pleasant_surprise",
    "codes": "ang dis fea exc neu sad ps",
    "Mandarin": "生气 厌恶 恐惧 高兴 中性 悲伤 惊讶",
    "Hindi": "गुस्सा घृणा डर ख़ुशी तटस्थ दुःख आश्चर्य",
    "Spanish": "ira asco miedo alegría neutro tristeza sorpresa",
    "French": "colère dégoût peur joie neutre tristesse surprise",
    "Arabic": "غضب اشمئزاز خوف سعادة محايد حزن مفاجأة",
    "Bengali": "রাগ ঘৃণা ভয় খুশি নিরপেক্ষ দুঃখ বিস্ময়",
    "Portuguese": "raiva nojo medo felicidade neutra tristeza surpresa",
    "Russian": "гнев отвращение страх радость нейтральный грусть удивление",
    "Urdu": "غصہ کراہت ڈر خوشی غیر-جانبدار اداس حیرت",
    "German": "Ärger Ekel Angst Freude neutral Trauer Überraschung",
    "Turkish": "KIZGIN İĞRENME korku mutlu nötr üzgün şaşkın",
    "Japanese": "怒り 嫌悪 恐れ 喜び ニュートラル 悲しみ 驚き",
    "Korean": "분노 혐오 공포 기쁨 중립 슬픔 놀람",
    "Indonesian": "marah jijik takut senang netral sedih kaget",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_of_many_languages_are_known(language: str) -> None:
    words = [emotion_word(word) for word in LANGUAGES[language].split()]
    assert words == ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]


def test_no_word_stands_for_two_emotions() -> None:
    words = [
        (emotion_names._folded(word), ours)
        for ours, synonyms in emotion_names.SYNONYMS.items()
        for word in synonyms.split()
    ]
    assert all(emotion_names.EMOTION_OF[word] == ours for word, ours in words)
    assert not [word for word, _ in words if not word or is_other_emotion(word)]


@pytest.mark.parametrize(
    ("text", "emotion"),
    [
        ("OAF_angry", "angry"),
        ("YAF_pleasant_surprised", "surprise"),
        ("neutral-02", "neutral"),
        ("male_happy", "happy"),
        ("female-Fearful", "fear"),
        ("zlosc", "angry"),
        ("female", None),
        ("LABEL_0", None),
        ("A", None),
        ("happy/sad", None),
        ("not angry", None),
        ("angry_female_sad", None),
        ("दख", None),  # दुख without its vowel sign is no word
    ],
)
def test_what_is_beyond_doubt_is_read_and_nothing_else(text: str, emotion: str | None) -> None:
    assert emotion_word(text) == emotion


@pytest.mark.parametrize("text", ["frustrated", "Other", "contempt", "female_frustration", "xxx"])
def test_labels_that_are_none_of_ours_are_known_as_such(text: str) -> None:
    assert is_other_emotion(text) and emotion_word(text) is None
    assert not is_other_emotion("hungry")
