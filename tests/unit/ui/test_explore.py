"""Explore without a browser: the calls that a page makes, what they refuse, the shipped map."""

from __future__ import annotations

import base64
import csv
import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from gradio.utils import get_upload_folder

from serdemo.audio import waveform
from serdemo.data import corpora
from serdemo.data.array_cache import CacheOptions
from serdemo.embeddings import background, build_shipped, embedding_map, parquet_limits
from serdemo.embeddings import extract as embedding
from serdemo.embeddings import table as tables
from serdemo.embeddings.cluster_study import study
from serdemo.embeddings.embedding_map import PROJECTIONS, EmbeddingMap
from serdemo.embeddings.parquet_limits import TEXT_COLUMNS
from serdemo.embeddings.projection import pca
from serdemo.embeddings.table import Table
from serdemo.inference.predictor import Predictor
from serdemo.metrics.clusters import analyse
from serdemo.nn import checkpoint
from serdemo.nn.checkpoint_files import bundled_checkpoint
from serdemo.schema.errors import SerdemoError
from serdemo.ui.explore import handlers, open_maps, payload, placement, sources
from serdemo.ui.explore import tab as explore_tab
from serdemo.ui.explore.handlers import Explore
from serdemo.ui.explore.open_maps import SHIPPED, MapSessions
from serdemo.ui.live.handlers import Live
from serdemo.ui.shell import examples
from serdemo.ui.shell.page import Page
from serdemo.ui.shell.session import WarmPredictor


def clips(count: int = 60, speakers: int = 2, emotions: int = 3, width: int = 100) -> Table:
    """Embeddings of speakers whose emotions part."""
    rng = np.random.default_rng(0)
    said = ("angry", "sad", "happy")[:emotions]
    words = {name: ("",) * count for name in TEXT_COLUMNS}
    words["emotion"] = tuple(said[n % emotions] for n in range(count))
    words["prediction"] = tuple(said[n % emotions] if n % 4 else "angry" for n in range(count))
    words["clip"] = tuple(f"one/{n}.wav" for n in range(count))
    words["corpus"] = ("one",) * count
    words["speaker"] = tuple(f"s{n // 3 % speakers}" for n in range(count))
    rows = 3 * np.eye(8, width)[np.arange(count) % emotions]
    rows += 0.3 * rng.standard_normal((count, width)) + 1
    shares = np.tile(np.array([[0.75, 0.25]], np.float32), (count, 1))
    about = {"checkpoint": "other", "digest": "0" * 64, "seen": ["one/s0"]}
    return Table(words, rows.astype(np.float32), ("angry", "sad"), shares, about)


def complete(count: int) -> EmbeddingMap:
    """A map with all its parts, without waiting for UMAP."""
    table = clips(count)
    places = {name: pca(table.embedding, len(axes)) for name, axes in PROJECTIONS.items()}
    return EmbeddingMap(table, places, *study(table))


@pytest.fixture(scope="module")
def predictor(tiny_checkpoint: Path) -> Predictor:
    return Predictor(tiny_checkpoint, device="cpu")


@pytest.fixture
def served(
    predictor: Predictor, corpus_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Explore]:
    """The calls of a page; the data root holds the corpus `simple`."""
    monkeypatch.setenv("SERDEMO_DATA", str(corpus_root.parent))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    made = Explore(Page(WarmPredictor(lambda: predictor)))
    yield made
    for one in list(made.maps._open.values()):
        one.stop()


def visitor(address: str = "127.0.0.1", **headers: str) -> Any:
    return SimpleNamespace(
        client=SimpleNamespace(host=address),
        headers={"host": "localhost:7860", "origin": "http://localhost:7860", **headers},
    )


def call(served: Explore, name: str, who: Any = None, /, **asked: Any) -> Any:
    """The answer as the browser gets it: through JSON."""
    told = served.call({"call": name, **asked}, who or visitor())
    return json.loads(json.dumps(told, allow_nan=False))


def numbers(packed: str, kind: str) -> Any:
    return np.frombuffer(base64.b64decode(packed), kind)


def bits(count: int, *rows: int) -> str:
    """A selection of `rows` among `count` clips."""
    return payload.packed(np.packbits(np.isin(np.arange(count), rows)))


@pytest.fixture
def opened(served: Explore, tiny_checkpoint: Path, corpus_root: Path, tmp_path: Path) -> Any:
    """The map of the corpus `simple` by the model that answers; its parts are not computed."""
    utterances = corpora.load_many(str(corpus_root))
    options = CacheOptions(cache=str(tmp_path / "cache"))
    found = embedding.embed(tiny_checkpoint, utterances, corpus_root.parent, options, device="cpu")
    return served.maps.add("simple", embedding_map.pca_only(found.table), corpus_root.parent)


