"""Tables of clips as programs and people write them: columns, encodings, paths, labels, repeats."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from support.corpora import touch

from serdemo.data.corpora import csv_table, load
from serdemo.data.corpora.spec import split_spec, with_options
from serdemo.data.corpora.table_columns import parse_columns
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Utterance

HEADER = "path,speaker,emotion\n"

BAD_TABLES = {
    "empty": (b"", "t.csv is empty"),
    "blank": (b"\n \n", "t.csv is empty"),
    "header only": (HEADER.encode(), "lists no clips"),
    "no emotion": (b"path,speaker\na.wav,1\n", "no column emotion.* it has|has path, speaker"),
    "no header": (b"a.wav,1,angry\n", "no column path and no column emotion"),
    "column twice": (
        b"path,speaker,emotion,emotion\na.wav,1,sad,sad\n",
        "the column emotion twice",
    ),
    "two labels": (b"path,label,class\na.wav,sad,x\n", "label and class could each be the emotion"),
    "unknown emotion": (
        (HEADER + "a.wav,1,angry\nb.wav,1,hungry\n").encode(),
        "line 3: 'hungry' is no emotion we know; map it by --label-map",
    ),
    "numbers": ((HEADER + "a.wav,1,0\n").encode(), "line 2: '0' is .* but a number; map it by"),
    "only others": ((HEADER + "a.wav,1,other\n").encode(), "no clip with an emotion of ours"),
    "empty path": ((HEADER + ",1,sad\n").encode(), "line 2: the path is empty"),
    "no file": ((HEADER + "c.wav,1,angry\n").encode(), "line 2: there is no file 'c.wav'"),
    "a folder": ((HEADER + "sub,1,angry\n").encode(), "line 2: there is no file 'sub'"),
    "long path": ((HEADER + "c" * 5000 + ",1,angry\n").encode(), "line 2: there is no file 'ccc"),
    "other speaker": (
        (HEADER + "a.wav,1,sad\n\nsub/../a.wav,2,sad\n").encode(),
        "line 4: 'a.wav' was already given in line 2, and the speakers differ",
    ),
    "other label": (
        (HEADER + 'a.wav,1,sad\n"./a.wav",1,angry\n').encode(),
        r"line 3: .* in line 2, and the labels differ \(sad, angry\)",
    ),
    "a label and none": ((HEADER + "a.wav,1,sad\na.wav,1,\n").encode(), "labels differ"),
    "NUL bytes": ((HEADER + "a.wav,1\0,sad\n").encode(), "holds NUL bytes"),
    "cut UTF-16": ("\ufeff".encode("utf-16-le") + b"a", "is no text in utf-16"),
    "a workbook": (b"PK\3\4\0\0", "is a workbook or zip"),
    "huge field": ((HEADER + "a.wav," + "1" * 20_000 + ",sad\n").encode(), "longer than 10000"),
    "monstrous field": ((HEADER + "a.wav," + "1" * 200_000 + ",sad\n").encode(), "not valid CSV"),
    "open quote": ((HEADER + 'b.wav,1,sad\na.wav,"1,sad\n').encode(), "line 3: not valid CSV"),
    "too many fields": (
        (HEADER + "a.wav,1,sad,more\n").encode(),
        "line 2: 4 fields where .* has 3",
    ),
    "too few fields": ((HEADER + "a.wav,1\n").encode(), "line 2: 2 fields where .* has 3"),
    "no duration": (b"path,speaker,emotion,duration_s\na.wav,1,sad,long\n", "no number of seconds"),
    "negative duration": (b"path,speaker,emotion,duration_s\na.wav,1,sad,-1\n", "no number of sec"),
    "nan duration": (
        b"path,speaker,emotion,duration_s\na.wav,1,sad,1e999\n",
        "no number of seconds",
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three clips, and one above it."""
    touch(tmp_path, "above.wav")
    return touch(tmp_path / "set", "a.wav", "b.wav", "sub/d.wav")


