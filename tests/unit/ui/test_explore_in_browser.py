"""Explore without a server: its scripts answer as the server does, from the files of the shipped map."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from support.browser_worker import BrowserWorker, browser_worker, floats
from support.node import run_module

from serdemo.audio import waveform
from serdemo.inference.predictor import Predictor
from serdemo.schema.errors import SerdemoError
from serdemo.schema.settings import data_root
from serdemo.ui.browser import map_files
from serdemo.ui.browser.map_files import MapFiles
from serdemo.ui.explore import payload
from serdemo.ui.explore.handlers import Explore
from serdemo.ui.explore.open_maps import SHIPPED, MapSessions
from serdemo.ui.shell.examples import EXAMPLES, EXAMPLES_DIR
from serdemo.ui.shell.page import Page
from serdemo.ui.shell.rpc import to_base64
from serdemo.ui.shell.session import WarmPredictor

CLIPS = 10_416
CALLS = """
import { ExploreCalls } from "./ui/browser/explore_calls.js";
const read = async (name) => new Uint8Array(readFileSync(`map/${name}`));
const explore = new ExploreCalls({ read });
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the map's files in `map`."""
    made = tmp_path_factory.mktemp("explore")
    MapFiles.of_shipped().write(made / "map")
    return made


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Explore:
    """The calls of a page with a server."""
    return Explore(Page(WarmPredictor(lambda: Predictor(tiny_checkpoint, device="cpu"))))


def bits(count: int, *rows: int) -> str:
    """A selection of `rows` among `count` clips."""
    return payload.packed(np.packbits(np.isin(np.arange(count), rows)))


def call(served: Explore, request: dict[str, Any]) -> Any:
    """The server's answer, through JSON."""
    here: Any = SimpleNamespace(
        client=SimpleNamespace(host="127.0.0.1"),
        headers={"host": "localhost:7860", "origin": "http://localhost:7860"},
    )
    return json.loads(json.dumps(served.call(request, here)))


def test_the_map_is_small_and_its_files_are_the_same_each_time() -> None:
    files = MapFiles.of_shipped().contents()
    assert files == MapFiles.of_shipped().contents()
    looked_at = sum(len(files[name]) for name in (map_files.MAP, map_files.REFERENCE))
    assert looked_at < 1_900_000
    assert sum(map(len, files.values())) < 6_000_000


def test_a_map_of_another_model_gets_no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_files, "checkpoint_digest", lambda folder: "0" * 64)
    with pytest.raises(SerdemoError, match="build_shipped speaker"):
        MapFiles.of_shipped()


@pytest.mark.slow
def test_the_browser_answers_as_the_server(served: Explore, folder: Path) -> None:
    named = {"map": SHIPPED}
    requests: list[dict[str, Any]] = [
        {"call": "open"},
        {"call": "progress", **named, "wanted": ["umap2", "study", "nothing"]},
        {"call": "progress", **named},
        {"call": "save", **named, "ending": ".csv", "rows": bits(CLIPS)},
        {"call": "save", **named, "ending": ".csv", "rows": bits(CLIPS + 8, 1)},
        {"call": "save", **named, "ending": ".csv", "rows": "no bits!"},
        {"call": "play", **named, "row": CLIPS},
        {"call": "progress", "map": "another"},
        {"call": "save", **named, "ending": ".zip"},
        {"call": "leave", "voice": "nobody"},
    ]
    answers = run_module(
        folder,
        CALLS + "done(await Promise.all(given.map((request) => explore.call(request))));",
        requests,
    )
    for request, own in zip(requests, answers, strict=True):
        assert own == call(served, request), request