def sent(source: Path, name: str = "") -> dict[str, str]:
    """What the page says of a file that it has sent."""
    folder = Path(get_upload_folder()) / "one"
    folder.mkdir(parents=True, exist_ok=True)
    path = Path(shutil.copy(source, folder))
    return {"path": str(path), "name": name or source.name}


# What a map is


def test_the_shipped_map_is_of_the_shipped_checkpoint_and_small() -> None:
    path = embedding_map.default_path()
    found = embedding_map.read(path)
    assert path.stat().st_size < 3_000_000
    folder = bundled_checkpoint(path.stem)
    remade = (
        f"made of another {path.stem}: run `python -m serdemo.embeddings.build_shipped {path.stem}`"
    )
    assert found.table.about["digest"] == embedding.checkpoint_digest(folder), remade
    assert set(found.positions) == set(PROJECTIONS)
    assert found.basis is not None and found.basis.shape[1] == embedding_map.COMPRESSED_WIDTH
    assert len(found.table) > 3000
    assert found.figures["mean"]["found"]["nmi"] > found.figures["mean"]["chance"]["nmi"]
    codes, speakers = found.clusters, np.array(found.table.speakers)
    assert codes is not None
    for name, one in list(found.figures["speakers"].items())[:20]:
        assert len(set(codes[speakers == name].tolist())) == one["clusters"]
    assert not any(Path(name).is_absolute() for name in found.table.text["clip"])


def test_the_map_shown_first_is_the_speaker_checkpoints_once_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def there(*names: str) -> None:
        def found(name: str) -> Path:
            if name not in names:
                raise SerdemoError("There is none.")
            return tmp_path

        monkeypatch.setattr(embedding_map, "bundled_checkpoint", found)

    monkeypatch.setattr(embedding_map, "MAPS", tmp_path)
    there("compact", "speaker")
    with pytest.raises(SerdemoError, match="holds no map"):
        embedding_map.default_path()
    (tmp_path / "compact.parquet").touch()
    assert embedding_map.default_path().stem == "compact"
    (tmp_path / "speaker.parquet").touch()
    assert embedding_map.default_path().stem == "speaker"
    there("compact")
    assert embedding_map.default_path().stem == "compact"


def test_a_small_map_places_as_the_whole_one_does() -> None:
    whole = embedding_map.pca_only(clips(200))
    less = embedding_map.compress(whole)
    assert less.table.embedding.shape == (200, embedding_map.COMPRESSED_WIDTH)
    ground, own = less.reference_map(("pca",)), whole.reference_map(("pca",))
    alike = 0
    for row in range(0, 200, 10):
        embedding = whole.table.embedding[row]
        near = less.compress_embedding(embedding)
        np.testing.assert_allclose(near, less.table.embedding[row], atol=2e-3)
        there = ground.place(near), own.place(embedding)
        assert there[0].rows[0] == there[1].rows[0] == row
        alike += len(set(there[0].rows) & set(there[1].rows))
    assert alike > 0.7 * 20 * 15
    with pytest.raises(SerdemoError, match="another model"):
        less.compress_embedding(np.ones(99, np.float32))


def test_a_map_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    made = embedding_map.compress(complete(24))
    embedding_map.write(tmp_path / "map.parquet", made)
    again = embedding_map.read(tmp_path / "map.parquet")
    assert again.table.text == made.table.text and again.figures == made.figures
    np.testing.assert_array_equal(again.table.embedding, made.table.embedding)
    for name in PROJECTIONS:
        np.testing.assert_array_equal(again.positions[name], made.positions[name])
    np.testing.assert_array_equal(again.clusters, made.clusters)
    np.testing.assert_array_equal(again.basis, made.basis)


def test_notes_of_a_stranger_are_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "map.parquet"
    flat = np.zeros(60, np.float32)
    evil = {"figures": {"speakers": {"a": 1}, "mean": {}, "pooled": {}}, "basis": "AAAA"}
    tables.write(path, clips(), {"x": flat, "y": np.full(60, np.inf), "cluster": flat}, evil)
    found = embedding_map.read(path)
    assert set(found.positions) == {"pca"}
    assert found.figures == {} and found.basis is None


def test_figures_are_those_of_the_command() -> None:
    table = clips(90, speakers=3)
    codes, figures = study(table)
    known = analyse(table.embedding, table.speakers, table.emotions)
    mean = figures["mean"]
    assert mean["scored"] == known.scored_speakers == 3
    for name in ("nmi", "ari", "purity", "silhouette"):
        assert mean["found"][name] == pytest.approx(getattr(known.per_speaker, name), abs=1e-3)
        assert mean["chance"][name] == pytest.approx(getattr(known.shuffled, name), abs=1e-3)
        assert figures["pooled"]["found"][name] == pytest.approx(
            getattr(known.pooled, name), abs=1e-3
        )
    assert figures["new"]["scored"] == 2  # the model has learnt from the third
    one = figures["speakers"]["one/s0"]
    assert (one["n"], one["clusters"]) == (
        30,
        len(set(codes[np.array(table.speakers) == "one/s0"])),
    )


