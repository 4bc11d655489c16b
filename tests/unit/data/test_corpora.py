"""The contract of every known corpus: file names, labels, sizes, speakers and how to get it."""

from __future__ import annotations

import csv
import os
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
from support.corpora import touch

from serdemo.data import corpora, splits
from serdemo.data.corpora import CORPORA, find, load, status
from serdemo.data.corpora.corpus import Corpus
from serdemo.data.corpora.emotion_names import emotion_word
from serdemo.data.corpora.registry import Status
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import EMOTIONS

DATA = os.environ.get("SERDEMO_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="SERDEMO_DATA names no folder with corpora")

# path -> speaker, emotion, native label, gender, language, fold
NAMES = {
    "ravdess/03-01-05-01-01-01-07.wav": ("07", "angry", "angry", "m", "en", "4"),
    "ravdess/03-01-02-02-02-02-24.wav": ("24", "calm", "calm", "f", "en", "4"),
    "cremad/1001_DFA_HAP_XX.wav": ("1001", "happy", "happy", "m", "en", ""),
    "cremad/1040_ITH_SAD_X.wav": ("1040", "sad", "sad", "m", "en", ""),
    "cremad/1091_WSI_ANG_HI.wav": ("1091", "angry", "anger", "f", "en", ""),
    "emodb/03a01Fa.wav": ("03", "happy", "Freude", "m", "de", ""),
    "emodb/16b10Lb.wav": ("16", "boredom", "Langeweile", "f", "de", ""),
    "nemo/IC0_anger_1.wav": ("IC0", "angry", "anger", "f", "pl", ""),
    "nemo/WR0_surprised_90.wav": ("WR0", "surprise", "surprised", "m", "pl", ""),
    "ased/a5-01-01-01-01.wav": ("01", "angry", "angry", "", "am", ""),
    "ased/N1-07-02-02-65.wav": ("65", "neutral", "neutral", "", "am", ""),
    "aesdd/a01 (1).wav": ("spk1", "angry", "anger", "", "el", ""),
    "aesdd/a01-1.wav": ("spk1", "angry", "anger", "", "el", ""),
    "aesdd/s01-5b.wav": ("spk5", "sad", "sadness", "", "el", ""),
    "aesdd/d03-01.wav": ("spk1", "disgust", "disgust", "", "el", ""),
    "urdu/SM7_F9_H081.wav": ("SM7", "happy", "happy", "m", "ur", ""),
    "urdu/SF10_F1_S01.wav": ("SF10", "sad", "sad", "f", "ur", ""),
    "emodb/03a01Wa.wav": ("03", "angry", "Wut", "m", "de", ""),
    "ravdess/03-01-06-01-01-01-01.wav": ("01", "fear", "fearful", "m", "en", "1"),
    "casia/liuchanhg/angry/201.wav": ("LIUCHANHG", "angry", "angry", "", "zh", ""),
    "casia/ZhaoZuoxiang/surprise/250.wav": ("ZHAOZUOXIANG", "surprise", "surprise", "", "zh", ""),
    "shemo/female/F01A01.wav": ("F01", "angry", "anger", "f", "fa", ""),
    "shemo/male/M56W02.wav": ("M56", "surprise", "surprise", "m", "fa", ""),
    "shemo/male/M02F01.wav": ("M02", "fear", "fear", "m", "fa", ""),
    "esd/0001/Angry/train/0001_000401.wav": ("0001", "angry", "Angry", "f", "zh", "train"),
    "esd/0011/Sad/evaluation/0011_001051.wav": ("0011", "sad", "Sad", "m", "en", "evaluation"),
    "esd/0020/Surprise/0020_001401.wav": ("0020", "surprise", "Surprise", "m", "en", ""),
    "savee/AudioData/DC/a01.wav": ("DC", "angry", "anger", "m", "en", ""),
    "savee/KL_su15.wav": ("KL", "surprise", "surprise", "m", "en", ""),
    "savee/AudioData/JE/sa02.wav": ("JE", "sad", "sadness", "m", "en", ""),
    "tess/OAF_angry/OAF_back_angry.wav": ("OAF", "angry", "anger", "f", "en", ""),
    "tess/YAF_ps/YAF_youth_ps.wav": ("YAF", "surprise", "pleasant surprise", "f", "en", ""),
    "tess/OAF_neutral/OA_bite_neutral.wav": ("OAF", "neutral", "neutral", "f", "en", ""),
    "emovo/f1/dis-f1-b1.wav": ("F1", "disgust", "disgusto", "f", "it", ""),
    "emovo/m3/gio-m3-n5.wav": ("M3", "happy", "gioia", "m", "it", ""),
    "turevdb/Sound Source/Calm/1984_sk_eger.wav": ("1984", "calm", "Calm", "", "tr", ""),
    "turevdb/Sound Source/Angry/1234_kz_acik.wav": ("1234", "angry", "Angry", "", "tr", ""),
    "cremad/1091_WSI_FEA_HI.wav": ("1091", "fear", "fear", "f", "en", ""),
    "cremad/1001_IEO_DIS_LO.wav": ("1001", "disgust", "disgust", "m", "en", ""),
}
NOT_CLIPS = [
    "03-02-05-01-01-01-07.wav",  # RAVDESS song
    "01-01-05-01-01-01-07.wav",  # RAVDESS video
    "03-01-09-01-01-01-07.wav",
    "1001_DFA_JOY_XX.wav",
    "03a01Xa.wav",
    "IC0_calm_1.wav",
    "b5-01-01-01-01.wav",
    "SM7_F9_X081.wav",
    "x01 (1).wav",
    "a01.wav",
    "notes.wav",
    ".wav",
    "casia/liuchanhg/bored/201.wav",
    "casia/somebody/angry/201.wav",
    "casia/angry/201.wav",
    "cremad/1001_DFA_SUR_XX.wav",
    "shemo/F01X01.wav",
    "shemo/X01A01.wav",
    "esd/0021/Angry/0021_000351.wav",
    "esd/0011/Angry/0012_000351.wav",
    "esd/0011_000351.wav",
    "savee/a01.wav",
    "savee/DC/x01.wav",
    "tess/OAF_back_bored.wav",
    "tess/MAF_back_angry.wav",
    "emovo/dis-f4-b1.wav",
    "emovo/xxx-f1-b1.wav",
    "turevdb/Bored/1984_sk_eger.wav",
    "turevdb/1984_sk_eger.wav",
    "iemocap/Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav",
    "msppodcast/Audios/MSP-PODCAST_0001_0008.wav",
]


def status_of(root: Path, name: str) -> Status:
    return next(row for row in status(root) if row.name == name)


@pytest.mark.parametrize("name", NAMES)
def test_an_official_name_is_read_by_its_own_corpus_only(tmp_path: Path, name: str) -> None:
    path = touch(tmp_path, name) / name
    assert [known for known, corpus in CORPORA.items() if corpus.parse(path)] == [
        name.split("/")[0]
    ]
    by_corpus = {known: find(tmp_path, known) for known in CORPORA}
    (clip,) = by_corpus.pop(name.split("/")[0])
    assert not any(by_corpus.values())
    assert (clip.path, clip.corpus) == (path, name.split("/")[0])
    fields = (clip.speaker, clip.emotion, clip.native_label, clip.gender, clip.language, clip.fold)
    assert fields == NAMES[name]


@pytest.mark.parametrize("name", NOT_CLIPS)
def test_other_names_are_ignored(tmp_path: Path, name: str) -> None:
    touch(tmp_path, name)
    assert [known for known in CORPORA if find(tmp_path, known)] == []
    assert not any(corpus.parse(Path(name)) for corpus in CORPORA.values())


def test_the_folder_of_another_corpus_is_left_to_it(tmp_path: Path) -> None:
    """A clip of EMO-DB among RAVDESS's is not found there, but in any folder that is nobody's."""
    official = "03a01Fa.wav"
    touch(tmp_path, f"RAVDESS/{official}")
    assert find(tmp_path, "emodb") == []
    assert [clip.path.name for clip in find(tmp_path / "RAVDESS", "emodb")] == [official]
    touch(tmp_path, f"mixed/ravdess/{official}")
    assert len(find(tmp_path, "emodb")) == 1
    touch(tmp_path, f"Berlin/mixed/{official}")
    assert [clip.path.parent.name for clip in find(tmp_path, "emodb")] == ["mixed"]


@pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA)
def test_a_corpus_states_all_a_user_needs(corpus: Corpus) -> None:
    assert sum(corpus.emotion_counts.values()) == corpus.clips
    assert corpus.protocol and "--by " in corpus.protocol
    assert set(corpus.emotion_counts) <= {*EMOTIONS, "calm", "boredom"}
    assert corpus.name in corpus.folders
    assert all(folder == folder.lower() for folder in corpus.folders)
    assert not corpus.females & corpus.males
    assert corpus.homepage.startswith("http") and corpus.obtain.endswith(".")
    assert corpus.licence and corpus.citation and corpus.title


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
    "savee": {
        **dict.fromkeys(("angry", "disgust", "fear", "happy", "sad", "surprise"), 60),
        "neutral": 120,
    },
    "tess": dict.fromkeys(EMOTIONS, 400),
    "emovo": dict.fromkeys(EMOTIONS, 84),
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
    assert corpus.emotion_counts == COUNTS[name]
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
        f"{speaker}_{emotion}/{speaker}_{first}{second}_{emotion}.wav"
        for speaker in ("OAF", "YAF")
        for emotion in ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")
        for first, second in product("abcdefghij", "abcdefghijklmnopqrst")
    ],
    "emovo": [
        f"{speaker}/{emotion}-{speaker}-{kind}{number}.wav"
        for speaker in ("f1", "f2", "f3", "m1", "m2", "m3")
        for emotion in ("dis", "gio", "neu", "pau", "rab", "sor", "tri")
        for kind, count in (("b", 3), ("l", 4), ("n", 5), ("d", 2))
        for number in range(1, count + 1)
    ],
    "urdu": [
        *(
            f"{'SM' if n < 20 else 'SF'}{n % 20 + 1}_F1_{letter}{n}.wav"
            for letter in "AHNS"
            for n in range(29)
        ),
        *(f"SM1_F2_{letter}{n}.wav" for letter in "AHNS" for n in range(71)),
    ],
}
FOLDERS = {"casia": "CASIA", "urdu": "URDU-Dataset"}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_corpus_is_complete_and_leaves_one_speaker_out(tmp_path: Path, name: str) -> None:
    touch(tmp_path / FOLDERS.get(name, name), *WHOLE[name])
    row = status_of(tmp_path, name)
    assert (row.clips, row.complete, row.missing) == (CORPORA[name].clips, True, "")
    assert row.emotions == row.expected_emotions
    folds = dict(splits.folds(find(tmp_path, name), by="speaker"))
    assert len(folds) == row.speakers == row.expected_speakers == CORPORA[name].speakers
    if name != "urdu":  # whose speakers say different numbers of clips
        assert {len(split.test) for split in folds.values()} == {row.clips // row.speakers}


def test_a_missing_corpus_says_how_to_get_it_and_how_to_test_on_it(tmp_path: Path) -> None:
    rows = {row.name: row for row in status(tmp_path)}
    assert list(rows) == list(CORPORA)
    for name, row in rows.items():
        assert (row.clips, row.speakers, row.complete) == (0, 0, False)
        assert row.missing == f"{CORPORA[name].obtain} ({row.homepage})"
        assert any(f"--by {by}" in row.protocol for by in ("speaker", "session", "fold"))


def test_status_counts_what_is_there_and_says_how_to_get_the_rest(tmp_path: Path) -> None:
    touch(tmp_path, "ravdess/03-01-01-01-01-01-01.wav", "ravdess/03-01-02-01-01-01-01.wav")
    rows = {row.name: row for row in status(tmp_path)}
    assert list(rows) == list(CORPORA)
    row = rows["ravdess"]
    assert (row.clips, row.expected_clips, row.speakers, row.expected_speakers) == (2, 1440, 1, 24)
    assert row.emotions == {"neutral": 1, "calm": 1}
    assert not row.complete and "zenodo" in row.missing
    assert [row.clips for row in status(None)] == [0] * len(CORPORA)


def same_speaker(corpus: str, first: str, second: str) -> bool:
    return corpora.normalise_speaker(corpus, first) == corpora.normalise_speaker(corpus, second)


@pytest.mark.parametrize(
    ("corpus", "spellings"),
    [
        ("ravdess", ["07", "7", "Actor_07", "actor 7", " 07 ", "Actor-07"]),
        ("aesdd", ["spk2", "2", "02", "speaker 2", "SPK2"]),
        ("cremad", ["1001", "Actor_1001"]),
        ("urdu", ["SF3", "sf3"]),
        ("nemo", ["MK0", "mk0"]),
        ("emodb", ["03", "3"]),
        ("elsewhere", ["anna", " Anna", "ANNA "]),
    ],
)
def test_spellings_of_one_speaker(corpus, spellings):
    assert all(same_speaker(corpus, spellings[0], other) for other in spellings)
    assert corpora.normalise_speaker(corpus, spellings[1]) == spellings[0]
    assert not same_speaker(corpus, spellings[0], "08")


def test_ids_of_other_corpora_are_not_touched():
    assert not same_speaker("elsewhere", "07", "Actor_07")


def test_a_sentence_counts_for_each_speaker_and_emotion_and_a_copy_once(tmp_path):
    folders = [
        f"{speaker}/{mood}" for speaker in ("wangzhe", "liuchanhg") for mood in ("sad", "fear")
    ]
    touch(tmp_path / "CASIA", *(f"{name}/201.wav" for name in folders))
    touch(tmp_path / "CASIA", "copy/wangzhe/sad/201.wav")
    assert {(clip.speaker, clip.emotion) for clip in find(tmp_path, "casia")} == {
        (speaker, mood) for speaker in ("WANGZHE", "LIUCHANHG") for mood in ("sad", "fear")
    }
    assert len(find(tmp_path, "casia")) == 4


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


PODCAST_HEADER = "FileName,EmoClass,EmoAct,SpkrID,Gender,Split_Set"
PODCAST = {
    "0001_0008": "A,4.2,127,Female,Train",
    "0001_0019_0001": "H,4.2,127,Female,Train",
    "0002_0001": "N,4.2,127,Female,Train",
    "0003_0001": "U,4.2,98,Male,Development",
    "0004_0001": "S,4.2,7,Male,Test1",
    "0004_0002": "S,4.2,Unknown,Male,Test1",
    "0005_0001": "C,4.2,5,Male,Test1",
    "0006_0001": "X,4.2,5,Male,Test1",
}


def msp_podcast(root: Path) -> Path:
    lines = [
        PODCAST_HEADER,
        *(f"MSP-PODCAST_{stem}.wav,{fields}" for stem, fields in PODCAST.items()),
    ]
    (root / "Labels").mkdir(parents=True)
    (root / "Labels" / "labels_consensus.csv").write_text("\n".join(lines) + "\n")
    return touch(root, *(f"Audios/MSP-PODCAST_{stem}.wav" for stem in PODCAST))


def test_msp_podcast_reads_its_labels_speakers_and_parts(tmp_path):
    missing = msp_podcast(tmp_path / "MSP-Podcast") / "Audios/MSP-PODCAST_0002_0001.wav"
    missing.unlink()
    utterances = {clip.path.stem[12:]: clip for clip in find(tmp_path, "msppodcast")}
    assert {
        stem: (clip.speaker, clip.emotion, clip.gender, clip.fold)
        for stem, clip in utterances.items()
    } == {
        "0001_0008": ("127", "angry", "f", "Train"),
        "0001_0019_0001": ("127", "happy", "f", "Train"),
        "0003_0001": ("98", "surprise", "m", "Development"),
        "0004_0001": ("7", "sad", "m", "Test1"),
    }
    folds = dict(splits.folds(list(utterances.values()), by="fold"))
    assert Counter({name: len(split.test) for name, split in folds.items()}) == {
        "msppodcast/Development": 1,
        "msppodcast/Test1": 1,
        "msppodcast/Train": 2,
    }
    row = status_of(tmp_path, "msppodcast")
    assert (row.clips, row.expected_clips, row.speakers, row.expected_speakers) == (4, 5, 3, 3)
    assert row.expected_emotions["neutral"] == 1 and not row.complete
    missing.touch()
    row = status_of(tmp_path, "msppodcast")
    assert row.complete and row.missing == ""


@pytest.mark.parametrize("content", [b"", b"FileName,EmoClass\na.wav,A\n", b"\xff\xfe\x00"])
def test_a_damaged_label_file_is_told_in_one_sentence(tmp_path, content):
    labels = msp_podcast(tmp_path / "msppodcast") / "Labels" / "labels_consensus.csv"
    labels.write_bytes(content)
    with pytest.raises(SerdemoError, match=r"labels_consensus\.csv") as raised:
        find(tmp_path, "msppodcast")
    assert "\n" not in str(raised.value)


def test_the_parts_of_esd_share_speakers_and_are_refused(tmp_path):
    parts = {"train": "0011_000401", "evaluation": "0011_000351", "test": "0011_000371"}
    touch(tmp_path / "ESD", *(f"0011/Angry/{part}/{stem}.wav" for part, stem in parts.items()))
    touch(tmp_path / "ESD", "0001/Happy/0001_000701.wav")
    utterances = find(tmp_path, "esd")
    assert len(dict(splits.folds(utterances, by="speaker"))) == 2
    with pytest.raises(SerdemoError, match="speaker esd/0011 stands in both"):
        list(splits.folds([clip for clip in utterances if clip.fold], by="fold"))


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