@pytest.mark.slow
def test_what_needs_a_server_is_refused_in_a_sentence(folder: Path) -> None:
    names = ("folder", "hearing", "table", "nothing", "play")
    requests = [{"call": name, "map": SHIPPED, "row": 3} for name in names]
    *refused, silent = run_module(
        folder,
        CALLS + "done(await Promise.all(given.map((request) => explore.call(request))));",
        requests,
    )
    sentences = [answer["refused"] for answer in refused]
    assert [sentence[-1] for sentence in sentences] == ["."] * 4
    assert sum("full app" in sentence for sentence in sentences) == 3
    assert "only its place on the map" in silent["silent"]


@pytest.mark.slow
def test_a_map_is_saved_as_by_the_server(served: Explore, folder: Path) -> None:
    saved = run_module(
        folder,
        CALLS
        + """
        const files = await Promise.all(given.map((request) => explore.call({ call: "save", ...request })));
        const base64 = async (blob) => Buffer.from(await blob.arrayBuffer()).toString("base64");
        done(await Promise.all(files.map(async ({ blob, name, refused }) =>
          refused || { name, type: blob.type, content: await base64(blob) })));
        """,
        [
            {"map": SHIPPED, "ending": ".csv"},
            {"map": SHIPPED, "ending": ".csv", "rows": bits(CLIPS, 9, 4, 4000)},
            {"map": SHIPPED, "ending": ".html"},
            {"map": SHIPPED, "ending": ".parquet"},
            {"map": SHIPPED, "ending": ".parquet", "rows": bits(CLIPS, 9, 4)},
        ],
    )
    session = MapSessions().get(SHIPPED)
    whole, some, page, table = (base64.b64decode(file["content"]) for file in saved[:4])
    names = [(file["name"], file["type"]) for file in saved[1:4]]
    assert names == [
        ("speaker.csv", "text/csv"),
        ("speaker.html", "text/html"),
        ("speaker.parquet", "application/vnd.apache.parquet"),
    ]
    rows = np.array([4, 9, 4000])
    assert whole.decode() == payload.as_csv(session.mapped)
    assert some.decode() == payload.as_csv(payload.chosen(session.mapped, rows))
    assert page.decode() == payload.as_html(session.mapped, "speaker")
    assert table[:4] == table[-4:] == b"PAR1"
    assert "CSV" in saved[4]


@pytest.mark.slow
def test_a_newcomer_has_the_same_place_and_neighbours(folder: Path) -> None:
    session = MapSessions().get(SHIPPED)
    assert session.mapped.basis is not None
    # Near clips of the map, in the space of the model, as a newcomer is.
    rng = np.random.default_rng(0)
    near = session.mapped.table.embedding[rng.integers(len(session.mapped.table), size=20)]
    embeddings = near @ session.mapped.basis.T + 0.1 * rng.standard_normal((20, 192))
    places = run_module(
        folder,
        """
        import { ShippedMap } from "./ui/browser/shipped_map.js";
        const map = await ShippedMap.load(async (name) => new Uint8Array(readFileSync(`map/${name}`)));
        done(given.map((embedding) => map.place(Float32Array.from(embedding))));
        """,
        embeddings.tolist(),
    )
    for embedding, own in zip(embeddings, places, strict=True):
        theirs, at = session.place(embedding.astype(np.float32))
        assert own["rows"] == list(theirs.rows)
        assert own["similarities"] == pytest.approx(theirs.similarities, abs=1e-4)
        assert own["at"].keys() == at.keys() == {"umap2", "umap3", "pca"}
        for name, place in at.items():
            assert own["at"][name] == pytest.approx(place, abs=1e-3)


