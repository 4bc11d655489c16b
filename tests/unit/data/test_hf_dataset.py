"""Datasets of the Hugging Face library, saved to disk or as Parquet, and where clips are kept."""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serdemo.audio import waveform
from serdemo.data.corpora import embedded_sound, hf_dataset, load, load_many
from serdemo.data.corpora.spec import split_spec
from serdemo.evaluation.model_card import strip_local_paths
from serdemo.schema.errors import SerdemoError, UsageError

datasets = pytest.importorskip("datasets")


def tone(pitch: float, kind: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.sin(np.arange(1600) * pitch), 16_000, format=kind)
    return file.getvalue()


SOUNDS = [tone(0.1), tone(0.2, "FLAC"), tone(0.3), tone(0.4)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "arrow")
    return tmp_path / "cache" / "serdemo" / "clips"


def dataset():
    names = ["Anger", "happiness", "other"]
    features = datasets.Features(
        {
            "audio": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
            "label": datasets.ClassLabel(names=names),
            "emotion": datasets.Value("string"),
            "speaker_id": datasets.Value("int64"),
            "sex": datasets.Value("string"),
            "part": datasets.Value("string"),
        }
    )
    columns = {
        "audio": [
            {"bytes": sound, "path": name}
            for sound, name in zip(SOUNDS, ("a.wav", "b.flac", None, "../d.sh"), strict=True)
        ],
        "label": [0, 1, 1, 2],
        "emotion": ["sad", "fear", "sad", "sad"],
        "speaker_id": [7, 7, 8, 9],
        "sex": ["Female", "F", "male", ""],
        "part": ["one", "one", "two", "two"],
    }
    made = datasets.Dataset.from_dict(columns, features=features)
    return made.cast_column("audio", datasets.Audio(decode=False))


