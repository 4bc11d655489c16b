"""A corpus in shards at an address: its clips, its training and its bounded cache are those of the files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from serdemo.audio import waveform
from serdemo.data import corpora, shards
from serdemo.data.corpora import shard_table
from serdemo.data.splits import by_speakers
from serdemo.nn import checkpoint
from serdemo.runs import training_run
from serdemo.runs.request import TrainingRequest
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Utterance

ADDRESS = "memory://bucket/simple"
SHARDS = 4


def table(clips: list[Utterance], **columns: list[Any]) -> pa.Table:
    sounds = [{"bytes": clip.path.read_bytes(), "path": clip.path.name} for clip in clips]
    speakers, emotions = [clip.speaker for clip in clips], [clip.emotion for clip in clips]
    return pa.table({"audio": sounds, "speaker": speakers, "emotion": emotions, **columns})


@pytest.fixture
def store(clips: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The simple corpus as shards in fsspec's memory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    files = fsspec.filesystem("memory")
    for number, part in enumerate(np.array_split(range(len(clips)), SHARDS)):
        with files.open(f"/bucket/simple/part-{number}.parquet", "wb") as file:
            pq.write_table(table([clips[i] for i in part]), file)
    yield files
    files.rm("/bucket", recursive=True)


def load(spec: str) -> list[Utterance]:
    return corpora.load_many(spec, remote=True)


def cached_gb() -> float:
    return sum(p.stat().st_size for p in shards.cache_folder().glob("*/*")) / 1e9


def test_clips_of_shards_are_those_of_the_files(store: Any, clips: list[Utterance]) -> None:
    found = load(f"{ADDRESS}/")
    for one, other in zip(found, clips, strict=True):
        assert (one.corpus, one.speaker_key, one.emotion) == (
            other.corpus,
            other.speaker_key,
            other.emotion,
        )
        assert one.path.stem == other.path.stem
    assert not shards.cache_folder().exists()  # no sound is fetched to list the clips
    for one, other in zip(found, clips, strict=True):
        there, here = shards.decode_clip(one), waveform.decode(other.path)
        assert np.array_equal(there.samples, here.samples)
        assert there.name == other.path.name
    assert by_speakers(found, valid=["cleo"], test=["dora"]).fingerprint == (
        by_speakers(clips, valid=["cleo"], test=["dora"]).fingerprint
    )
    assert len(load(f"{ADDRESS}/part-1.parquet?drop=angry")) < len(found) / SHARDS


def test_a_server_without_ranges_gives_its_shards_whole(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(store.open("/bucket/simple/part-0.parquet"))

    class WithoutEnd(kind):  # type: ignore[misc, valid-type]
        def seek(self, offset: int, whence: int = 0) -> int:
            if whence:
                raise ValueError("The HTTP server doesn't appear to support range requests.")
            return int(super().seek(offset))

    for number in range(SHARDS):
        store.store[f"/bucket/simple/part-{number}.parquet"].__class__ = WithoutEnd
    assert len(load(ADDRESS)) == 24


def test_the_cache_is_bounded_and_drops_what_was_used_longest_ago(store: Any) -> None:
    sizes = [file["size"] for file in store.ls("/bucket/simple", detail=True)]
    limit = 2.2 * max(sizes) / 1e9  # two shards
    found = load(f"{ADDRESS}?cache_gb={limit:.9f}")
    firsts = found[:: len(found) // SHARDS]
    names = []
    for clip in (firsts[0], firsts[1], firsts[0], firsts[2]):
        names.append(shards.sound_path(clip).parent)
        assert cached_gb() <= limit
    assert len({*names}) == 3
    assert [name.exists() for name in (names[0], names[1], names[3])] == [True, False, True]
    assert len(shards.decode_clip(firsts[1]).samples) > 0  # fetched again
    small = replace(firsts[3], shard=replace(firsts[3].shard, cache_gb=1e-6))
    with pytest.raises(SerdemoError, match=r"part-3\.parquet holds 0\.0 GB of sound, more than"):
        shards.decode_clip(small)
    assert cached_gb() <= limit


def test_a_clip_whose_shard_makes_room_meanwhile_is_fetched_again(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = load(ADDRESS)[0]
    decode, dropped = waveform.decode, []

    def slow(path: Path, *, name: str) -> waveform.Clip:
        if not dropped:
            dropped.append(path)
            shards._make_room(shards.cache_folder(), 0)
        return decode(path, name=name)

    monkeypatch.setattr(waveform, "decode", slow)
    assert len(shards.decode_clip(clip).samples) > 0
    assert dropped


def test_training_from_shards_is_training_from_the_files(
    store: Any, clips: list[Utterance], tiny_values: dict[str, Any], tmp_path: Path
) -> None:
    states = []
    sizes = [file["size"] for file in store.ls("/bucket/simple", detail=True)]
    spec = f"{ADDRESS}?cache_gb={2.2 * max(sizes) / 1e9:.9f}"
    for name, found in (("files", clips), ("shards", load(spec))):
        split = by_speakers(found, valid=["cleo"], test=["dora"])
        values = {**tiny_values, "memory_gb": 0.0}  # so that every batch fetches its clips
        events = list(training_run.train("supervised", values, split, tmp_path / name))
        states.append((checkpoint.load_state(tmp_path / name / "resume"), events[-1].metrics))
    (files, scores), (remote, remote_scores) = states
    assert files is not None and remote is not None
    assert files[0].keys() == remote[0].keys()
    assert all(torch.equal(files[0][name], remote[0][name]) for name in files[0])
    assert scores == remote_scores


def test_an_address_is_refused_where_the_command_line_did_not_name_it(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        shard_table, "file_system", lambda address: pytest.fail(f"{address} was fetched")
    )
    for address in (
        ADDRESS,
        "http://127.0.0.1:9/corpus",
        "s3://bucket/x.parquet",
        "hf://datasets/a/b",
    ):
        request = TrainingRequest("supervised", (address,))  # as the page makes them
        for read in (request.clips, lambda address=address: corpora.load(address)):
            with pytest.raises(UsageError, match="is an address, which is not read here"):
                read()


def test_what_cannot_be_fetched_is_one_sentence(store: Any, clips: list[Utterance]) -> None:
    with store.open("/bucket/bad/a.parquet", "wb") as file:
        file.write(b"PAR1 and no more")
    with store.open("/bucket/paths/a.parquet", "wb") as file:
        pq.write_table(pa.table({"audio": ["a.wav"], "emotion": ["angry"]}), file)
    for address, sentence in (
        ("memory://bucket/none", r"There is no shard memory://bucket/none/\*\.parquet\."),
        ("memory://bucket/none.parquet", r"There is no file memory://bucket/none\.parquet\."),
        ("memory://bucket/bad", r"a\.parquet is no Parquet table, or is damaged\."),
        ("s3://bucket/corpus", r"s3://bucket/corpus cannot be read: .*s3fs"),
        ("odd://bucket/corpus", r"odd://bucket/corpus cannot be read: .*odd"),
    ):
        with pytest.raises(SerdemoError, match=sentence) as raised:
            load(address)
        assert "\n" not in str(raised.value)
    for spec in (f"{ADDRESS}?cache_gb=much", f"{ADDRESS}?cache_gb=0", f"{ADDRESS}?encoding=utf-8"):
        with pytest.raises(UsageError):
            load(spec)
    (paths,) = load("memory://bucket/paths")
    with pytest.raises(SerdemoError, match=r"a\.parquet, row 1: audio holds no sound\."):
        shards.decode_clip(paths)
    found = load(ADDRESS)
    store.rm("/bucket/simple/part-0.parquet")
    with pytest.raises(SerdemoError, match=r"There is no file memory:///?bucket/simple/part-0"):
        shards.decode_clip(found[0])