@pytest.fixture(scope="module")
def worker(folder: Path) -> Iterator[BrowserWorker]:
    """What answers in the browser's worker, with the shipped models and map."""
    with browser_worker(folder) as running:
        yield running


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twenty WAV files of up to 12 s: real speech, or the examples, at several rates, in one and two channels."""
    root = data_root(None)
    found = sorted(root.glob("ravdess/**/03-01-*.*")) if root else []
    paths = found[:: max(1, len(found) // 16)][:16] or [
        EXAMPLES_DIR / name for name in EXAMPLES.values()
    ]
    folder, made = tmp_path_factory.mktemp("clips"), []
    for number in range(20):
        samples, rate = soundfile.read(paths[number % len(paths)], dtype="float32", always_2d=True)
        parts = [samples] * (3 if number % 5 == 4 else 1)  # long ones have several windows
        joined = np.concatenate(parts)[: 12 * rate]
        stereo = (
            np.repeat(joined, 2, axis=1) if number % 4 == 3 and joined.shape[1] == 1 else joined
        )
        made.append(folder / f"{number}.wav")
        soundfile.write(made[-1], stereo, rate, subtype="PCM_16")
    return made


@pytest.mark.slow
def test_clips_lie_where_the_server_places_them(
    worker: BrowserWorker, served: Explore, recordings: list[Path]
) -> None:
    session = served.maps.get(SHIPPED)
    apart = []
    for path in recordings:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        sound = {"name": path.name, "rate": rate, "channels": [floats(one) for one in samples.T]}
        request = {"call": "place", "map": SHIPPED, "sound": sound, "name": path.name}
        own = worker.ask("explore", request)
        theirs = served._placer.place(session, waveform.decode(path), "")
        assert own["name"] == path.name
        assert own.keys() == {*theirs, "name"}
        assert len(set(own["rows"]) & set(theirs["rows"])) >= 14, path.name
        assert own["similarities"] == pytest.approx(theirs["similarities"], abs=1e-3)
        apart += [np.abs(np.subtract(own["at"][n], at)).max() for n, at in theirs["at"].items()]
    print(f"{len(recordings)} clips lie at most {max(apart):.1e} apart")
    assert len(apart) == 60
    assert max(apart) < 1e-3


@pytest.mark.slow
def test_a_live_voice_moves_as_on_the_server(
    worker: BrowserWorker, served: Explore, recordings: list[Path]
) -> None:
    samples, rate = soundfile.read(recordings[4], dtype="int16", always_2d=True)
    mono = np.ascontiguousarray(samples[:, 0])
    voices = [
        worker.ask("explore", {"call": "follow", "map": SHIPPED, "rate": rate})["voice"],
        call(served, {"call": "follow", "map": SHIPPED, "rate": rate})["voice"],
    ]
    places = 0
    for start in range(0, len(mono), round(0.43 * rate)):
        piece = to_base64(mono[start : start + round(0.43 * rate)])
        requests = [{"call": "voice", "voice": voice, "samples": piece} for voice in voices]
        own, theirs = worker.ask("explore", requests[0]), call(served, requests[1])
        assert own.keys() == theirs.keys()
        assert own["speaking"] == theirs["speaking"]
        if "at" in own:
            places += 1
            assert_same_place(own, theirs)
    assert places >= 10
    ends = [{"call": "leave", "voice": voice} for voice in voices]
    assert_same_place(worker.ask("explore", ends[0]), call(served, ends[1]))
    assert "no longer followed" in worker.ask("explore", ends[0])["refused"]


@pytest.mark.slow
def test_a_voice_that_never_spoke_has_no_place(worker: BrowserWorker) -> None:
    voice = worker.ask("explore", {"call": "follow", "map": SHIPPED, "rate": 16_000})["voice"]
    silence = to_base64(np.zeros(32_000, np.int16))
    request = {"call": "voice", "voice": voice, "samples": silence}
    assert worker.ask("explore", request) == {"speaking": False}
    assert worker.ask("explore", {"call": "leave", "voice": voice}) == {}


def assert_same_place(own: Any, theirs: Any) -> None:
    """Both lie in the same place, beside the same clips."""
    for name, at in theirs["at"].items():
        assert own["at"][name] == pytest.approx(at, abs=1e-3)
    assert len(set(own["rows"]) & set(theirs["rows"])) >= 14
    assert own["similarities"] == pytest.approx(theirs["similarities"], abs=1e-3)