@pytest.fixture(params=["saved", "saved parts", "parquet"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "My-Set"
    if request.param == "saved":
        dataset().save_to_disk(folder)
    elif request.param == "saved parts":
        datasets.DatasetDict(train=dataset(), test=dataset().select([0])).save_to_disk(folder)
    else:
        folder.mkdir()
        dataset().to_parquet(folder / "train-00000.parquet")
    return folder


def test_columns_are_read_by_name_and_sound_as_it_is_stored(stored: Path, cache: Path) -> None:
    spec = f"hf:{stored}?emotion=label&speaker=speaker_id&gender=sex&fold=part&drop=other"
    clips = load(spec)
    assert [
        (clip.corpus, clip.speaker, clip.emotion, clip.native_label, clip.gender, clip.fold)
        for clip in clips
    ] == [
        ("my-set", "7", "angry", "Anger", "f", "one"),
        ("my-set", "7", "happy", "happiness", "f", "one"),
        ("my-set", "8", "happy", "happiness", "m", "two"),
    ]
    assert [clip.path.read_bytes() for clip in clips] == SOUNDS[:3]
    assert [clip.path.stem for clip in clips] == [hashlib.sha256(s).hexdigest() for s in SOUNDS[:3]]
    assert [clip.path.suffix for clip in clips] == [".wav", ".flac", ".wav"]
    assert all(clip.path.is_relative_to(cache) for clip in clips)
    assert all(len(waveform.decode(clip.path).samples) == 1600 for clip in clips)
    # what is there already is not written again
    times = [clip.path.stat().st_mtime_ns for clip in clips]
    assert [clip.path.stat().st_mtime_ns for clip in load(spec)] == times
    assert len([path for path in cache.rglob("*") if path.is_file()]) == 3


def test_words_for_emotions_and_no_speakers(tmp_path: Path) -> None:
    dataset().save_to_disk(tmp_path / "ravdess")
    clips = load(f"hf:{tmp_path / 'ravdess'}?speaker=")
    assert [clip.emotion for clip in clips] == ["sad", "fear", "sad", "sad"]
    assert {clip.speaker for clip in clips} == {"unknown"}
    assert clips[3].path.suffix == ".wav"  # never a suffix that no sound has
    # a known corpus has its own speaker ids
    named = load_many(f"hf:{tmp_path / 'ravdess'}?speaker=speaker_id")
    assert [clip.speaker_key for clip in named] == [
        "ravdess/07",
        "ravdess/07",
        "ravdess/08",
        "ravdess/09",
    ]


def test_sound_in_a_file_of_its_own_is_read_there(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "own.wav").write_bytes(SOUNDS[0])
    sounds = [{"bytes": None, "path": str(tmp_path / "own.wav")}] * 4
    folder = tmp_path / "set"
    datasets.Dataset.from_dict(
        {
            "sound": [sound["path"] for sound in sounds],
            "emotion": ["sad"] * 4,
            "speaker": list("aaaa"),
        }
    ).to_parquet(folder.with_suffix(".parquet"))
    folder.mkdir()
    folder.with_suffix(".parquet").rename(folder / "train.parquet")
    clips = load(f"hf:{folder}?audio=sound")
    assert [clip.path for clip in clips] == [tmp_path / "own.wav"]
    assert not cache.exists()
    (tmp_path / "own.wav").unlink()
    with pytest.raises(SerdemoError, match="row 0: there is no file"):
        load(f"hf:{folder}?audio=sound")


@pytest.mark.parametrize(
    ("query", "error", "words"),
    [
        (
            "emotion=label&speaker=who",
            UsageError,
            "no column 'who': name one by speaker=COLUMN; it has audi",
        ),
        ("emotion=part", SerdemoError, "row 0: 'one' is no emotion we know; map it by --label-map"),
        ("audio=label", SerdemoError, "holds no sound|cannot be"),
        ("speaker=speaker_id&split=nosuch", SerdemoError, "cannot be loaded"),
        ("speaker=speaker_id&drop=sad+fear", SerdemoError, "no clips"),
    ],
)
def test_wrong_columns_end_in_one_sentence(tmp_path: Path, query: str, error, words: str) -> None:
    datasets.DatasetDict(train=dataset()).save_to_disk(tmp_path / "set")
    with pytest.raises(error, match=words) as raised:
        load(f"hf:{tmp_path / 'set'}?{query}")
    assert "\n" not in str(raised.value)


def test_usual_names_missing_values_and_repeats_are_read_as_in_a_table(tmp_path: Path) -> None:
    made = dataset().remove_columns("emotion").select([0, 0, 1, 3])
    rows = made.to_list()
    rows[2] |= {"speaker_id": float("nan"), "label": None}
    sound = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    types = made.features | {"speaker_id": datasets.Value("float64"), "audio": sound}
    changed = datasets.Dataset.from_list(rows, features=datasets.Features(types))
    changed.cast_column("audio", datasets.Audio(decode=False)).save_to_disk(tmp_path / "set")
    notes: list[str] = []
    clips = hf_dataset.read(str(tmp_path / "set"), split_spec("")[1], note=notes.append)
    assert [(clip.speaker, clip.emotion) for clip in clips] == [("7", "angry"), ("unknown", "")]
    set_ = str(tmp_path / "set")
    assert [note.removeprefix(set_) for note in notes] == [
        ": label is read as the emotion, speaker_id is read as the speaker, sex is read as the"
        " gender.",
        ": 1 clip left out, as the label is none of our emotions: 'other' (1).",
        ": 1 row of a clip that was given before count once, first in row 1.",
        ": 1 row without an emotion, first in row 2.",
    ]


@pytest.mark.parametrize("name", ["", "./nowhere", "no/such/thing"])
def test_a_dataset_that_is_not_there_is_told(name: str) -> None:
    with pytest.raises(SerdemoError, match="cannot be loaded") as raised:
        load(f"hf:{name}")
    assert "\n" not in str(raised.value)


def test_without_the_library_one_sentence_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SerdemoError, match='pip install "datasets>=5,<6"'):
        load("hf:someone/something")


def test_the_cache_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset().save_to_disk(tmp_path / "set")
    monkeypatch.setattr(embedded_sound, "MAX_BYTES", len(SOUNDS[0]) + 1)
    with pytest.raises(SerdemoError, match="take a part of it"):
        load(f"hf:{tmp_path / 'set'}?speaker=speaker_id")


def test_a_card_keeps_ids_of_the_hub_and_no_folders() -> None:
    assert "hf:some/set?split=train" in strip_local_paths(
        "serdemo train x --corpus 'hf:some/set?split=train'"
    )
    assert "/home" not in strip_local_paths("serdemo train x --corpus hf:/home/me/set")
    given = "serdemo train x --corpus '/home/me/t.csv?drop=fear&label_map=/home/me/m.csv&audio=f'"
    assert "'t.csv?drop=fear&label_map=m.csv&audio=f'" in strip_local_paths(given)
