"""The corpora besides the seven as wholes: their sizes, their protocols, how to get them."""

from __future__ import annotations

from collections import Counter
from itertools import product
from pathlib import Path

import pytest

from serdemo.data import splits
from serdemo.data.corpora import CORPORA, find, load, status
from serdemo.schema.errors import SerdemoError

MORE = list(CORPORA)[7:]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


COUNTS = {
    "iemocap": {"angry": 1103, "happy": 1636, "neutral": 1708, "sad": 1084},
    "casia": dict.fromkeys(("angry", "fear", "happy", "neutral", "sad", "surprise"), 200),
    "cremad": {
        **dict.fromkeys(("angry", "disgust", "fear", "happy", "sad"), 1271),
        "neutral": 1087,
    },
    "shemo": {
        **{"angry": 1059, "fear": 38, "happy": 201},
        **{"neutral": 1028, "sad": 449, "surprise": 225},
    },
    "esd": dict.fromkeys(("angry", "happy", "neutral", "sad", "surprise"), 7000),
    "turevdb": {"angry": 487, "calm": 408, "happy": 357, "sad": 483},
}
SIZES = {
    **{"iemocap": (5531, 10), "casia": (1200, 4), "cremad": (7442, 91), "shemo": (3000, 87)},
    **{"esd": (35000, 20), "savee": (480, 4), "tess": (2800, 2), "emovo": (588, 6)},
    "turevdb": (1735, 6),
}


@pytest.mark.parametrize(("name", "size"), SIZES.items(), ids=SIZES)
def test_official_counts_add_up_and_genders_are_of_all_or_none(
    name: str, size: tuple[int, int]
) -> None:
    corpus = CORPORA[name]
    assert (corpus.clips, corpus.speakers) == size
    assert sum(corpus.emotion_counts.values()) == corpus.clips
    assert corpus.emotion_counts == COUNTS.get(name, corpus.emotion_counts)
    assert len(corpus.females | corpus.males) in (0, corpus.speakers)


WHOLE = {
    "casia": [
        f"{speaker}/{emotion}/{sentence}.wav"
        for speaker in ("liuchanhg", "wangzhe", "zhaoquanyin", "ZhaoZuoxiang")
        for emotion in ("angry", "fear", "happy", "neutral", "sad", "surprise")
        for sentence in range(201, 251)
    ],
    "savee": [
        f"{speaker}/{letters}{number:02d}.wav"
        for speaker in ("DC", "JE", "JK", "KL")
        for letters in ("a", "d", "f", "h", "n", "sa", "su")
        for number in range(1, 31 if letters == "n" else 16)
    ],
    "tess": [
        f"{who}_{emotion}/{who}_{first}{second}_{emotion}.wav"
        for who in ("OAF", "YAF")
        for emotion in ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")
        for first, second in product("abcdefghij", "abcdefghijklmnopqrst")
    ],
    "emovo": [
        f"{who}/{emotion}-{who}-{kind}{number}.wav"
        for who in ("f1", "f2", "f3", "m1", "m2", "m3")
        for emotion in ("dis", "gio", "neu", "pau", "rab", "sor", "tri")
        for kind, count in (("b", 3), ("l", 4), ("n", 5), ("d", 2))
        for number in range(1, count + 1)
    ],
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_corpus_is_complete_and_leaves_one_speaker_out(tmp_path: Path, name: str) -> None:
    touch(tmp_path / name, *WHOLE[name])
    row = next(row for row in status(tmp_path) if row.name == name)
    assert (row.clips, row.complete, row.missing) == (CORPORA[name].clips, True, "")
    assert row.emotions == row.expected_emotions
    folds = dict(splits.folds(find(tmp_path, name), by="speaker"))
    assert len(folds) == row.speakers == row.expected_speakers
    assert {len(split.test) for split in folds.values()} == {row.clips // row.speakers}


def test_iemocap_has_four_classes_and_leaves_each_of_five_sessions_out(tmp_path: Path) -> None:
    labels = ["ang", "hap", "exc", "neu", "sad", "fru", "xxx"]
    for session in range(1, 6):
        dialogue = f"Ses0{session}M_script01_1"
        # The prefix says who wore the sensors; the speaker is the letter before the number.
        stems = [f"{dialogue}_{actor}{n:03d}" for actor in "FM" for n in range(len(labels))]
        base = tmp_path / "IEMOCAP_full_release" / f"Session{session}"
        touch(base / "sentences/wav" / dialogue, *(f"{stem}.wav" for stem in stems))
        touch(base / "sentences/wav" / dialogue, f"{dialogue}_M999.wav")  # has no label
        touch(base / "dialog/wav", f"{dialogue}.wav")
        lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]"]
        for n, (stem, label) in enumerate(zip(stems, labels * 2, strict=True)):
            lines.append(f"\n[{n}.2901 - {n + 1}.2357]\t{stem}\t{label}\t[2.5000, 2.5000, 2.5000]")
            lines += ["C-E2:\tNeutral;\t()", "A-E3:\tval 3; act 2; dom  2;\t()"]
        folder = base / "dialog/EmoEvaluation"
        (folder / "Categorical").mkdir(parents=True)
        (folder / f"{dialogue}.txt").write_text("\n".join(lines))
        (folder / f"._{dialogue}.txt").write_bytes(b"\0\5\x16\xff")
        (folder / f"Categorical/{dialogue}_e2_cat.txt").write_text(f"{stems[0]} :Sadness; ()\n")
    clips = find(tmp_path, "iemocap")
    assert {clip.native_label for clip in clips if clip.emotion == "happy"} == {
        *("happiness", "excited"),
    }
    folds = dict(splits.folds(clips, by="session"))
    assert list(folds) == [f"iemocap/{session}" for session in range(1, 6)]
    for name, split in folds.items():
        prefix = f"iemocap/SES0{name[-1]}"
        assert split.speakers("test") == (f"{prefix}F", f"{prefix}M")
        assert Counter(clip.emotion for clip in split.test) == {
            **{"angry": 2, "happy": 4, "neutral": 2, "sad": 2}
        }
        assert Counter((clip.speaker[-1], clip.gender) for clip in split.test) == {
            **{("F", "f"): 5, ("M", "m"): 5}
        }
        assert len(split.train) == 40


def test_iemocap_without_its_labels_says_where_they_are(tmp_path: Path) -> None:
    touch(tmp_path / "iemocap/sentences/wav/Ses01F_impro01", "Ses01F_impro01_F000.wav")
    with pytest.raises(SerdemoError, match=r"No clip of IEMOCAP .* dialog/EmoEvaluation"):
        load("iemocap", tmp_path)


def test_each_says_how_to_get_it_and_how_to_test_on_it(tmp_path: Path) -> None:
    rows = {row.name: row for row in status(tmp_path)}
    for name in MORE:
        row = rows[name]
        assert (row.clips, row.speakers, row.complete) == (0, 0, False)
        assert row.missing == f"{CORPORA[name].obtain} ({row.homepage})"
        assert any(f"--by {by}" in row.protocol for by in ("speaker", "session", "fold"))