def test_speakers_without_two_emotions_have_no_figures() -> None:
    _, figures = study(clips(20, emotions=1))
    assert figures["mean"]["scored"] == 0 and figures["mean"]["found"]["nmi"] is None
    assert figures["speakers"]["one/s1"]["chance"]["purity"] is None


def test_thinning_keeps_speakers_and_emotions_in_proportion() -> None:
    table = clips(600, speakers=4)
    less = build_shipped.subsample(table, 120)
    assert len(less) == 120
    assert set(Counter(less.speakers).values()) == {30}
    assert set(Counter(zip(less.speakers, less.emotions, strict=True)).values()) == {10}
    assert build_shipped.subsample(table, 600) is table


def test_each_speaker_alone_fills_its_own_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_map, "umap", lambda rows, dimensions, seed: pca(rows, dimensions))
    table = clips(33, speakers=3)
    own = embedding_map.project(table, "own")
    for name in sorted(set(table.speakers)):
        places = own[np.array(table.speakers) == name]
        assert np.abs(places).max() <= 2 and np.ptp(places) > 0.1


# What the page is told


def test_the_page_gets_what_the_table_holds(served: Explore, opened: Any) -> None:
    told = call(served, "open", map=opened.key)
    table = opened.mapped.table
    assert told["n"] == len(table) == 24
    assert tuple(told["clips"].split("\n")) == table.text["clip"]
    for kind in ("emotion", "prediction", "speaker", "corpus", "error", "training"):
        coded = told["kinds"][kind]
        codes = numbers(coded["codes"], "u1") if coded["codes"] else [0] * told["n"]
        named = [coded["names"][code] for code in codes]
        assert named == payload.names(opened.mapped, kind)
    assert told["kinds"]["speaker"]["names"][0] in set(table.speakers)
    places = numbers(told["places"]["pca"], "<f4").reshape(-1, 3)
    np.testing.assert_array_equal(places, opened.mapped.positions["pca"])
    assert told["missing"] == list(background.PARTS)
    shares = numbers(told["shares"], "u1")
    np.testing.assert_array_equal(shares, np.round(100 * table.probabilities.max(axis=1)))
    assert "says nothing" in told["warning"]
    seen = payload.names(opened.mapped, "training")
    assert set(seen) == {payload.SEEN, payload.NEW}  # dora alone the model never met


def test_the_shipped_map_opens_at_once(served: Explore) -> None:
    began = time.perf_counter()
    told = call(served, "open")
    assert time.perf_counter() - began < 15  # read for the first time, on a busy machine
    assert told["map"] == SHIPPED and told["missing"] == []
    assert told["figures"]["mean"]["scored"] > 10
    assert not told["notes"]


def test_a_selection_is_the_rows_whose_bits_are_set(opened: Any) -> None:
    assert payload.rows_of(opened, bits(24, 0, 7, 8, 23)).tolist() == [0, 7, 8, 23]
    assert payload.rows_of(opened, None).tolist() == list(range(24))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (bits(24), "Nothing is selected"),
        (bits(25, 3), "another map"),
        (bits(16, 3), "another map"),
        ("", "another map"),
        ([1], "bits in base64"),
        ("all", "bits in base64"),
        (True, "bits in base64"),
    ],
)
def test_a_selection_that_is_none_is_refused(
    served: Explore, opened: Any, rows: Any, words: str
) -> None:
    opened.stop()
    opened.mapped = replace(opened.mapped, positions={"umap2": opened.mapped.positions["pca"]})
    told = call(served, "save", map=opened.key, rows=rows, ending=".csv")
    assert words in told["refused"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"call": "no"}, "no call 'no'"),
        ({}, "needs call"),
        (None, "needs call"),
        ({"call": "progress", "map": "gone"}, "was closed"),
        ({"call": "play"}, "needs map"),
        ({"call": "play", "map": SHIPPED, "row": 1 << 40}, "another map"),
        ({"call": "voice", "voice": "gone", "samples": ""}, "no longer followed"),
        ({"call": "hearing", "hearing": "gone"}, "no longer being embedded"),
        ({"call": "place", "map": SHIPPED, "path": "/etc/passwd"}, "could not be sent"),
        ({"call": "table", "path": "/etc/passwd"}, "could not be sent"),
        ({"call": "table"}, "could not be sent"),
    ],
)
def test_a_wrong_call_is_one_sentence(served: Explore, asked: Any, words: str) -> None:
    told = served.call(asked, visitor())
    assert words in told["refused"] and "\n" not in told["refused"]


