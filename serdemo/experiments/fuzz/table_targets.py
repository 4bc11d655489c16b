"""Targets that take clips and tables: zips, CSV, JSON, Parquet, and tables of embeddings."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from serdemo.data import corpora
from serdemo.data.corpora import csv_table
from serdemo.data.corpora.label_map import read_label_map
from serdemo.experiments.fuzz.sound_targets import sound
from serdemo.experiments.fuzz.target import Target, attempt, put
from serdemo.runs.queue import JobQueue
from serdemo.ui.explore.sources import read_upload
from serdemo.ui.finetune.new_run import receive_zip

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
ROWS = (("a.wav", "anna", "angry"), ("b.wav", "bert", "sad"))
CSV = "path,speaker,emotion\n" + "".join(",".join(row) + "\n" for row in ROWS)


class Clips(Target):
    """A zip of clips, unpacked and listed as Fine-tune does."""

    def seeds(self) -> list[bytes]:
        """Class folders and a table, by each method of compression; and names that lead out."""
        wav, other = sound(), sound(330.0)
        by_class = {"angry/anna_1.wav": wav, "sad/bert_1.wav": other}
        files = {"clips.csv": CSV.encode(), "a.wav": wav, "b.wav": other}
        outside = {"../a.wav": wav, "/tmp/b.wav": wav, "C:\\c.wav": wav, "angry/con.wav": wav}
        return [*(zipped(files, method) for method in METHODS), zipped(by_class), zipped(outside)]

    def read(self, data: bytes, folder: Path) -> None:
        """Unpack and list the clips."""
        archive = folder / "upload" / "clips.zip"
        archive.parent.mkdir()
        found = receive_zip(put(data, archive), JobQueue(folder / "runs"), None)
        corpora.load_many(str(found), confined=True, unlabelled=True)


class CsvTable(Target):
    """A table of clips as CSV, and the same as a label map."""

    def seeds(self) -> list[bytes]:
        """Separators, quotes, encodings, and a path that leads out."""
        texts = [
            CSV,
            CSV.replace(",", ";"),
            "sep=\t\n# note\n" + CSV.replace(",", "\t"),
            'file,label,duration_s\n"a.wav","Anger",1.5\n"b ""x"".wav",Trauer,"1,5"\n',
            "label,emotion\nang,angry\nhap,\n",
            "path,emotion\n../../etc/passwd,angry\n/etc/passwd,sad\n",
        ]
        return [
            *map(str.encode, texts),
            CSV.encode("utf-16"),
            CSV.replace("a", "ä").encode("cp1252"),
        ]

    def read(self, data: bytes, folder: Path) -> None:
        """Read the clips of the table, then the map."""
        _put_clips(folder)
        path = put(data, folder / "clips.csv")
        attempt(lambda: csv_table.read(path, confined=True))
        read_label_map(path)


class Records(Target):
    """A table of clips as JSON or JSON Lines, and the same as a label map."""

    def seeds(self) -> list[bytes]:
        """Lists, lines, objects, and nesting beyond the limit of Python."""
        rows = [dict(zip(("path", "speaker", "emotion"), row, strict=True)) for row in ROWS]
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        texts = [
            json.dumps(rows),
            lines,
            json.dumps({"ang": "angry", "hap": None}),
            "[" * 5000,
            '[{"a":' * 3000,
            '[{"path": 1e400, "emotion": NaN, "speaker": ' + "9" * 5000 + "}]",
            '[{"path": "\\ud800", "emotion": "sad"}]',
        ]
        return [text.encode() for text in texts]

    def read(self, data: bytes, folder: Path) -> None:
        """Read the clips of the table, then the map."""
        _put_clips(folder)
        suffix = ".json" if data[:1] == b"[" else ".jsonl"
        path = put(data, folder / f"clips{suffix}")
        attempt(lambda: csv_table.read(path, confined=True))
        read_label_map(put(data, folder / "map.json"))


class Parquet(Target):
    """A table of clips as Parquet, with paths or with the sound itself."""

    def seeds(self) -> list[bytes]:
        """Both kinds, with dictionaries and compression."""
        columns: dict[str, Any] = {
            name: [row[number] for row in ROWS]
            for number, name in enumerate(("path", "speaker", "emotion"))
        }
        sounds = [{"bytes": sound(hertz)[:300], "path": "a.wav"} for hertz in (220.0, 330.0)]
        stored = {"audio": sounds, "label": [0, 1]}
        features = {"label": {"names": ["angry", "sad"], "_type": "ClassLabel"}}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        tables = [pa.table(columns), pa.table(stored).replace_schema_metadata(metadata)]
        return [parquet(table, c) for table in tables for c in ("none", "zstd", "snappy", "gzip")]

    def read(self, data: bytes, folder: Path) -> None:
        """Read the clips of the table."""
        _put_clips(folder)
        csv_table.read(put(data, folder / "clips.parquet"), confined=True)


class Map(Target):
    """A table of embeddings that a visitor of Explore sends."""

    def seeds(self) -> list[bytes]:
        """Tables with lists, fixed lists and probabilities."""
        texts = {"speaker": ["anna", "bert", "anna"], "emotion": ["angry", "sad", "sad"]}
        rows = np.arange(12, dtype=np.float32).reshape(3, 4)
        fixed = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 4)
        plain = pa.table(texts | {"embedding": rows.tolist(), "p_sad": [0.1, 0.5, 1.0]})
        notes = {b"serdemo": b'{"seen": ["a/b"]}', b"serdemo_map": b'{"basis": "AAAA"}'}
        tables = [
            plain,
            pa.table(texts | {"embedding": fixed}),
            plain.replace_schema_metadata(notes),
        ]
        return [parquet(table, c) for table in tables for c in ("none", "zstd", "snappy")]

    def read(self, data: bytes, folder: Path) -> None:
        """Read it as the page does."""
        upload = folder / "upload"
        upload.mkdir()
        read_upload(put(data, upload / "sent"), "map.parquet")


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of files by name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def parquet(table: Any, compression: str) -> bytes:
    """A Parquet file of a table of pyarrow."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression=compression)
    return buffer.getvalue()


def _put_clips(folder: Path) -> None:
    """The files that the tables name, which are not opened."""
    for name, *_ in ROWS:
        (folder / name).touch()
