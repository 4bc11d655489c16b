"""The corpora besides the seven, clip by clip: names, folders, label files -> utterances."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serdemo.audio import waveform
from serdemo.data import splits
from serdemo.data.corpora import CORPORA, find, load, status
from serdemo.schema.errors import SerdemoError, UsageError


def tone() -> bytes:
    """A tenth of a second of sound as a WAV file."""
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.sin(np.arange(1600) * 0.2), 16_000, format="WAV")
    return file.getvalue()


TONE = tone()


def clips(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(TONE)
    return root


# path -> speaker, emotion, native label, gender, language, fold
NAMES = {
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


def test_official_names_are_read_each_by_its_own_corpus_alone(tmp_path):
    clips(tmp_path, *NAMES)
    read = {
        clip.path.relative_to(tmp_path).as_posix(): clip
        for name in CORPORA
        for clip in find(tmp_path, name)
    }
    assert read.keys() == NAMES.keys()
    for name, clip in read.items():
        assert clip.corpus == name.split("/")[0]
        said = (clip.speaker, clip.emotion, clip.native_label)
        assert (*said, clip.gender, clip.language, clip.fold) == NAMES[name], name
        assert len(waveform.decode(clip.path).samples) == 1600
        assert [known for known, corpus in CORPORA.items() if corpus.parse(clip.path)] == [
            clip.corpus
        ]


@pytest.mark.parametrize("name", NOT_CLIPS)
def test_other_names_are_passed_over(tmp_path, name):
    clips(tmp_path, name)
    assert [known for known in CORPORA if find(tmp_path, known)] == []


COUNTS = {
    "iemocap": (5531, 10, {"angry": 1103, "happy": 1636, "neutral": 1708, "sad": 1084}),
    "casia": (1200, 4, {"angry": 200, "fear": 200, "surprise": 200}),
    "shemo": (3000, 87, {"angry": 1059, "fear": 38, "neutral": 1028, "surprise": 225}),
    "esd": (35000, 20, {"angry": 7000, "surprise": 7000}),
    "savee": (480, 4, {"neutral": 120, "disgust": 60}),
    "tess": (2800, 2, {"surprise": 400, "fear": 400}),
    "emovo": (588, 6, {"disgust": 84, "surprise": 84}),
    "turevdb": (1735, 6, {"angry": 487, "calm": 408, "happy": 357, "sad": 483}),
    "cremad": (7442, 91, {"neutral": 1087, "fear": 1271, "disgust": 1271}),
}


@pytest.mark.parametrize("name", COUNTS)
def test_official_counts(name):
    expected, speakers, emotions = COUNTS[name]
    corpus = CORPORA[name]
    assert (corpus.clips, corpus.speakers) == (expected, speakers)
    assert emotions.items() <= corpus.emotion_counts.items()


def test_casia_is_found_complete_in_its_folders(tmp_path):
    for speaker in ("liuchanhg", "wangzhe", "zhaoquanyin", "ZhaoZuoxiang"):
        for emotion in ("angry", "fear", "happy", "neutral", "sad", "surprise"):
            folder = tmp_path / "CASIA" / speaker / emotion
            clips(folder, *(f"{number}.wav" for number in range(201, 251)))
    row = next(row for row in status(tmp_path) if row.name == "casia")
    assert (row.clips, row.speakers, row.complete, row.missing) == (1200, 4, True, "")
    assert row.emotions == row.expected_emotions
    folds = dict(splits.folds(find(tmp_path, "casia"), by="speaker"))
    assert [len(split.test) for split in folds.values()] == [300] * 4


def test_iemocap_reads_the_label_files_beside_its_clips(tmp_path):
    base, dialogue = tmp_path / "IEMOCAP_full_release/Session1", "Ses01F_impro01"
    labels = ("ang", "hap", "exc", "neu", "sad", "fru", "xxx")
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    for number, label in enumerate(labels):
        stem = f"{dialogue}_M00{number}"
        lines.append(f"[6.2901 - 8.2357]\t{stem}\t{label}\t[2.5000, 2.5000, 2.5000]")
        lines += ["C-E2:\tNeutral;\t()", "A-E3:\tval 3; act 2; dom  2;\t()", ""]
        clips(base, f"sentences/wav/{dialogue}/{stem}.wav")
    folder = base / "dialog/EmoEvaluation"
    (folder / "Categorical").mkdir(parents=True)
    (folder / f"{dialogue}.txt").write_text("\n".join(lines), encoding="utf-8")
    (folder / f"._{dialogue}.txt").write_bytes(b"\xff\x00junk")
    (folder / "Categorical" / f"{dialogue}_e2_cat.txt").write_text(f"{dialogue}_M000 :Sad; ()\n")
    clips(base, f"sentences/wav/{dialogue}/{dialogue}_M999.wav")  # no label
    clips(base, f"dialog/wav/{dialogue}.wav")  # the whole dialogue
    found = find(tmp_path, "iemocap")
    assert [(clip.path.stem[-4:], clip.emotion, clip.native_label) for clip in found] == [
        ("M000", "angry", "anger"),
        ("M001", "happy", "happiness"),
        ("M002", "happy", "excited"),
        ("M003", "neutral", "neutral"),
        ("M004", "sad", "sadness"),
    ]
    assert {(clip.speaker, clip.gender, clip.fold) for clip in found} == {("SES01M", "m", "1")}


HEADER = "FileName,EmoClass,EmoAct,SpkrID,Gender,Split_Set"
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
    lines = [HEADER, *(f"MSP-PODCAST_{stem}.wav,{said}" for stem, said in PODCAST.items())]
    (root / "Labels").mkdir(parents=True)
    (root / "Labels" / "labels_consensus.csv").write_text("\n".join(lines) + "\n")
    return clips(root, *(f"Audios/MSP-PODCAST_{stem}.wav" for stem in PODCAST))


def test_msp_podcast_reads_its_labels_speakers_and_parts(tmp_path):
    missing = msp_podcast(tmp_path / "MSP-Podcast") / "Audios/MSP-PODCAST_0002_0001.wav"
    missing.unlink()
    found = {clip.path.stem[12:]: clip for clip in find(tmp_path, "msppodcast")}
    assert {
        stem: (clip.speaker, clip.emotion, clip.gender, clip.fold) for stem, clip in found.items()
    } == {
        "0001_0008": ("127", "angry", "f", "Train"),
        "0001_0019_0001": ("127", "happy", "f", "Train"),
        "0003_0001": ("98", "surprise", "m", "Development"),
        "0004_0001": ("7", "sad", "m", "Test1"),
    }
    folds = dict(splits.folds(list(found.values()), by="fold"))
    assert Counter({name: len(split.test) for name, split in folds.items()}) == {
        "msppodcast/Development": 1,
        "msppodcast/Test1": 1,
        "msppodcast/Train": 2,
    }
    row = next(row for row in status(tmp_path) if row.name == "msppodcast")
    assert (row.clips, row.expected_clips, row.speakers, row.expected_speakers) == (4, 5, 3, 3)
    assert row.expected_emotions["neutral"] == 1 and not row.complete
    missing.write_bytes(TONE)
    row = next(row for row in status(tmp_path) if row.name == "msppodcast")
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
    clips(tmp_path / "ESD", *(f"0011/Angry/{part}/{stem}.wav" for part, stem in parts.items()))
    clips(tmp_path / "ESD", "0001/Happy/0001_000701.wav")
    found = find(tmp_path, "esd")
    assert len(dict(splits.folds(found, by="speaker"))) == 2
    with pytest.raises(SerdemoError, match="speaker esd/0011 stands in both"):
        list(splits.folds([clip for clip in found if clip.fold], by="fold"))


# options after a corpus


def shemo(root: Path) -> Path:
    return clips(root / "shemo", "F01A01.wav", "F01F01.wav", "M01N01.wav", "F21N05.wav")


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
        ("shemo?audio=sound", UsageError, "audio is for a corpus as hf:ID only"),
        ("shemo?labels=away.json", UsageError, r"no file 'away\.json' of labels"),
        ("shemo?labels=list.json", SerdemoError, "holds no labels"),
        ("shemo?labels=odd.csv", SerdemoError, "'hungry' is no emotion we know"),
        ("shemo?labels=others.csv", SerdemoError, "names no clip of this corpus"),
        ("shemo?labels=bare.csv", SerdemoError, "holds no labels"),
        ("shemo?drop=fear+angry+neutral", UsageError, "no clip is left"),
    ],
)
def test_wrong_options_end_in_one_sentence(tmp_path, spec, error, words):
    folder = shemo(tmp_path)
    (folder / "list.json").write_text("[1, 2]")
    (folder / "odd.csv").write_text("path,emotion\nF01A01.wav,hungry\n")
    (folder / "others.csv").write_text("path,emotion\nx.wav,sad\n")
    (folder / "bare.csv").write_text("file,label\nF01A01.wav,sad\n")
    with pytest.raises(error, match=words) as raised:
        load(spec, tmp_path)
    assert "\n" not in str(raised.value)
