"""`embed` and `clusters` as their user meets them: the table, what is kept, and bad tables."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from support.command import ROOT, here
from support.small_encoders import make_encoder, run, save

from serdemo.audio import waveform
from serdemo.data import corpora
from serdemo.data.array_cache import CacheOptions
from serdemo.embeddings import parquet_limits, table
from serdemo.embeddings.extract import Embedded, embed
from serdemo.inference.predictor import Embedder, Predictor
from serdemo.nn import checkpoint
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import read_json, write_json
from serdemo.schema.types import Utterance

Embed = Callable[..., Embedded]


@pytest.fixture
def clips(corpus_root: Path, tmp_path: Path) -> Path:
    """A copy of the simple corpus, to be changed."""
    return Path(shutil.copytree(corpus_root, tmp_path / "data" / "simple"))


@pytest.fixture
def options(tmp_path: Path) -> CacheOptions:
    return CacheOptions(cache=str(tmp_path / "kept"))


@pytest.fixture
def embedded(tiny_checkpoint: Path, clips: Path, options: CacheOptions) -> Embed:
    """`embed` of the copied corpus with the tiny checkpoint."""

    def embedded(folder: Path = tiny_checkpoint, **more: Any) -> Embedded:
        given = {"options": options, "device": "cpu", **more}
        return embed(folder, corpora.load(str(clips)), clips.parent, **given)

    return embedded


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the clips that a model hears, as it hears them."""
    names: list[str] = []
    hear = Embedder.embed_many

    def noted(self: Embedder, sources: Any) -> Iterator[Any]:
        def told() -> Iterator[Any]:
            for source in sources:
                names.append(source.name)
                yield source

        return hear(self, told())

    monkeypatch.setattr(Embedder, "embed_many", noted)
    return names