def read(path: Path, content: str | bytes, **options: object) -> tuple[list[Utterance], list[str]]:
    """The clips and notes of a table of this content."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    notes: list[str] = []
    return csv_table.read(path, note=notes.append, **options), notes


@pytest.mark.parametrize(("content", "words"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_bad_tables_end_in_one_sentence(folder: Path, content: bytes, words: str) -> None:
    (folder / "t.csv").write_bytes(content)
    with pytest.raises(SerdemoError, match=words) as raised:
        csv_table.read(folder / "t.csv")
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400


def test_a_missing_table_is_told() -> None:
    with pytest.raises(SerdemoError, match="cannot be read"):
        csv_table.read(Path("nowhere.csv"))


def test_a_good_table_with_all_its_columns(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "sub/ü b.wav")
    content = (
        "\ufeffEmotion, Path ,speaker,corpus,language,gender,duration_s,fold,comment\r\n"
        'Trauer,a.wav,Anna,,de,Female,2.5,s1,"said ""so"", twice"\r\n'
        "\r\n"
        "joy,sub\\ü b.wav,Actor_7,ravdess,en,m,,,\r\n"
    )
    (first, second), notes = read(tmp_path / "My Set.csv", content)
    assert first == Utterance(
        *(tmp_path / "a.wav", "my set", "Anna", "sad", "Trauer"),
        *("de", "f", 2.5, "s1"),
    )
    assert second.path == tmp_path / "sub" / "ü b.wav"
    assert (second.speaker, second.emotion, second.duration_s) == ("Actor_7", "happy", None)
    assert notes == []
    assert [clip.speaker_key for clip in load("My Set.csv", tmp_path)][1] == "ravdess/07"


@pytest.mark.parametrize(
    "content",
    [
        "path;speaker;emotion\na.wav;007;Ärger\n",
        "path\tspeaker\temotion\na.wav\t007\tÄrger\n",
        "sep=;\r\npath;speaker;emotion\r\na.wav;007;Ärger\r\n",
        '"sep=|"\npath|speaker|emotion\na.wav|007|Ärger\n',
        "\ufeffpath,speaker,emotion\na.wav,007,Ärger\n",
        "# my voices, of 2024\n\npath,speaker,emotion\n# anna\na.wav,007,Ärger\n#,\n",
        "path,speaker,emotion,,\na.wav,007,Ärger,,\n,,,,\n",
        "path,speaker,emotion,comment\na.wav,007,Ärger\n",  # as Excel writes late rows
        'path,speaker,emotion,comment\na.wav,007,Ärger,"two\nlines"\n',
        "path,speaker,emotion\ra.wav,007,Ärger\r",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32", "utf-16-be", "cp1252"])
def test_forms_of_text_are_read_alike(folder: Path, content: str, encoding: str) -> None:
    bom = "\ufeff" if encoding == "utf-16-be" else ""
    content = content.removeprefix("\ufeff") if encoding != "utf-8" else content
    (clip,), notes = read(folder / "t.csv", (bom + content).encode(encoding))
    assert (clip.path, clip.speaker, clip.emotion) == (folder / "a.wav", "007", "angry")
    assert len(notes) == (encoding == "cp1252")
    assert all("read in Windows code page 1252" in note for note in notes)


def test_another_encoding_is_read_where_it_is_named(folder: Path) -> None:
    (folder / "t.csv").write_bytes((HEADER + "a.wav,Анна,гнев\n").encode("cp1251"))
    with pytest.raises(SerdemoError, match="line 2: 'ãíåâ' is no emotion"):
        load(str(folder / "t.csv"))
    (clip,) = load(f"{folder / 't.csv'}?encoding=cp1251")
    assert (clip.native_label, clip.emotion) == ("гнев", "angry")
    for encoding, words in (("nosuch", "no encoding 'nosuch'"), ("ascii", "no text in ascii")):
        with pytest.raises(SerdemoError, match=words):
            load(f"{folder / 't.csv'}?encoding={encoding}")


@pytest.mark.parametrize(
    ("header", "note"),
    [
        ("filename,label,client_id", "filename is read as the path, label is read as the emotion"),
        ("File Name,Emotions,Actor ID", "File Name is read as the path"),
        ("wav,class,spk", "spk is read as the speaker"),
        ("path,emotion,speaker,label,file", ""),
    ],
)
def test_usual_names_of_columns_are_read_with_a_word(folder: Path, header: str, note: str) -> None:
    row = ",".join(["a.wav", "sad", "007", "x", "y"][: header.count(",") + 1])
    (clip,), notes = read(folder / "t.csv", f"{header}\n{row}\n")
    assert (clip.path, clip.speaker, clip.emotion) == (folder / "a.wav", "007", "sad")
    assert [note in sentence for sentence in notes] == ([True] if note else [])


def test_a_table_without_speakers_and_one_with_some(folder: Path) -> None:
    (clip,), notes = read(folder / "t.csv", "path,emotion\na.wav,sad\n")
    assert clip.speaker == "unknown" and notes == ["t.csv has no column speaker."]
    clips, notes = read(folder / "t.csv", HEADER + "a.wav,,sad\nb.wav,01,sad\n")
    assert [clip.speaker for clip in clips] == ["unknown", "01"] and notes == []


def test_labels_in_any_form_and_those_of_no_emotion_of_ours(folder: Path) -> None:
    touch(folder, *(f"{n}.wav" for n in range(9)))
    labels = ["ANG", "fearful", "ps", "Excited", "other", "Frustrated", "frustrated", "", "nan"]
    rows = "".join(f"{n}.wav,1,{label}\n" for n, label in enumerate(labels))
    clips, notes = read(folder / "t.csv", HEADER + rows)
    assert [clip.emotion for clip in clips] == ["angry", "fear", "surprise", "happy", "", ""]
    assert notes == [
        "t.csv: 3 clips left out, as the label is none of our emotions: 'other' (1),"
        " 'Frustrated' (1), 'frustrated' (1).",
        "t.csv: 2 rows without an emotion, first in line 9.",
    ]
    with pytest.raises(SerdemoError, match=r"t\.csv, line 9: the emotion is empty"):
        csv_table.read(folder / "t.csv", unlabelled=False)
    rows = "a.wav,1,unknown\nb.wav,1,sad\n"
    with pytest.raises(SerdemoError, match="line 2: 'unknown' is no emotion; fill it in"):
        read(folder / "t.csv", HEADER + rows, unlabelled=False)
    options = split_spec("t.csv?drop=unknown+fear")[1]
    (clip,), _ = read(folder / "t.csv", HEADER + rows, unlabelled=False, options=options)
    assert clip.path.name == "b.wav"


def test_a_clip_that_is_given_twice_alike_counts_once(folder: Path) -> None:
    rows = f"a.wav,1,sad\nb.wav,1,fear\nsub/../a.wav,1,Sadness\n{folder / 'a.wav'},1,SAD\n"
    clips, notes = read(folder / "t.csv", HEADER + rows)
    assert [clip.path.name for clip in clips] == ["a.wav", "b.wav"]
    assert notes == ["t.csv: 2 rows of a clip that was given before count once, first in line 4."]


OUTWARD = ["../above.wav", "sub/../../above.wav", "..\\above.wav", "{}/above.wav", "C:\\a.wav"]


@pytest.mark.parametrize("path", OUTWARD)
def test_paths_that_lead_out_are_read_unless_a_stranger_wrote_them(folder: Path, path: str) -> None:
    content = HEADER + f"b.wav,1,sad\n{path.format(folder.parent)},1,sad\n"
    clips, _ = read(folder / "t.csv", content)
    name = "a.wav" if path.startswith("C:") else "above.wav"
    assert [clip.path.name for clip in clips] == ["b.wav", name]
    assert clips[1].path.samefile(folder / name if name == "a.wav" else folder.parent / name)
    with pytest.raises(SerdemoError, match=r"line 3: .* leads out of the table's folder"):
        csv_table.read(folder / "t.csv", confined=True)
    with pytest.raises(SerdemoError, match=r"line 3: .* leads out of the table's folder"):
        csv_table.read(folder / "t.csv", confined=True, root=folder.parent)


def test_paths_are_relative_to_the_table_then_to_the_root(folder: Path) -> None:
    content = HEADER + "a.wav,1,sad\nabove.wav,1,sad\n"
    clips, _ = read(folder / "t.csv", content, root=folder.parent)
    assert [clip.path for clip in clips] == [folder / "a.wav", folder.parent / "above.wav"]
    with pytest.raises(SerdemoError, match=r"line 3: there is no file 'above\.wav' in"):
        csv_table.read(folder / "t.csv")


def test_a_table_of_another_computer_is_read_by_the_ends_of_its_paths(folder: Path) -> None:
    rows = ["D:\\my voices\\set\\sub\\d.wav,1,sad", "D:/my voices/set/a.wav,1,sad"]
    clips, notes = read(folder / "t.csv", HEADER + "\n".join(rows))
    assert [clip.path for clip in clips] == [folder / "sub" / "d.wav", folder / "a.wav"]
    assert len(notes) == 1 and "another place ('my voices/set')" in notes[0]
    # two folders there may hold equal names: only one of them is taken for the folder here
    rows = ["/home/me/anna/a.wav,anna,sad", "/home/me/ben/b.wav,ben,sad"]
    with pytest.raises(SerdemoError, match=r"line 3: there is no file '/home/me/ben/b\.wav'"):
        read(folder / "t.csv", HEADER + "\n".join(rows))


def test_names_of_files_without_their_suffix_are_found(folder: Path) -> None:
    clips, _ = read(folder / "t.csv", HEADER + "a,1,sad\nsub\\d,1,sad\n")
    assert [clip.path for clip in clips] == [folder / "a.wav", folder / "sub" / "d.wav"]
    touch(folder, "a.flac")  # which of the two is meant is not known
    with pytest.raises(SerdemoError, match="line 2: there is no file 'a'"):
        csv_table.read(folder / "t.csv")


def test_names_of_files_composed_or_not_are_found(tmp_path: Path) -> None:
    touch(tmp_path, "Zoe\u0308.wav")
    (clip,), _ = read(tmp_path / "t.csv", HEADER + "Zo\u00eb.wav,1,sad\n")
    assert clip.path.name == "Zoe\u0308.wav"


def test_a_label_map_and_columns_are_options_of_a_table(folder: Path) -> None:
    (folder / "t.csv").write_text("name,y,who\na.wav,0,1\nb.wav,1,2\nsub/d.wav,2,2\n")
    (folder / "map.json").write_text('{"0": "anger", "1": "boredom", "2": null}')
    given = parse_columns("path=name, emotion=y,speaker=who") | {"label_map": f"{folder}/map.json"}
    clips = load(with_options(f"{folder / 't.csv'}", given))
    assert [(clip.path.name, clip.speaker, clip.emotion) for clip in clips] == [
        ("a.wav", "1", "angry"),
        ("b.wav", "2", "boredom"),
    ]
    # the map is also found beside the data, and drop leaves out what no map names
    spec = f"{folder / 't.csv'}?path=name&emotion=y&speaker=&drop=2&label_map=map.csv"
    (folder / "map.csv").write_text("label,emotion\n0,sad\n1,fear\n")
    assert [clip.speaker for clip in load(spec, folder)] == ["unknown", "unknown"]


def test_options_for_tables_go_to_tables_alone() -> None:
    specs = "emodb, own,t.csv?drop=fear,hf:some/set?emotion=label,t.parquet?path=x"
    given = parse_columns("path=file name,emotion=y") | {"label_map": "my, map.csv"}
    full = with_options(specs, given).split(",")
    assert full[0] == "emodb"
    assert full[1] == "own?label_map=my%2C%20map.csv"
    assert split_spec(full[2])[1].columns["audio"] == "file name"
    assert split_spec(full[2])[1].label_map == "my, map.csv"
    assert split_spec(full[3])[1].emotion == "label"
    assert split_spec(full[4])[1].columns["audio"] == "x"
    assert with_options(specs, {}) == specs.replace(", ", ",")


@pytest.mark.parametrize("columns", ["path", "colour=x", "path=a,audio=b"])
def test_a_wrong_choice_of_columns_is_refused(columns: str) -> None:
    with pytest.raises(UsageError, match="is no choice of a column"):
        parse_columns(columns)


@pytest.mark.parametrize("name", ["t.jsonl", "t.json"])
def test_json_is_read_as_a_table(folder: Path, name: str) -> None:
    rows = [
        {"audio": "a.wav", "label": "Angry", "speaker": 7, "duration_s": 1.5},
        {"audio": "b.wav", "label": "other", "speaker": None, "more": [1]},
        {"audio": "sub/d.wav", "label": None, "speaker": 8.0},
    ]
    lines = "\n".join(json.dumps(row) for row in rows)
    clips, notes = read(folder / name, lines if name == "t.jsonl" else json.dumps(rows))
    assert [(clip.path.name, clip.speaker, clip.emotion) for clip in clips] == [
        ("a.wav", "7", "angry"),
        ("d.wav", "8", ""),
    ]
    assert len(notes) == 3 and "'other' (1)" in notes[1] and clips[0].duration_s == 1.5


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "t.jsonl",
            b'{"path": "a.wav", "emotion": "sad"}\n{',
            "line 2: not a JSON object on a line",
        ),
        ("t.jsonl", b"1", "line 1: not a JSON object"),
        ("t.json", b"[1]", "entry 1: not a JSON object"),
        ("t.json", b"[", "no valid JSON"),
        ("t.json", b"", "is empty"),
        ("t.json", b"[" * 100_000, "no valid JSON"),
        ("t.jsonl", b'{"path": "\\ud800", "emotion": "sad"}', "there is no file"),
        ("t.parquet", b"PAR1", "is no Parquet table, or is damaged"),
        ("t.parquet", b"", "is no Parquet table, or is damaged"),
    ],
)
def test_bad_records_end_in_one_sentence(folder: Path, name: str, content: bytes, words) -> None:
    with pytest.raises(SerdemoError, match=words) as raised:
        read(folder / name, content)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400


def test_parquet_is_read_with_its_sound_its_classes_and_any_type_of_text(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    sound = io.BytesIO()
    soundfile.write(sound, np.zeros(1600), 16_000, format="FLAC")
    info = {"info": {"features": {"label": {"names": ["neu", "ANG"], "_type": "ClassLabel"}}}}
    columns = {
        "audio": pa.array([{"bytes": sound.getvalue(), "path": "x.flac"}, {"path": "a.wav"}]),
        "label": pa.array([1, 0]),
        "speaker_id": pa.array([7.0, None]),
        "gender": pa.array(["Female", None], pa.string_view()),
        "language": pa.array(["de", "de"]).dictionary_encode(),
    }
    metadata = {"huggingface": json.dumps(info)}
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), folder / "t.parquet")
    first, second = csv_table.read(folder / "t.parquet")
    assert first.path.read_bytes() == sound.getvalue() and first.path.suffix == ".flac"
    assert (first.emotion, first.speaker, first.gender, first.language) == ("angry", "7", "f", "de")
    assert second.path == folder / "a.wav"
    assert (second.emotion, second.speaker, second.gender) == ("neutral", "unknown", "")
    monkeypatch.setattr("serdemo.data.corpora.embedded_sound.MAX_BYTES", 10)
    with pytest.raises(SerdemoError, match="take a part of it"):
        csv_table.read(folder / "t.parquet")


@pytest.mark.parametrize(
    ("name", "value", "n_rows"),
    [
        ("audio", {"bytes": b"\0" * 30_000_000, "path": "a.wav"}, 1),
        ("gender", "f" * 1_000_000, 50),  # stored once
        ("gender", [0] * 200_000, 40),  # as one number, repeated
    ],
    ids=["bytes", "text", "values"],
)
def test_a_strangers_parquet_that_unpacks_to_too_much_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: Any, n_rows: int
) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    sound = {"bytes": b"RIFF", "path": "a.wav"}
    usual = {"audio": sound, "speaker": "7", "gender": "f", "emotion": "sad"}
    path = folder / "t.parquet"

    def write(**special: Any) -> None:
        row = usual | special
        pq.write_table(pa.Table.from_pylist([row] * n_rows), path, compression="zstd")

    write()
    assert len(csv_table.read(path, confined=True)) == 1  # they are all alike
    write(**{name: value})
    assert path.stat().st_size < 200_000
    with pytest.raises(SerdemoError, match="unpacks to far more than its size"):
        csv_table.read(path, confined=True)
    if name == "audio":
        assert csv_table.read(path)[0].path.stat().st_size == 30_000_000


FIELDS = st.text(st.sampled_from("ab.wvsd,;\t\"'#/\\\n\r é怒=|0\ufeff\ud800"), max_size=12)
WORDS = st.sampled_from(
    ["path", "emotion", "a.wav", "sad", "../above.wav", "sep=;", "nan", "C:\\a.wav", "{}", "[]"]
)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.lists(WORDS | FIELDS, max_size=4), max_size=5),
    st.sampled_from(",;\t|"),
    st.sampled_from(["utf-8", "utf-16", "cp1252"]),
    st.sampled_from(["csv", "json", "jsonl"]),
)
def test_whatever_a_table_holds_it_is_read_or_refused(rows, mark, encoding, suffix) -> None:
    text = "\n".join(mark.join(row) for row in rows)
    with tempfile.TemporaryDirectory() as folder:
        touch(Path(folder), "a.wav")
        path = Path(folder, f"t.{suffix}")
        path.write_bytes(text.encode(encoding, "replace"))
        sentence = ""
        try:
            clips = csv_table.read(path, confined=True)
        except SerdemoError as refusal:
            sentence = str(refusal)
        else:
            assert {clip.path for clip in clips} == {Path(folder, "a.wav")}
        assert "\n" not in sentence and len(sentence) < 500


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["csv", "json", "jsonl", "parquet"]))
def test_bytes_that_are_no_table_are_refused(content: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"t.{suffix}")
        path.write_bytes(content)
        with pytest.raises(SerdemoError) as refusal:
            csv_table.read(path)
        assert "\n" not in str(refusal.value)


def test_a_table_beyond_measure_is_refused_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, lines = tmp_path / "t.csv", tmp_path / "t.jsonl"
    table.write_text(HEADER + "a.wav,1,angry" + "," * 900_000 + "\n")  # empty fields cost nothing
    (tmp_path / "a.wav").touch()
    assert len(csv_table.read(table)) == 1
    table.write_text("path," * 300_000 + "\n")
    with pytest.raises(SerdemoError, match=r"line 1: longer than 1000000 characters"):
        csv_table.read(table)
    monkeypatch.setattr("serdemo.data.corpora.text_table.MAX_ROWS", 3)
    table.write_text(HEADER + "a.wav,1,angry\n" * 4)
    lines.write_text('{"path": "a.wav", "emotion": "angry"}\n' * 4)
    (tmp_path / "t.json").write_text("[{}, {}, {}, {}]")
    for path in (table, lines, tmp_path / "t.json"):
        with pytest.raises(SerdemoError, match="more than 3 rows"):
            csv_table.read(path)