# Sound and files


def test_a_clip_is_played_from_the_data_root_alone(
    served: Explore, opened: Any, corpus_root: Path, tmp_path: Path
) -> None:
    told = call(served, "play", map=opened.key, row=3)
    path = corpus_root.parent / opened.mapped.table.text["clip"][3]
    np.testing.assert_array_equal(
        numbers(told["samples"], "<i2"),
        waveform.to_int16(waveform.decode(path).samples),
    )
    assert told["rate"] == 16_000
    outside = tmp_path / "outside.wav"
    soundfile.write(outside, np.zeros(1600), 16_000)
    (corpus_root / "notes.txt").write_text("secret")
    words = dict(opened.mapped.table.text)
    names = (str(outside), "../outside.wav", "simple/notes.txt", "simple", "a\0.wav", "gone.wav")
    words["clip"] = (*names, *words["clip"][len(names) :])
    other = EmbeddingMap(replace(opened.mapped.table, text=words), opened.mapped.positions)
    own = served.maps.add("other", other, corpus_root.parent)
    for row in range(len(names)):
        assert call(served, "play", map=own.key, row=row) == {"silent": handlers.NOT_HERE}
    assert "samples" in call(served, "play", map=own.key, row=len(names))


@pytest.mark.parametrize(
    "who",
    [
        visitor("10.0.0.7"),
        visitor(**{"x-forwarded-for": "10.0.0.7"}),
        visitor(host="serdemo.example.com"),
        visitor(origin="https://evil.example.com"),
    ],
    ids=["far", "through a proxy", "by another name", "from another site"],
)
def test_a_visitor_reaches_no_file_of_the_server(served: Explore, opened: Any, who: Any) -> None:
    assert call(served, "play", who, map=opened.key, row=0) == {"silent": handlers.NOT_YOURS}
    assert call(served, "folder", who, folder="simple") == {"refused": handlers.ONLY_HERE}
    found = call(served, "here", who)
    assert found.pop("no_tables")
    assert found == {"local": False, "corpora": [], "root": ""}


def test_a_selection_is_saved_as_a_table_that_others_open(
    served: Explore, opened: Any, tmp_path: Path
) -> None:
    flat = opened.mapped.positions["pca"][:, 1:]
    opened.mapped = replace(opened.mapped, positions={**opened.mapped.positions, "umap2": flat})
    told = call(served, "save", map=opened.key, rows=bits(24, 2, 0, 5), ending=".parquet")
    assert Path(told["path"]).is_relative_to(get_upload_folder())
    found = pq.read_table(told["path"]).to_pandas()
    assert tuple(found["clip"]) == tuple(opened.mapped.table.text["clip"][n] for n in (0, 2, 5))
    np.testing.assert_array_equal(found["x"], flat[[0, 2, 5], 0])
    assert len(embedding_map.read(Path(told["path"])).table) == 3
    told = call(served, "save", map=opened.key, rows=None, ending=".csv")
    with Path(told["path"]).open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 24 and lines[4]["clip"] == opened.mapped.table.text["clip"][4]
    assert float(lines[4]["y"]) == pytest.approx(flat[4, 1], abs=1e-5)
    told = call(served, "save", map=opened.key, rows=None, ending=".html")
    page = Path(told["path"]).read_text(encoding="utf-8")
    assert "anna-angry-0.wav" in page and "Plotly" in page
    refused = call(served, "save", map=opened.key, rows=None, ending=".exe")["refused"]
    assert "saved as .parquet" in refused