@pytest.fixture
def voiceless(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """The tiny checkpoint without its classifier."""
    model, description = checkpoint.load(tiny_checkpoint)
    bare = replace(description, labels=(), name="bare")
    fresh = checkpoint.build(bare)
    fresh.load_state_dict(
        {k: v for k, v in model.state_dict().items() if not k.startswith("classifier.")}
    )
    checkpoint.save(tmp_path / "bare", fresh, bare)
    return tmp_path / "bare"


def test_a_row_holds_what_the_model_says_of_a_clip(
    embedded: Embed, tiny_checkpoint: Path, clips: Path, tmp_path: Path
) -> None:
    found = embedded()
    assert (len(found.table), found.cached, found.errors) == (24, 0, ())
    table.write(tmp_path / "out.parquet", found.table)
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert list(rows[0]) == [
        *("clip", "corpus", "speaker", "gender", "language", "emotion", "prediction"),
        *("p_angry", "p_happy", "p_sad", "confidence", "embedding"),
    ]
    predictor = Predictor(tiny_checkpoint, device="cpu")
    for row in rows[::5]:
        path = clips.parent / row["clip"]
        answer = predictor.predict(path)
        assert row["clip"] == f"simple/{row['speaker']}/{row['emotion']}/{path.name}"
        assert row["corpus"] == "simple"
        assert row["prediction"] == answer.label
        assert row["confidence"] == pytest.approx(answer.confidence, abs=1e-6)
        for label, share in answer.probabilities.items():
            assert row[f"p_{label}"] == pytest.approx(share, abs=1e-6)
        (one,) = predictor.embed_many([path])
        assert not isinstance(one, SerdemoError)
        np.testing.assert_allclose(row["embedding"], one.embedding, atol=1e-5, rtol=1e-6)
    schema = pq.read_schema(tmp_path / "out.parquet")
    assert schema.field("embedding").type == pa.list_(pa.float32())
    about = json.loads(schema.metadata[b"serdemo"])
    assert about["checkpoint"] == "tiny"
    assert len(about["digest"]) == 64


def test_what_is_written_is_read_again(embedded: Embed, tmp_path: Path) -> None:
    made = embedded().table
    table.write(tmp_path / "out.parquet", made)
    found = table.read(tmp_path / "out.parquet")
    assert found.text == made.text
    assert (found.labels, found.about) == (made.labels, made.about)
    assert np.array_equal(found.embedding, made.embedding)
    assert np.array_equal(found.probabilities, made.probabilities)
    assert found.speakers[0] == "simple/anna"


def test_a_repeated_run_hears_nothing(embedded: Embed, heard: list[str], tmp_path: Path) -> None:
    first = embedded()
    assert len(heard) == 24
    second = embedded()
    assert len(heard) == 24
    assert second.cached == 24
    for name, found in (("one", first), ("two", second)):
        table.write(tmp_path / name, found.table)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_run_broken_off_goes_on_where_it_was(
    embedded: Embed, heard: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def breaks(done: int) -> None:
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embedded(progress=breaks)
    del heard[:]
    told: list[int] = []
    found = embedded(progress=told.append)
    # Clips are heard sixteen at a time; what was kept before the end is not heard again.
    assert found.cached == 19
    assert len(heard) == 5
    assert told == [20, 21, 22, 23, 24]
    whole = embedded(options=CacheOptions(cache=str(tmp_path / "another")))
    assert np.array_equal(found.table.embedding, whole.table.embedding)


def test_a_clip_is_known_by_its_content(embedded: Embed, clips: Path, heard: list[str]) -> None:
    embedded()
    del heard[:]
    moved, changed = sorted(clips.rglob("*.wav"))[:2]
    moved.rename(moved.with_name("moved.wav"))
    shutil.copyfile(sorted(clips.rglob("*.wav"))[-1], changed)
    found = embedded()
    assert heard == []  # one is where it was not, the other now what another is
    changed.write_bytes(changed.read_bytes() + b"LIST\x04\x00\x00\x00more")
    found = embedded()
    assert heard == [changed.name]
    assert "simple/anna/angry/moved.wav" in found.table.text["clip"]


def test_each_checkpoint_has_its_own(
    embedded: Embed, tiny_checkpoint: Path, heard: list[str], tmp_path: Path
) -> None:
    one = embedded()
    other = Path(shutil.copytree(tiny_checkpoint, tmp_path / "other"))
    values = read_json(other / "model.json")
    write_json(other / "model.json", {**values, "temperature": 3.0})
    two = embedded(other)
    assert len(heard) == 48
    assert np.array_equal(one.table.embedding, two.table.embedding)
    assert two.table.probabilities.max() < one.table.probabilities.max()
    assert one.table.about["digest"] != two.table.about["digest"]


def test_without_room_it_is_heard_anew(embedded: Embed, heard: list[str], tmp_path: Path) -> None:
    none = CacheOptions(cache=str(tmp_path / "small"), cache_gb=0.0)
    first, second = embedded(options=none), embedded(options=none)
    assert len(heard) == 48
    assert np.array_equal(first.table.embedding, second.table.embedding)


def test_halves_hold_single_precision() -> None:
    from serdemo.embeddings import extract as module

    values = np.random.default_rng(0).normal(0, 3, 10_000).astype(np.float32)
    halves = module._split_halves(values).astype(np.float16)
    assert np.abs(module._join_halves(halves) - values).max() < 1e-5
    assert np.abs(module._join_halves(halves) / values - 1).max() < 1e-4


@pytest.mark.slow
def test_a_bad_clip_is_told_and_left_out(embedded: Embed, clips: Path, tmp_path: Path) -> None:
    bad = sorted(clips.rglob("*.wav"))[3]
    bad.write_bytes(b"no sound at all")
    found = embedded()
    assert len(found.table) == 23
    assert len(found.errors) == 1 and bad.name in found.errors[0]
    for path in clips.rglob("*.wav"):
        path.write_bytes(b"")
    with pytest.raises(SerdemoError, match="None of the 24 clips could be read; the first: "):
        embedded()


def test_without_a_classifier_there_are_no_answers(
    embedded: Embed, voiceless: Path, tmp_path: Path
) -> None:
    found = embedded(voiceless)
    assert np.array_equal(found.table.embedding, embedded().table.embedding)
    table.write(tmp_path / "out.parquet", found.table)
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert not any(name.startswith("p_") for name in rows[0])
    assert {(row["prediction"], row["confidence"]) for row in rows} == {("", None)}
    assert table.read(tmp_path / "out.parquet").labels == ()


def test_a_pretrained_encoder_embeds_as_it_is(clips: Path, tmp_path: Path) -> None:
    source, out = save("wavlm", tmp_path / "source"), tmp_path / "bare.parquet"
    line = ("embed", "wavlm", "--source", source, "--corpus", clips, "--cache", tmp_path / "kept")
    assert here(*line, "--out", out, "--device", "cpu").code == 0
    found = table.read(out)
    assert (len(found), found.about["checkpoint"], found.embedding.shape[1]) == (24, "wavlm", 24)
    assert set(found.text["prediction"]) == {""}
    encoder = make_encoder({"wavlm": source}, "wavlm")
    row = found.text["clip"].index("bert/sad/bert-sad-1.wav")
    wave = torch.from_numpy(waveform.decode(clips / "bert" / "sad" / "bert-sad-1.wav").samples)
    with torch.no_grad():
        frames, mask = run(encoder, [wave])
    np.testing.assert_allclose(found.embedding[row], frames[0][mask[0]].mean(0), atol=2e-3)
    assert "24 of them from the cache" in here(*line, "--out", out, "--device", "cpu").err


def test_what_is_no_encoder_is_told(tiny_checkpoint: Path, clips: Path, tmp_path: Path) -> None:
    common = ("--corpus", clips, "--out", tmp_path / "x.parquet", "--cache", tmp_path / "kept")
    ran = here("embed", tiny_checkpoint, "--source", "a/b", *common)
    assert ran.code == 2 and "--source is for a pretrained encoder" in ran.err
    ran = here("embed", "whisper", "--source", tmp_path / "gone.safetensors", *common)
    assert ran.code == 1 and "gone.safetensors" in ran.err
    ran = here("embed", "nothing", *common)
    assert ran.code == 1 and "no checkpoint 'nothing'" in ran.err


@pytest.mark.slow
def test_a_repeated_command_does_without_torch(
    tiny_checkpoint: Path, clips: Path, tmp_path: Path
) -> None:
    """Which alone takes most of two seconds to import."""
    out = tmp_path / "out.parquet"
    command = ["embed", tiny_checkpoint, "--corpus", clips, "--out", out, "--device", "cpu"]
    command += ["--cache", tmp_path / "kept"]
    first = here(*command)
    assert (first.code, first.out) == (0, "")
    assert "24 clips, 0 of them from the cache" in first.err
    wanted = out.read_bytes()
    program = (
        "import sys\nfrom serdemo.cli import main as cli\n"
        "try:\n    cli.main(sys.argv[1:])\n"
        "except SystemExit as end:\n"
        "    sys.exit(end.code or ('torch' in sys.modules and 'torch was imported'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, command)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert "24 of them from the cache" in done.stderr
    assert out.read_bytes() == wanted


def test_paths_are_relative_to_the_root_that_holds_them(
    tiny_checkpoint: Path, clips: Path, tmp_path: Path
) -> None:
    common = ["--device", "cpu", "--cache", tmp_path / "kept"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for root, first in ((clips.parent, "simple/anna/angry"), (elsewhere, "anna/angry")):
        out = tmp_path / "out.parquet"
        ran = here(
            "embed", tiny_checkpoint, "--corpus", clips, "--root", root, "--out", out, *common
        )
        assert ran.code == 0, ran.err
        assert table.read(out).text["clip"][0].startswith(f"{first}/")


def test_wrong_use_ends_in_a_sentence(tiny_checkpoint: Path, clips: Path, tmp_path: Path) -> None:
    good = ("embed", tiny_checkpoint, "--corpus", clips)
    for command, code, told in (
        ((*good, "--out", tmp_path), 2, "must name a file in an existing folder"),
        ((*good, "--out", tmp_path / "no" / "out"), 2, "must name a file"),
        ((*good, "--out", tmp_path / "o", "--cache-gb", "-1"), 2, "--cache-gb must lie between"),
        (("embed", tmp_path, "--corpus", clips, "--out", tmp_path / "o"), 1, "not a checkpoint"),
        (("embed", "nowhere", "--corpus", clips, "--out", tmp_path / "o"), 1, "no checkpoint"),
        (("embed", tiny_checkpoint, "--corpus", "x", "--out", tmp_path / "o"), 2, "x"),
        (("clusters", tmp_path / "none.parquet"), 1, "There is no table"),
        (("clusters", tmp_path), 1, "There is no table"),
    ):
        ran = here(*command)
        assert (ran.code, ran.out) == (code, ""), ran.err
        assert told in ran.err
        assert len(ran.err.splitlines()) == 1


@pytest.fixture
def made(embedded: Embed, tmp_path: Path) -> Path:
    table.write(tmp_path / "made.parquet", embedded().table)
    return tmp_path / "made.parquet"


def test_clusters_prints_what_it_documents(made: Path) -> None:
    found = here("clusters", made, "--json", "--k", 3).json()
    assert (found["n"], found["speakers"], found["checkpoint"]) == (24, 4, "tiny")
    for name in ("per_speaker", "pooled", "shuffled", "pooled_shuffled"):
        assert list(found[name]) == ["nmi", "ari", "purity", "silhouette"]
    assert found["clusters"] == 3.0
    # Three sounds, two takes of each: any encoder tells them apart within a speaker.
    assert found["per_speaker"]["purity"] > found["shuffled"]["purity"]
    assert set(found["probes"]) == {"speaker", "emotion", "emotion_centred"}
    assert found["probes"]["emotion"]["chance_uar"] == pytest.approx(1 / 3)
    ran = here("clusters", made, "--k", 3)
    assert ran.code == 0
    assert f"{found['per_speaker']['nmi']:.3f}" in ran.out
    assert f"{found['probes']['speaker']['accuracy']:.1%}" in ran.out


def rewritten(made: Path, change: Callable[[Any], Any]) -> Path:
    path = made.with_name("changed.parquet")
    pq.write_table(change(pq.read_table(made)), path)
    return path


def replaced(name: str, values: Any) -> Callable[[Any], Any]:
    return lambda t: t.set_column(t.column_names.index(name), name, values)


WIDE = [[0.1, 0.2]] * 24
BAD_TABLES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "no-embedding": (lambda t: t.drop_columns(["embedding"]), "has no column embedding"),
    "no-speaker": (lambda t: t.drop_columns(["speaker"]), "has no column speaker"),
    "no-emotion": (lambda t: t.drop_columns(["emotion"]), "has no column emotion"),
    "twice": (lambda t: t.append_column("emotion", t["emotion"]), "more than one column emotion"),
    "empty": (lambda t: t.slice(0, 0), "holds no clips"),
    "one-clip": (lambda t: t.slice(0, 1), "No speaker here has clips of two emotions"),
    "one-class": (replaced("emotion", [["sad"] * 24]), "clips of two emotions"),
    "unlabelled": (replaced("emotion", [[None] * 24]), "No clip of .* has an emotion"),
    "text": (replaced("embedding", [["far"] * 24]), "lists of as many finite numbers"),
    "ragged": (replaced("embedding", [[[0.1], *WIDE[1:]]]), "as many finite numbers"),
    "swapped": (replaced("embedding", [[[0.1], [0.1, 0.2, 0.3], *WIDE[2:]]]), "as many finite"),
    "nan": (replaced("embedding", [[[0.1, float("nan")], *WIDE[1:]]]), "finite numbers"),
    "null": (replaced("embedding", [[None, *WIDE[1:]]]), "finite numbers"),
    "hole": (replaced("embedding", [[[0.1, None], *WIDE[1:]]]), "finite numbers"),
    "nothing": (replaced("embedding", [[[]] * 24]), "finite numbers"),
    "words": (replaced("embedding", [[["a"]] * 24]), "finite numbers"),
    "dotted": (lambda t: t.append_column("clip.more", t["clip"]), "more than one column clip"),
    "numbers": (replaced("speaker", [[[1.5]] * 24]), "speaker of .* must hold text"),
    "bytes": (replaced("clip", [[b"\xff"] * 24]), "clip of .* must hold text"),
    "shares": (replaced("p_sad", [["x"] * 24]), "p_sad of .* must hold numbers from 0 to 1"),
    "percent": (replaced("p_sad", [[3.7] * 24]), "p_sad of .* must hold numbers from 0 to 1"),
    "unsure": (replaced("p_sad", [[None] + [0.5] * 23]), "must hold numbers from 0 to 1"),
    "endless": (replaced("embedding", [[[1e300, 0.0]] * 24]), "finite numbers"),
}


@pytest.mark.parametrize("kind", BAD_TABLES)
def test_a_table_that_will_not_do_is_told(made: Path, kind: str) -> None:
    change, told = BAD_TABLES[kind]
    path = rewritten(made, change)
    ran = here("clusters", path)
    assert (ran.code, ran.out) == (1, "")
    assert len(ran.err.splitlines()) == 1
    assert re.search(told, ran.err), ran.err


HALVES = np.arange(48, dtype=np.float32).reshape(24, 2) + 1
STORED = {
    "lists": pa.array(HALVES.tolist(), pa.list_(pa.float32())),
    "whole numbers": pa.array(HALVES.astype(int).tolist(), pa.large_list(pa.int16())),
    "views": pa.array(HALVES.tolist(), pa.list_view(pa.float64())),
    "half precision": pa.array(list(HALVES.astype(np.float16)), pa.list_(pa.float16(), 2)),
    "a tensor": pa.FixedShapeTensorArray.from_numpy_ndarray(HALVES),
}


@pytest.mark.parametrize("kind", STORED)
def test_embeddings_and_words_of_any_type_are_read(tmp_path: Path, kind: str) -> None:
    columns = {
        "embedding": STORED[kind],
        "speaker": pa.array([7.0, float("nan"), None, 8.0] * 6),
        "emotion": pa.array(["Angry", "anger", "ANG", None] * 6, pa.string_view()),
        "prediction": pa.array(["sad", "nan"] * 12).dictionary_encode(),
        "corpus": pa.array(["x"] * 24, pa.large_string()),
        "gender": pa.nulls(24),
        "p_Anger": [0.5] * 24,
        "p_SAD": [0.5] * 24,
    }
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    parquet_limits.refuse_large(tmp_path / "x.parquet")
    read = table.read(tmp_path / "x.parquet")
    assert np.array_equal(read.embedding, HALVES)
    assert read.speakers[:4] == ("x/7", "x/unknown", "x/unknown", "x/8")
    assert read.speaker_known[:4] == (True, False, False, True)
    assert read.emotions[:4] == ("angry", "angry", "angry", "")
    assert read.text["prediction"][:2] == ("sad", "") and read.text["gender"][0] == ""
    assert read.labels == ("angry", "sad")


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([[1.0, 2.0], None], "row 2 has none"),
        ([[1.0, 2.0], [1.0]], "row 2 has 1 of them, row 1 has 2"),
        ([[1.0, float("nan")], [1.0, 2.0]], "row 1 has one that is missing, not finite or beyond"),
        ([[1.0, 2.0], [-1e30, 2.0]], r"row 2 has one that is .* beyond 1e\+12"),
    ],
)
def test_an_embedding_that_will_not_do_is_named(tmp_path: Path, rows: Any, fault: str) -> None:
    columns = {"embedding": rows, "speaker": ["a", "b"], "emotion": ["sad", "fear"]}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    with pytest.raises(SerdemoError, match=f"as many finite numbers each: {fault}"):
        table.read(tmp_path / "x.parquet")


def test_speakers_that_may_be_one_are_asked_about(tmp_path: Path) -> None:
    columns = {"embedding": [[1.0], [2.0]], "speaker": ["7", "07"], "emotion": ["sad", "fear"]}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    with pytest.raises(SerdemoError, match="speakers 07 and 7 of x"):
        table.read(tmp_path / "x.parquet")


def test_clips_of_unknown_speakers_are_no_persons(made: Path) -> None:
    speakers = pq.read_table(made)["speaker"].to_pylist()
    some = rewritten(made, replaced("speaker", [[*speakers[:-2], None, None]]))
    ran = here("clusters", some, "--json", "--k", 2)
    assert ran.json()["n"] == 22 and "2 clips of unknown speakers left out" in ran.err
    ran = here("clusters", rewritten(made, replaced("speaker", [[None] * 24])), "--json", "--k", 2)
    assert (ran.json()["n"], ran.json()["speakers"]) == (24, 1)
    assert "clustered as one person's" in ran.err


def test_what_is_no_table_is_told(made: Path, tmp_path: Path) -> None:
    picture = (ROOT / "serdemo" / "ui" / "images" / "screenshot.png").read_bytes()
    whole = made.read_bytes()
    pickled = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94."
    middle = len(whole) // 2
    for content in (picture, b"", pickled, whole[:middle], b"PAR1" + whole[4:middle] + b"PAR1"):
        (tmp_path / "x.parquet").write_bytes(content)
        ran = here("clusters", tmp_path / "x.parquet")
        assert (ran.code, ran.out) == (1, "")
        assert "x.parquet is no Parquet table, or is damaged" in ran.err
        assert len(ran.err.splitlines()) == 1


def test_tables_of_other_programs_will_do(made: Path) -> None:
    """Double precision, lists of fixed size, dictionaries of words, and few columns."""

    def change(own: Any) -> Any:
        rows = [[float(x) for x in row] for row in own["embedding"].to_pylist()]
        return pa.table(
            {
                "speaker": own["speaker"].dictionary_encode(),
                "emotion": pa.chunked_array(
                    [own["emotion"].chunk(0).slice(n, 8) for n in (0, 8, 16)]
                ),
                "embedding": pa.array(rows, pa.list_(pa.float64(), 8)),
                "index": range(24),
            }
        )

    path = rewritten(made, change)
    ours, theirs = table.read(made), table.read(path)
    assert np.array_equal(ours.embedding, theirs.embedding)
    assert theirs.text["speaker"] == ours.text["speaker"]
    assert theirs.speakers[0] == "/anna"
    assert (theirs.about, theirs.labels) == ({}, ())
    both = [here("clusters", one, "--json").json() for one in (made, path)]
    assert both[0]["per_speaker"] == both[1]["per_speaker"]


def test_one_speaker_has_clusters_but_no_probe(made: Path) -> None:
    found = here("clusters", rewritten(made, lambda t: t.slice(0, 6)), "--json", "--k", 3).json()
    assert (found["n"], found["speakers"]) == (6, 1)
    assert found["pooled"] == found["per_speaker"]
    assert set(found["probes"].values()) == {None}
    ran = here("clusters", rewritten(made, lambda t: t.slice(0, 6)))
    assert ran.code == 0
    assert "not defined here" in ran.out


def test_a_table_that_cannot_be_written_leaves_the_one_before(
    embedded: Embed, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = made.read_bytes()

    def full(*given: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(SerdemoError, match=r"could not be written: No space left"):
        table.write(made, embedded().table)
    assert made.read_bytes() == before
    assert [path.name for path in made.parent.glob("*.part")] == []


def test_clips_without_a_stamp_file_that_can_be_read(
    embedded: Embed, options: CacheOptions, heard: list[str]
) -> None:
    embedded()
    for content in ("{", "[]", '{"x": 3}', "{}"):
        (options.folder / "clips.json").write_text(content, encoding="utf-8")
        assert embedded().cached == 24
    assert len(heard) == 24


def test_the_clips_of_an_unreadable_file_are_counted(
    tiny_checkpoint: Path, clips: Path, options: CacheOptions
) -> None:
    known = corpora.load(str(clips))
    gone = Utterance(clips / "gone.wav", "simple", "anna", "sad", "sad")
    found = embed(tiny_checkpoint, [*known[:3], gone], clips, options, device="cpu")
    assert len(found.table) == 3
    assert found.errors == ("gone.wav could not be read: No such file or directory.",)
