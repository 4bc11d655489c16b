"""Options after a corpus's name: emotions to drop, corrected labels, and wrong ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.corpora import touch

from serdemo.data.corpora import load
from serdemo.schema.errors import SerdemoError, UsageError


@pytest.mark.parametrize("words", ["fear", "FEAR", "afraid", "fear+happiness"])
def test_emotions_are_dropped_in_any_words(tmp_path, words):
    touch(tmp_path / "shemo", "F01A01.wav", "F01F01.wav", "M01N01.wav")
    clips = load(f"shemo?drop={words}", tmp_path)
    assert [clip.path.stem for clip in clips] == ["F01A01", "M01N01"]


def shemo(root: Path) -> Path:
    return touch(root / "shemo", "F01A01.wav", "F01F01.wav", "M01N01.wav", "F21N05.wav")


PUBLIC = {
    "f21n37.wav": {"speech_name": "F21N05", "emotion": "sadness"},
    "F01A01.wav": {"emotion": "anger"},
}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("modified_shemo.json", json.dumps(PUBLIC)),
        ("plain.json", json.dumps({"F21N05.wav": "sadness"})),
        ("plain.csv", "path,emotion\nfemale/F21N05.wav,sadness\n"),
        ("excel.csv", "sep=;\r\nfilename;label\r\nfemale\\F21N05.wav;sadness\r\n"),
    ],
)
def test_corrected_labels_take_the_place_of_the_official_ones(tmp_path, name, text):
    (shemo(tmp_path) / name).write_text(text, encoding="utf-8")
    plain = {clip.path.stem: clip.emotion for clip in load("shemo", tmp_path)}
    read = {clip.path.stem: clip for clip in load(f"shemo?labels={name}&drop=fear", tmp_path)}
    assert plain["F21N05"] == "neutral"
    assert {stem: clip.emotion for stem, clip in read.items()} == {
        "F01A01": "angry",
        "M01N01": "neutral",
        "F21N05": "sad",
    }
    assert read["F21N05"].native_label == "sadness" and read["F01A01"].native_label == "anger"


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("shemo?colour=red", UsageError, "no option 'colour'; there are drop, labels"),
        ("shemo?drop", UsageError, "not as name=value"),
        (
            "shemo?audio=sound",
            UsageError,
            "audio is for a corpus as a table, hf:ID or the address of shards only",
        ),
        ("shemo?labels=away.json", UsageError, r"no file 'away\.json' of labels"),
        ("shemo?labels=list.json", SerdemoError, "holds no labels"),
        ("shemo?labels=odd.csv", SerdemoError, "odd.csv, line 2: 'hungry' is no emotion we know"),
        ("shemo?labels=others.csv", SerdemoError, "names no clip of this corpus"),
        ("shemo?split=x", UsageError, "split is for a corpus as hf:ID only"),
        ("shemo?labels=bare.csv", SerdemoError, "no column path and no column emotion"),
        ("shemo?drop=fear+angry+neutral", UsageError, "no clip is left"),
    ],
)
def test_wrong_options_end_in_one_sentence(tmp_path, spec, error, words):
    folder = shemo(tmp_path)
    (folder / "list.json").write_text("[1, 2]")
    (folder / "odd.csv").write_text("path,emotion\nF01A01.wav,hungry\n")
    (folder / "others.csv").write_text("path,emotion\nx.wav,sad\n")
    (folder / "bare.csv").write_text("name,mood\nF01A01.wav,sad\n")
    with pytest.raises(error, match=words) as raised:
        load(spec, tmp_path)
    assert "\n" not in str(raised.value)


def test_a_label_map_names_the_emotions_of_folders(tmp_path):
    touch(tmp_path / "own", "0/anna/a.wav", "1/anna/b.wav", "1/ben/c.wav", "2/ben/d.wav")
    (tmp_path / "map.csv").write_text("label,emotion\n0,anger\n1,sadness\n")
    clips = load("own?label_map=map.csv", tmp_path)
    assert [(c.path.stem, c.emotion, c.native_label, c.speaker) for c in clips] == [
        ("a", "angry", "0", "anna"),
        ("b", "sad", "1", "anna"),
        ("c", "sad", "1", "ben"),
    ]
    with pytest.raises(UsageError, match=r"label_map is for a corpus as a folder .*, a table, hf"):
        load("shemo?label_map=map.csv", shemo(tmp_path).parent)