@pytest.mark.slow
def test_a_map_without_umap_is_saved_by_pca_alone(
    served: Explore, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = call(served, "save", map=opened.key, rows=None, ending=".parquet")
    assert waits == {"refused": "UMAP is still being computed: save the map once it is there."}
    monkeypatch.setattr(background.sys, "executable", shutil.which("false") or "false")
    fail(served, opened)
    told = {
        ending: Path(call(served, "save", map=opened.key, rows=None, ending=ending)["path"])
        for ending in handlers.ENDINGS
    }
    saved = pq.read_table(told[".parquet"])
    assert {"pca_x", "pca_y"} <= set(saved.column_names) and "x" not in saved.column_names
    assert set(embedding_map.read(told[".parquet"]).positions) == {"pca"}
    with told[".csv"].open(encoding="utf-8", newline="") as file:
        line = next(csv.DictReader(file))
    assert float(line["pca_x"]) == pytest.approx(opened.mapped.positions["pca"][0, 0], abs=1e-5)
    assert "x" not in line
    page = told[".html"].read_text(encoding="utf-8")
    assert '"label":"PCA"' in page and '"label":"UMAP"' not in page


def test_a_name_is_no_formula_of_a_spreadsheet() -> None:
    table = clips(3)
    words = {**table.text, "clip": ("=cmd()", "-1", "plain")}
    lines = payload.as_csv(
        payload.chosen(embedding_map.pca_only(replace(table, text=words)), np.arange(3))
    ).splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["'=cmd()", "'-1", "plain"]


# Newcomers


def test_a_clip_of_the_map_lies_at_its_own_place(
    served: Explore, opened: Any, corpus_root: Path
) -> None:
    row = 7
    clip = corpus_root.parent / opened.mapped.table.text["clip"][row]
    file = sent(clip)
    told = call(served, "place", map=opened.key, **file)
    assert not Path(file["path"]).exists()
    assert told["rows"][0] == row
    assert told["similarities"][0] == pytest.approx(1.0, abs=1e-3)
    assert told["label"] == opened.mapped.table.text["prediction"][row]
    expected = (
        opened.mapped.reference_map(("pca",)).place(opened.mapped.table.embedding[row]).position
    )
    np.testing.assert_allclose(told["at"]["pca"], expected, atol=1e-2)
    assert call(served, "example", map=opened.key)["name"] == "example voice"


@pytest.mark.slow
def test_what_is_no_sound_is_one_sentence_and_forgotten(
    served: Explore, opened: Any, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no sound")
    file = sent(broken, "mine.wav")
    assert "mine.wav" in call(served, "place", map=opened.key, **file)["refused"]
    assert not Path(file["path"]).exists()


def test_a_map_of_an_absent_model_takes_no_newcomer(served: Explore) -> None:
    one = served.maps.add("other", embedding_map.pca_only(clips()), None)
    refused = call(served, "example", map=one.key)["refused"]
    assert "made by other" in refused and "only by the model that made the map" in refused
    assert "made by other" in call(served, "follow", map=one.key, rate=16_000)["refused"]


def test_a_live_voice_moves_and_has_a_place_at_the_end(served: Explore, opened: Any) -> None:
    sound = waveform.decode(examples.EXAMPLES_DIR / handlers.VOICE).samples
    voice = call(served, "follow", map=opened.key, rate=16_000)["voice"]
    places, speaking = [], []
    for start in range(0, len(sound), 6400):
        piece = base64.b64encode(waveform.to_int16(sound[start : start + 6400]).tobytes()).decode()
        told = call(served, "voice", voice=voice, samples=piece)
        speaking.append(told["speaking"])
        if "at" in told:
            places.append(told["at"]["pca"])
    assert len(places) >= 4 and any(speaking)
    assert len({tuple(place) for place in places}) > 1
    whole = call(served, "leave", voice=voice)
    assert len(whole["rows"]) == 15 and whole["label"] in ("angry", "happy", "sad")
    assert "no longer followed" in call(served, "leave", voice=voice)["refused"]


def test_a_model_without_answers_places_all_the_same(
    served: Explore,
    tiny_checkpoint: Path,
    corpus_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mute = tmp_path / "mute"
    model, described, *_ = checkpoint.load(tiny_checkpoint)
    bare = checkpoint.build(replace(described, labels=(), name="mute"))
    kept = {k: v for k, v in model.state_dict().items() if k in bare.state_dict()}
    bare.load_state_dict(kept)
    checkpoint.save(mute, bare, replace(described, labels=(), name="mute"))
    monkeypatch.setattr(placement, "bundled_checkpoint", lambda name: mute)
    options = CacheOptions(cache=str(tmp_path / "cache"))
    utterances = corpora.load_many(str(corpus_root))
    found = embedding.embed(mute, utterances, corpus_root.parent, options, device="cpu")
    one = served.maps.add("mute", embedding_map.pca_only(found.table), corpus_root.parent)
    told = call(served, "open", map=one.key)
    assert told["kinds"]["prediction"]["names"] == ["unknown"] and told["shares"] == ""
    placed = call(served, "example", map=one.key)
    assert len(placed["rows"]) == 15 and "label" not in placed
    voice = call(served, "follow", map=one.key, rate=16_000)["voice"]
    sound = waveform.decode(examples.EXAMPLES_DIR / handlers.VOICE).samples
    piece = base64.b64encode(waveform.to_int16(sound).tobytes()).decode()
    assert "at" in call(served, "voice", voice=voice, samples=piece)
    assert "label" not in call(served, "leave", voice=voice)


def test_who_says_nothing_has_no_place(served: Explore, opened: Any) -> None:
    voice = call(served, "follow", map=opened.key, rate=48_000)["voice"]
    silence = base64.b64encode(bytes(2 * 48_000)).decode()
    for _ in range(3):
        assert call(served, "voice", voice=voice, samples=silence) == {"speaking": False}
    assert call(served, "leave", voice=voice) == {}
    assert "rate" in call(served, "follow", map=opened.key, rate=5)["refused"]
    assert "16-bit" in call(served, "voice", voice="x", samples="%")["refused"]


@pytest.mark.slow
def test_a_voice_whose_page_has_gone_is_forgotten(
    served: Explore, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = served._page.visitors.live_services
    voice = call(served, "follow", map=opened.key, rate=16_000)["voice"]
    (followed,) = served._placer._voices.values()
    monkeypatch.setattr(followed.service, "_idle_s", 0.2)
    call(served, "voice", voice=voice, samples="")  # wakes the worker
    deadline = time.monotonic() + 10
    while len(services):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "no longer followed" in call(served, "leave", voice=voice)["refused"]
    call(served, "follow", map=opened.key, rate=16_000)
    assert followed not in served._placer._voices.values()


def test_a_stream_of_live_is_followed_without_its_sound(served: Explore, opened: Any) -> None:
    """Live and Explore share a stream's windows; the voice has a place when Live has closed it."""
    live = Live(served._page.visitors)
    stream = live.call({"call": "open", "rate": 16_000}, visitor())["stream"]
    voice = call(served, "follow", map=opened.key, rate=16_000, stream=stream)
    assert voice.pop("shared") is True
    assert call(served, "voice", **voice, samples="") == {"speaking": False}
    sound = waveform.decode(examples.EXAMPLES_DIR / handlers.VOICE).samples
    fields = {"stream": stream, "samples": waveform.to_int16(sound), "sequence": 0, "since": 0.0}
    assert live.call({"call": "push", **fields}, visitor())["received"] >= 0
    live.service.flush(stream, 10)
    assert len(call(served, "voice", **voice, samples="")["at"]["pca"]) >= 2
    assert len(served._page.visitors.live_services) == 1
    assert live.call({"call": "close", "stream": stream, "since": 0.0}, visitor())["segments"]
    assert len(call(served, "leave", **voice)["rows"]) == 15


def test_who_is_refused_again_costs_little(
    served: Explore, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = served.maps.add("other", embedding_map.pca_only(clips()), None)
    assert "refused" in call(served, "follow", map=one.key, rate=16_000)

    def identity(folder: Path) -> str:
        raise AssertionError(f"{folder} is read once more")

    monkeypatch.setattr(placement, "checkpoint_digest", identity)
    assert "made by other" in call(served, "follow", map=one.key, rate=16_000)["refused"]


# Own clips


def heard(served: Explore, folder: str) -> Any:
    told = call(served, "folder", folder=folder)
    if "hearing" not in told:
        return told
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = call(served, "hearing", hearing=told["hearing"])
        if "total" not in answer:
            return answer
        time.sleep(0.05)
    raise AssertionError("the clips were not heard in time")


@pytest.mark.slow
def test_a_folder_becomes_a_map(served: Explore, corpus_root: Path) -> None:
    told = heard(served, "simple")
    assert told["n"] == 24 and told["title"] == "simple" and "pca" in told["places"]
    assert set(told["clips"].split("\n")) == {
        path.relative_to(corpus_root.parent).as_posix() for path in corpus_root.rglob("*.wav")
    }
    assert "samples" in call(served, "play", map=told["map"], row=0)


@pytest.fixture
def folders(served: Explore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root of folders that are too poor for a map."""
    root = tmp_path / "data"
    (root / "empty").mkdir(parents=True)
    paths = (
        *("single/angry/a.wav", "three/bert/angry/a.wav", "three/bert/sad/b.wav"),
        *("three/bert/sad/c.wav", "class/anna/angry/a.wav", "class/bert/angry/b.wav"),
    )
    for number, path in enumerate(paths):
        sound = 0.1 * np.sin(np.arange(8000) / (9 + number))
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / path, sound, 16_000)
    (root / "class" / "anna" / "angry" / "broken.wav").write_bytes(b"no")
    monkeypatch.setenv("SERDEMO_DATA", str(root))
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("empty", "No clip under"),
        ("single", "only one clip"),
        ("..", "outside the data folder"),
        ("/etc", "outside the data folder"),
        ("empty/../../..", "outside the data folder"),
        ("absent", "There is no corpus, folder or CSV file absent"),
        ("", "No corpus is named"),
        ("hf:someone/something", "There is no corpus, folder or CSV file hf:someone"),
        ("ravdess", "No clip of"),
    ],
)
def test_a_folder_that_is_no_map_is_one_sentence(
    served: Explore, folders: Path, folder: str, words: str
) -> None:
    refused = heard(served, folder)["refused"]
    assert words in refused and "\n" not in refused


@pytest.mark.slow
def test_a_poor_folder_is_a_map_that_says_what_it_lacks(served: Explore, folders: Path) -> None:
    three = heard(served, "three")
    assert three["n"] == 3
    assert "UMAP needs 4 clips" in three["notes"][0] and "speakers are unknown" in three["notes"][1]
    one = heard(served, str(folders / "class"))
    assert "All clips are angry" in one["notes"][1]
    assert "Left out, 1 of 3: broken.wav" in one["notes"][2]


def test_without_a_data_root_it_says_how_to_name_one(
    served: Explore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SERDEMO_DATA")
    assert call(served, "folder", folder="simple") == {"refused": sources.NO_ROOT}
    found = {"local": True, "corpora": [], "root": "", "no_tables": ""}
    assert call(served, "here") == found


def test_hearing_can_be_stopped(
    served: Explore, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    going = threading.Event()

    def slow(*_: Any, progress: Any, **__: Any) -> None:
        for done in range(1000):
            progress(done)
            going.set()
            time.sleep(0.01)

    monkeypatch.setattr(sources, "embed", slow)
    key = call(served, "folder", folder="three")["hearing"]
    assert going.wait(10)
    call(served, "hearing", hearing=key, stop=True)
    deadline = time.monotonic() + 10
    while "refused" not in (told := call(served, "hearing", hearing=key)):
        assert time.monotonic() < deadline
    assert told["refused"].startswith("Stopped")


def test_a_table_that_was_sent_becomes_a_map(served: Explore, tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    embedding_map.write(path, embedding_map.compress(complete(40)))
    file = sent(path)
    told = call(served, "table", **file)
    assert told["title"] == "mine" and told["n"] == 40 and told["missing"] == []
    assert told["figures"]["mean"]["scored"] == 2
    assert not Path(file["path"]).exists()
    poor = tmp_path / "poor.parquet"
    tables.write(poor, clips(3, speakers=1, emotions=1))
    notes = call(served, "table", **sent(poor))["notes"]
    assert len(notes) == 3


def strange(path: Path, **columns: Any) -> Path:
    """A table of another program: what the page asks for, and no more than is given beside."""
    own = clips(24)
    needed = {"embedding": list(own.embedding), "speaker": own.text["speaker"]}
    pq.write_table(pa.table({**needed, "emotion": own.emotions, **columns}), path)
    return path


def test_a_table_of_the_columns_asked_for_is_a_map(served: Explore, tmp_path: Path) -> None:
    told = call(served, "table", **sent(strange(tmp_path / "mine.parquet")))
    assert (told["n"], list(told["places"])) == (24, ["pca"])


@pytest.mark.parametrize(
    "columns",
    [
        {"x": [1e300] * 24, "y": [0.5] * 24, "cluster": [2.0**40] * 24},
        {"x": ["a"] * 24, "y": ["b"] * 24, "cluster": ["c"] * 24},
        {"x": [None] * 24, "y": [0.5] * 24, "cluster": [float("nan")] * 24},
        {"x": [0.5] * 24, "x.more": [0.5] * 24, "y": [0.5] * 24},
    ],
    ids=["too large", "text", "nothing", "twice"],
)
def test_columns_that_are_no_map_are_let_be(
    served: Explore, tmp_path: Path, columns: dict[str, Any]
) -> None:
    told = call(served, "table", **sent(strange(tmp_path / "mine.parquet", **columns)))
    assert list(told["places"]) == ["pca"] and "clusters" not in told


@pytest.mark.parametrize("name", ["clip", "p_a", "x", "embedding"])
@pytest.mark.parametrize("kind", [pa.string(), pa.binary()])
def test_a_small_file_does_not_become_a_large_one(
    served: Explore, tmp_path: Path, name: str, kind: Any
) -> None:
    """One long text is told once and meant in each row: whatever the column, it is not read."""
    rows, letters = 20_000, 50_000  # 1 GB, more than any other test has taken
    told_once = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(rows, np.int32)), pa.array([b"a" * letters]).cast(kind)
    )
    columns = {
        "embedding": pa.array([[1.0, 2.0], [2.0, 1.0]] * (rows // 2)),
        "speaker": pa.array(["s"] * rows),
        "emotion": pa.array(["sad", "angry"] * (rows // 2)),
        name: told_once,
    }
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table(columns), path, store_schema=False)
    before = pa.total_allocated_bytes()
    most = pa.default_memory_pool().max_memory() or 0
    told = call(served, "table", **sent(path))
    assert ("refused" in told) == (name != "x")
    assert (pa.default_memory_pool().max_memory() or 0) <= max(most, before + 100_000_000)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_bytes(b"no"), "no Parquet table"),
        (
            lambda path: pq.write_table(pq.read_table(path).drop(["embedding"]), path),
            "no column embedding",
        ),
        (lambda path: tables.write(path, clips(1)), "only one clip"),
    ],
)
def test_a_table_that_is_no_map_is_one_sentence(
    served: Explore, tmp_path: Path, make: Any, words: str
) -> None:
    path = tmp_path / "mine.parquet"
    tables.write(path, clips())
    make(path)
    file = sent(path)
    refused = call(served, "table", **file)["refused"]
    assert (words in refused and "mine.parquet" in refused) or words == "only one clip"
    assert not Path(file["path"]).exists()


def test_a_folder_is_no_file_that_was_sent(served: Explore, opened: Any) -> None:
    folder = Path(get_upload_folder()) / "maps"
    (folder / "one").mkdir(parents=True)
    for name in ("table", "place"):
        told = call(served, name, map=opened.key, path=str(folder), name="gone")
        assert told == {"refused": "gone could not be sent: drop it once more."}
    assert (folder / "one").is_dir()


def test_a_table_too_large_for_the_page_is_refused_unread(
    served: Explore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.parquet"
    tables.write(path, clips())
    monkeypatch.setattr(parquet_limits, "MAX_ROWS", 59)
    assert "60 clips, too much" in call(served, "table", **sent(path))["refused"]
    monkeypatch.undo()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    monkeypatch.setattr(parquet_limits, "MAX_VALUES", 60)
    assert "too much" in call(served, "table", **sent(path))["refused"]


# What is computed meanwhile


@pytest.mark.slow
def test_the_parts_of_a_map_come_one_after_another(served: Explore, opened: Any) -> None:
    had, deadline = [], time.monotonic() + 240
    while time.monotonic() < deadline:
        told = call(served, "progress", map=opened.key, wanted=opened.missing or ["study"])
        assert "refused" not in told, told
        assert "samples" in call(served, "play", map=opened.key, row=1)  # it answers meanwhile
        had += [name for name in told["places"] if name not in had]
        if not told["missing"]:
            break
        time.sleep(0.2)
    assert set(had) <= set(PROJECTIONS) and opened.missing == []
    assert opened.mapped.positions["umap3"].shape == (24, 3)
    whole = call(served, "open", map=opened.key)
    assert whole["figures"]["mean"]["scored"] == 4
    assert set(numbers(whole["clusters"]["codes"], "u1")) == set(
        range(len(whole["clusters"]["names"]))
    )
    assert set(call(served, "example", map=opened.key)["at"]) == {"pca", "umap2", "umap3"}


def fail(served: Explore, opened: Any) -> Any:
    """What is told once the parts of a map have failed."""
    deadline = time.monotonic() + 10
    while "refused" not in (told := call(served, "progress", map=opened.key, wanted=[])):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return told


@pytest.mark.slow
def test_a_map_whose_parts_fail_says_so(
    served: Explore, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background.sys, "executable", shutil.which("false") or "false")
    assert fail(served, opened) == {"refused": open_maps.SLOW_FAILED}


def test_maps_that_nobody_looks_at_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_maps, "MAX_OPEN", 2)
    maps = MapSessions()
    one, two = (maps.add(name, embedding_map.pca_only(clips(6)), None) for name in ("one", "two"))
    assert maps.get(one.key) is one
    maps.add("three", embedding_map.pca_only(clips(6)), None)
    assert maps.get(one.key) is one
    with pytest.raises(SerdemoError, match="was closed"):
        maps.get(two.key)


def test_few_are_computed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    class Running:
        def poll(self) -> None:
            return None

        def kill(self) -> None:
            started.remove(self)

        def wait(self) -> None: ...

    def begin(*_: Any) -> Any:
        started.append(Running())
        return started[-1]

    monkeypatch.setattr(background, "start", begin)
    maps = MapSessions()
    opened = [maps.add("one", embedding_map.pca_only(clips(6)), None) for _ in range(3)]
    for one in opened:
        assert maps.progress(one) == []
    assert len(started) == open_maps.MAX_WORKING
    opened[0].stop()
    assert len(started) == 1


def test_the_script_gets_the_palette() -> None:
    with Page(WarmPredictor(lambda: pytest.fail("not needed"))) as page:
        explore_tab.build(page)
    (script,) = (block.js_on_load for block in page.blocks.values() if block.elem_id == "explore")
    assert '"triangle-up"' in script and "#D55E00" in script and '"colours"' in script


def test_a_word_told_once_and_meant_often_is_not_spread_out(
    served: Explore, tmp_path: Path
) -> None:
    path = tmp_path / "bomb.parquet"
    table = clips()
    tables.write(path, replace(table, text={**table.text, "clip": ("a" * 5000,) * len(table)}))
    assert "short names" in call(served, "table", **sent(path))["refused"]
