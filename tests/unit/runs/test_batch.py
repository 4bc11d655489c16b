"""Lists answered in parts: what is done is not done again, whoever did it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from support.command import here

from serdemo.data.recording_list import RecordingList
from serdemo.embeddings import table
from serdemo.inference.answers import Answer, files_table
from serdemo.inference.parquet_file import read_parts
from serdemo.inference.predictor import Embedder, Predictor
from serdemo.inference.recording_embeddings import embed_recordings
from serdemo.runs.batch.parts import Parts, Shard
from serdemo.schema.errors import UsageError

N_CLIPS, N_LISTED = 24, 23 * 4 + 8  # clips of the corpus; recordings of the list


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory, corpus_root: Path) -> Path:
    """A list of 100 recordings, of which one is no sound."""
    folder = tmp_path_factory.mktemp("list")
    (folder / "bad.wav").write_bytes(b"")
    clips = sorted(corpus_root.glob("*/*/*.wav"))
    assert len(clips) == N_CLIPS
    path = folder / "list.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        lines = csv.writer(stream)
        lines.writerow(["path", "speaker", "emotion"])
        for row in range(N_LISTED):
            clip = clips[row % N_CLIPS]
            name = "bad.wav" if row == 42 else str(clip)
            lines.writerow([name, clip.parts[-3], clip.parts[-2]])
    return path


def rows_in(out: Path, kind: str = "rows") -> dict[str, list[Any]]:
    """All parts, one after another."""
    return read_parts(out / kind)


def run(command: str, checkpoint: Path, listing: Path, out: Path, *flags: str) -> dict[str, Any]:
    """The totals of `predict` or `embed`."""
    model = [checkpoint] if command == "embed" else ["--checkpoint", checkpoint]
    common = ["--list", listing, "--out", out, "--device", "cpu", "--part-size", 8, "--json"]
    totals: dict[str, Any] = here(command, *model, *common, *flags).json()
    return totals


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path, listing: Path) -> Path:
    """The answers to the list, by one process."""
    out = tmp_path_factory.mktemp("whole") / "out"
    torch.set_num_threads(1)  # as in each test: sums of several threads are rounded otherwise
    totals = run("predict", tiny_checkpoint, listing, out)
    assert (totals["recordings"], totals["rows"], totals["errors"]) == (N_LISTED, N_LISTED - 1, 1)
    return out


def test_answers_are_those_of_each_recording(
    whole: Path, tiny_checkpoint: Path, listing: Path
) -> None:
    found = rows_in(whole)
    assert found["row"] == [row for row in range(N_LISTED) if row != 42]
    first = Predictor(tiny_checkpoint, device="cpu").predict(found["file"][0])
    (row,) = files_table([Answer(found["file"][0], first)]).rows
    assert found["label"][0] == row["label"]
    assert found["duration_s"][0] == pytest.approx(first.duration_s)
    for name, share in first.probabilities.items():
        assert found[name][0] == pytest.approx(share, abs=1e-5)
    errors = rows_in(whole, "errors")
    assert (errors["row"], errors["file"]) == ([42], ["bad.wav"])
    assert errors["error"][0].startswith("bad.wav ")


@pytest.mark.parametrize("count", [3, 7])
def test_shards_together_are_the_whole(
    whole: Path, tiny_checkpoint: Path, listing: Path, tmp_path: Path, count: int
) -> None:
    totals = [
        run("predict", tiny_checkpoint, listing, tmp_path, "--shard", f"{number}/{count}")
        for number in range(count, 0, -1)
    ]
    assert sum(total["recordings"] for total in totals) == N_LISTED
    assert rows_in(tmp_path) == rows_in(whole)
    assert rows_in(tmp_path, "errors") == rows_in(whole, "errors")


def test_a_second_start_does_what_is_left(
    whole: Path,
    tiny_checkpoint: Path,
    listing: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    predict_many = Predictor.predict_many

    def ends(self: Predictor, sources: Any, **sizes: int) -> Iterator[Any]:
        if len(list((tmp_path / "rows").iterdir())) == 5:
            raise KeyboardInterrupt
        return predict_many(self, sources, **sizes)

    monkeypatch.setattr(Predictor, "predict_many", ends)
    flags = ["--list", listing, "--out", tmp_path, "--device", "cpu", "--part-size", 8]
    first = here("predict", "--checkpoint", tiny_checkpoint, *flags)
    assert (first.code, first.err.strip()) == (130, "serdemo: Stopped.")
    monkeypatch.undo()
    done = {part: part.stat().st_mtime_ns for part in (tmp_path / "rows").iterdir()}
    assert len(done) == 5
    totals = run("predict", tiny_checkpoint, listing, tmp_path)
    assert (totals["done_before"], totals["rows"], totals["errors"]) == (40, 59, 1)
    assert all(part.stat().st_mtime_ns == when for part, when in done.items())
    assert rows_in(tmp_path) == rows_in(whole)
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".part")]
    third = here("predict", "--checkpoint", tiny_checkpoint, *flags)
    assert (third.code, third.out) == (0, "")
    assert f"{tmp_path}: 100 recordings done, 100 of them before." in third.err


def test_embeddings_and_what_the_list_says_of_each(
    tiny_checkpoint: Path, listing: Path, tmp_path: Path
) -> None:
    totals = run("embed", tiny_checkpoint, listing, tmp_path)
    assert (totals["rows"], totals["errors"]) == (N_LISTED - 1, 1)
    assert totals["sound_s"] > 50
    part = table.read(tmp_path / "rows" / "part-00000.parquet")
    assert part.text["emotion"][:3] == ("angry", "angry", "happy")
    assert part.about["checkpoint"] == "tiny"
    embedder = Embedder(tiny_checkpoint, device="cpu")
    expected = list(embed_recordings(embedder, part.text["clip"]))
    for row, one in enumerate(expected):
        assert np.allclose(part.embedding[row], one.embedding, atol=1e-5)  # type: ignore[union-attr]
        assert np.allclose(part.probabilities[row], one.probabilities, atol=1e-5)  # type: ignore[union-attr]
    assert [part.labels[at] for at in part.probabilities.argmax(1)] == list(part.text["prediction"])


def test_addresses_are_fetched(
    whole: Path, tiny_checkpoint: Path, listing: Path, tmp_path: Path
) -> None:
    files = fsspec.filesystem("memory")
    names = rows_in(whole)["file"][:2]
    for number, name in enumerate(names):
        files.pipe(f"/store/{number}.wav", Path(name).read_bytes())
    own = tmp_path / "list.jsonl"
    places = [
        "memory://store/0.wav",
        "memory://store/1.wav",
        "memory://store/2.wav",
        "odd://x/y.wav",
    ]
    own.write_text("\n".join(json.dumps({"path": place}) for place in places))
    totals = run("predict", tiny_checkpoint, own, tmp_path / "out")
    assert (totals["rows"], totals["errors"]) == (2, 2)
    found, expected = rows_in(tmp_path / "out"), rows_in(whole)
    assert found["file"] == places[:2]
    assert found["label"] == expected["label"][:2]
    missing, unknown = rows_in(tmp_path / "out", "errors")["error"]
    assert missing == "There is no file memory://store/2.wav."
    assert unknown.startswith("odd://x/y.wav cannot be read: ")
    ran = here("predict", "--checkpoint", tiny_checkpoint, "--list", own, "--format", "csv")
    assert ran.code == 1  # as for any recording that cannot be read
    assert ran.out.count("memory://store") == 4  # twice in the line of the one that is missing


def test_another_job_is_refused(
    whole: Path, tiny_checkpoint: Path, listing: Path, tmp_path: Path
) -> None:
    other = tmp_path / "list.csv"
    other.write_text(listing.read_text(encoding="utf-8").replace("bad.wav", "worse.wav"))
    common = ["--out", whole, "--device", "cpu"]
    before = rows_in(whole)
    for flags, words in (
        (["predict", "--list", other, "--part-size", 8], "another list"),
        (["predict", "--list", listing, "--part-size", 9], "another --part-size"),
    ):
        ran = here(*flags, "--checkpoint", tiny_checkpoint, *common)
        assert (ran.code, ran.err.count("\n")) == (2, 1)
        assert words in ran.err
    ran = here("embed", tiny_checkpoint, "--list", listing, "--part-size", 8, *common)
    assert "another model or command" in ran.err
    assert rows_in(whole) == before


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--shard", "0/3"], "0/3 is no shard: give K/N"),
        (["--shard", "4/3"], "4/3 is no shard"),
        (["--shard", "one"], "one is no shard"),
        (["--workers", "2"], "--address and --workers are for --engine ray."),
        (["--same-speaker"], "Parts hold a row for each recording"),
    ],
)
def test_flags_that_make_no_sense(
    listing: Path, tiny_checkpoint: Path, tmp_path: Path, flags: list[str], words: str
) -> None:
    common = ["predict", "--list", listing, "--checkpoint", tiny_checkpoint]
    ran = here(*common, "--out", tmp_path / "out", *flags)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert words in ran.err


def test_parts_are_for_a_folder(listing: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    common = ["--list", listing, "--shard", "1/2", "--out", tmp_path / "out.csv"]
    ran = here("predict", "--checkpoint", tiny_checkpoint, *common)
    assert ran.err == "serdemo: --shard is for an --out that is a folder of parts.\n"
    assert "must name a folder" in here("embed", tiny_checkpoint, *common).err
    assert "one of them" in here("embed", tiny_checkpoint, "--out", tmp_path).err


def test_each_part_is_in_one_shard() -> None:
    parts = Parts(RecordingList(Path(), [str(n) for n in range(23)], {}), 5)
    shares = [parts.numbers(Shard(number, 3)) for number in (1, 2, 3)]
    assert sorted(number for share in shares for number in share) == [0, 1, 2, 3, 4]
    assert [parts.n_recordings(share) for share in shares] == [10, 8, 5]
    assert len(parts.numbers(Shard(7, 7))) == 0  # more shards than parts
    with pytest.raises(UsageError):
        Shard.parse("1/0")
