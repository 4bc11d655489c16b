"""Lists of recordings: what they name, by what."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from serdemo.audio.waveform import RemoteFile
from serdemo.data.recording_list import named_recordings, read_list
from serdemo.schema.errors import SerdemoError


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".tsv", ".parquet", ".jsonl"])
def test_a_list_names_recordings(tmp_path: Path, suffix: str) -> None:
    path, names = tmp_path / f"list{suffix}", ["x/a.wav", "b, c.wav", "Zoë.mp4"]
    if suffix == ".txt":
        path.write_bytes('\ufeffx/a.wav\r\n\r\n"b, c.wav"\r\nZoë.mp4'.encode())
    elif suffix == ".parquet":
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.table({"n": [1, 2, 3], "path": names}), path)
    elif suffix == ".jsonl":
        path.write_text("\n".join(json.dumps({"n": 1, "file": name}) for name in names))
    else:
        mark = "\t" if suffix == ".tsv" else ","
        with path.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, delimiter=mark).writerows([["n", "File"], *((1, n) for n in names)])
    assert list(read_list(path).files) == names


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "x,y\n1,2\n", "no column path or file"),
        ("a.txt", "\n\n", "names no recording"),
        ("a.jsonl", '{"path": 3}\n', "line 1: the path is no text"),
        ("a.jsonl", "{", "line 1: not a JSON object"),
        ("a.parquet", "x", "is no Parquet table"),
        ("a.WAV", "x", "is a recording and no list: name it without --list"),
    ],
)
def test_a_list_that_names_none_is_refused(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(SerdemoError, match=words):
        read_list(tmp_path / name)


def test_columns_of_a_list_go_with_its_recordings(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("Path,Speaker,emotion,note\na.wav,7,angry,x\n,8,sad,y\nb.wav,9,,z\n")
    listed = read_list(path)
    assert listed.files == ["a.wav", "b.wav"]
    assert listed.text == {"speaker": ["7", "9"], "emotion": ["angry", ""]}
    digest = listed.digest
    path.write_text("Path,Speaker,emotion,note\na.wav,7,angry,q\nb.wav,9,,z\n")
    assert read_list(path).digest == digest
    path.write_text("Path,Speaker,emotion,note\na.wav,7,angry,q\nb.wav,9,sad,z\n")
    assert read_list(path).digest != digest


def test_an_address_is_fetched_and_a_drive_is_a_path(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("s3://bucket/a b.wav\nC:\\clips\\c.wav\nd/e.wav\n")
    sources = [source for _, source in named_recordings([], path)]
    assert sources[0] == RemoteFile("s3://bucket/a b.wav")
    assert isinstance(sources[1], Path)
    assert sources[2] == tmp_path / "d/e.wav"
