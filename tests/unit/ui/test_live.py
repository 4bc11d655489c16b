"""Live without a browser: the calls that a page makes, the desk's microphone, the load it bears."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from support.command import here

from serdemo.audio import microphone, waveform
from serdemo.experiments import page_load as load_bench
from serdemo.inference import live_session, speed
from serdemo.inference.predictor import Predictor
from serdemo.nn import description
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Prediction, Segment
from serdemo.ui import build
from serdemo.ui.live import handlers, local_microphone, route
from serdemo.ui.live.handlers import Live
from serdemo.ui.shell import examples, rpc
from serdemo.ui.shell.session import Visitors, WarmPredictor

PIECE = 1536
UNSAID = {"host": "127.0.0.1:7860"}  # what no browser sends: a call without its origin
HANDED_ON = ("x-forwarded-for", "X-Forwarded-Host", "forwarded", "x-real-ip", "via")


@pytest.fixture(scope="module")
def predictor(tiny_checkpoint: Path) -> Predictor:
    return Predictor(tiny_checkpoint, device="cpu")


@pytest.fixture
def page(predictor: Predictor) -> Iterator[Live]:
    made = Live(Visitors(WarmPredictor(lambda: predictor)))
    yield made
    made.service.shutdown()


def visitor(
    address: str = "127.0.0.1", host: str = "127.0.0.1:7860", origin: str = "", **headers: str
) -> Any:
    told = {"host": host, "origin": origin or f"http://{host}", **headers}
    return SimpleNamespace(client=SimpleNamespace(host=address), headers=told)


def call(page: Live, name: str, **asked: Any) -> Any:
    """The answer as the browser gets it: through JSON."""
    return json.loads(json.dumps(page.call({"call": name, **asked}, visitor()), allow_nan=False))


def voice() -> waveform.Samples:
    """Some seconds of an example voice."""
    path = examples.EXAMPLES_DIR / next(iter(examples.EXAMPLES.values()))
    return waveform.decode(path).samples


def push(page: Live, stream: str, sequence: int, samples: Any, since: float = 0.0) -> Any:
    sound = waveform.to_int16(samples)
    return call(page, "push", stream=stream, sequence=sequence, samples=sound, since=since)


def say(page: Live, stream: str, samples: waveform.Samples) -> Any:
    """Push it all in pieces of a browser's size, and wait until it is answered."""
    pieces = [samples[at : at + PIECE] for at in range(0, len(samples), PIECE)]
    for sequence, piece in enumerate(pieces):
        push(page, stream, sequence, piece)
    nothing = np.zeros(0, np.float32)
    for sequence in range(len(pieces), len(pieces) + 500):
        told = push(page, stream, sequence, nothing)
        if told["received"] == len(samples):
            return told
        time.sleep(0.02)
    pytest.fail(f"only {told['received']} of {len(samples)} samples were received")


def wait_until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.02)


# Calls


@pytest.mark.slow
def test_a_stream_is_answered_and_counted(page: Live, predictor: Predictor) -> None:
    stream = call(page, "open", rate=16_000)["stream"]
    told = say(page, stream, voice())
    assert told["says"].startswith(("Sounds ", "Not sure: "))
    assert set(told["labels"]) <= set(predictor.labels)
    assert told["shares"] == [told["probabilities"][label] for label in told["labels"]]
    assert told["received_s"] == pytest.approx(len(voice()) / 16_000, abs=1e-3)
    assert told["scored"] == len([s for s in told["segments"] if s["speech"] > 0]) > 2
    assert told["streams"] == 1
    ends = [segment["end_s"] for segment in told["segments"]]
    later = push(page, stream, 10_000, np.zeros(0, np.float32), since=ends[1])
    assert [segment["end_s"] for segment in later["segments"]] == ends[2:]


def test_a_piece_sent_twice_is_taken_once(page: Live) -> None:
    stream = call(page, "open", rate=16_000)["stream"]
    for _ in range(3):
        push(page, stream, 0, voice()[:PIECE])
    assert say(page, stream, voice()[: 4 * PIECE])["received"] == 4 * PIECE


@pytest.mark.slow
def test_closing_answers_the_whole_and_forgets_it(page: Live) -> None:
    stream = call(page, "open", rate=16_000)["stream"]
    say(page, stream, voice())
    whole = call(page, "close", stream=stream, since=0.0)
    assert whole["says"].startswith(("Sounds ", "Not sure: "))
    assert whole["segments"][-1]["end_s"] == pytest.approx(len(voice()) / 16_000, abs=1e-3)
    assert whole["received"] == len(voice())
    assert len(page.service) == 0
    assert call(page, "close", stream=stream) == {}


def test_a_full_server_says_so_to_the_page(page: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page.service, "_max_streams", 1)
    assert "full" not in call(page, "open", rate=16_000)
    refused = call(page, "open", rate=16_000)
    assert refused["refused"].startswith("All 1 places for live sound are taken")
    assert refused["full"] is True
    assert "full" not in call(page, "open", rate=1)


def test_streams_are_known_by_handles_that_cannot_be_guessed(page: Live) -> None:
    handles = {call(page, "open", rate=16_000)["stream"] for _ in range(8)}
    assert len(handles) == 8
    assert min(map(len, handles)) >= 32
    for guess in ("", "0", next(iter(handles))[:-1]):
        told = push(page, guess, 0, voice()[:PIECE])
        assert told.keys() == {"refused", "gone"}
        assert told["gone"] is True
        assert call(page, "read_local", stream=guess, first=0, since=0.0)["gone"] is True


def test_gone_is_told_only_of_streams_that_are(page: Live) -> None:
    stream = call(page, "open", rate=16_000)["stream"]
    told = call(page, "push", stream=stream, sequence=0, samples="no sound", since=0.0)
    assert told["gone"] is False
    call(page, "close", stream=stream)
    assert push(page, stream, 0, voice()[:PIECE])["gone"] is True


@pytest.mark.parametrize(
    "asked",
    [
        None,
        [],
        "open",
        {},
        {"call": "shutdown"},
        {"call": ["open"]},
        {"call": "open"},
        {"call": "open", "rate": "16000"},
        {"call": "open", "rate": True},
        {"call": "open", "rate": 0},
        {"call": "open", "rate": 10**9},
        {"call": "push"},
        {"call": "push", "stream": 7, "sequence": 0, "samples": "", "since": 0},
        {"call": "push", "stream": "x", "sequence": 0, "samples": "AAAA", "since": 0},
        {"call": "close", "stream": None},
        {"call": "read_local", "stream": "x"},
    ],
    ids=str,
)
def test_a_wrong_call_is_refused_in_a_sentence(page: Live, asked: Any) -> None:
    told = page.call(asked, visitor())
    assert told["refused"].rstrip().endswith(".")
    assert len(page.service) == 0


def test_the_route_takes_sound_and_refuses_all_else_in_a_sentence(page: Live) -> None:
    client = TestClient(Starlette(routes=[route.route(page.call)]))
    stream = call(page, "open", rate=16_000)["stream"]
    sound = waveform.to_int16(voice()[:PIECE]).tobytes()
    for query, body, status in (
        ("sequence=0", b"A", 400),
        ("sequence=0", b"AAA", 400),
        ("sequence=x", sound, 400),
        ("sequence=0&since=x", sound, 400),
        ("since=0", sound, 400),
        ("sequence=0", bytes(route.MAX_BYTES + 2), 413),
    ):
        answer = client.post(f"/serdemo-live/{stream}?{query}", content=body)
        assert answer.status_code == status
        assert answer.json()["refused"].rstrip().endswith(".")
    gone = client.post("/serdemo-live/nobody?sequence=0", content=sound).json()
    assert gone["gone"] is True and gone["refused"].endswith(".")
    for _ in range(2):  # the second time for nothing
        answer = client.post(f"/serdemo-live/{stream}?sequence=0&since=0", content=sound)
    assert answer.status_code == 200 and "refused" not in answer.json()
    page.service.flush(stream, 10)
    assert page.service.state(stream).received_samples == PIECE
    assert client.get(f"/serdemo-live/{stream}").status_code == 405


def test_sound_that_waits_too_long_is_sent_again_later(
    page: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = call(page, "open", rate=16_000)["stream"]
    monkeypatch.setattr(live_session, "MAX_BACKLOG_S", 0.05)
    refused = push(page, stream, 0, voice()[:PIECE])
    assert refused["busy"] is True and refused["refused"].endswith(".") and not refused["gone"]
    monkeypatch.undo()
    assert say(page, stream, voice()[:PIECE])["received"] == PIECE


def test_when_all_places_are_taken_it_says_so(page: Live) -> None:
    told = [call(page, "open", rate=16_000) for _ in range(65)]
    assert ["stream" in one for one in told] == [True] * 64 + [False]
    assert "places for live sound are taken: try again" in told[-1]["refused"]


def test_without_a_model_it_says_why_and_no_more() -> None:
    def missing() -> Any:
        raise SerdemoError("There is no checkpoint here: give one with --checkpoint.")

    def broken() -> Any:
        raise RuntimeError("secret detail")

    for factory, sentence in ((missing, "There is no checkpoint here"), (broken, "went wrong")):
        told = Live(Visitors(WarmPredictor(factory))).call(
            {"call": "open", "rate": 16_000}, visitor()
        )
        assert sentence in told["refused"]
        assert "secret" not in told["refused"]


def test_the_example_is_several_voices_with_pauses(page: Live) -> None:
    told = call(page, "example")
    samples = rpc.from_base64(told["samples"])
    assert told["rate"] == 16_000
    assert 8 < len(samples) / told["rate"] < 30
    loud = np.abs(samples.astype(np.int32)) > 600
    assert loud.mean() > 0.1
    assert not loud[: round(examples.PAUSE_S * told["rate"])].any()


# Answers


def known(label: str, confidence: float, unsure: bool, speech: float = 1.0) -> Prediction:
    rest = (1 - confidence) / 2
    probabilities = {"angry": confidence, "happy": rest + 0.01, "sad": rest - 0.01}
    part = Segment(0.0, 3.0, label, confidence, probabilities, speech)
    return Prediction("live", 3.0, label, confidence, unsure, probabilities, (part,), ("Careful.",))


def test_an_unsure_answer_names_two_labels_and_their_shares() -> None:
    told = handlers.answer(known("angry", 0.4, unsure=True), 0.0)
    assert told["says"] == "Not sure: angry or happy"
    assert told["labels"] == ["angry", "happy"]
    assert told["shares"] == pytest.approx([0.4, 0.31])
    assert told["warnings"] == ["Careful."]
    assert handlers.answer(known("angry", 0.9, unsure=False), 0.0)["labels"] == ["angry"]


def test_without_a_voice_no_label_is_told() -> None:
    nothing = Prediction("live", 0.0, "", 0.0, True, {})
    for quiet in (
        nothing,
        known("no speech", 0.0, True),
        known("angry", 0.4, True, speech=0.0),
    ):
        told = handlers.answer(quiet, 0.0)
        assert told["says"] == "No voice heard"
        assert told["labels"] == told["shares"] == []
        assert told["probabilities"] == {}


# The desk's microphone


class FakeMicrophone:
    """Stands in for an input: block after block of a tone, until it is closed or unplugged."""

    rate = 16_000
    lost_samples = 0

    def __init__(self) -> None:
        self.closed = threading.Event()
        self.unplugged = False

    def __iter__(self) -> Iterator[waveform.Samples]:
        while not self.closed.is_set():
            if self.unplugged:
                raise SerdemoError("The microphone sends no more sound: plug it in again.")
            time.sleep(0.01)
            yield np.full((1600, 1), 0.25, np.float32)

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> FakeMicrophone:
    fake = FakeMicrophone()
    monkeypatch.setattr(microphone, "open_microphone", lambda device: fake)
    found = microphone.Device(3, "Desk mic", 1, 16_000, True)
    monkeypatch.setattr(microphone, "devices", lambda: [found])
    return fake


@pytest.mark.slow
def test_the_desks_microphone_is_heard_with_its_sound(page: Live, plugged: FakeMicrophone) -> None:
    assert call(page, "list_local") == {"microphones": [{"device": 3, "name": "Desk mic"}]}
    opened = call(page, "open_local", device=3)
    assert opened["rate"] == 16_000
    first, heard = 0, []
    for _ in range(20):
        told = call(page, "read_local", stream=opened["stream"], first=first, since=0.0)
        heard.append(rpc.from_base64(told["samples"]))
        first += len(heard[-1])
        time.sleep(0.02)
    assert first >= 5 * 1600
    assert set(np.concatenate(heard).tolist()) == {round(0.25 * 32_767)}
    assert told["received"] > 0
    assert told["lost"] == 0
    # An answer that was lost on its way is asked for again.
    again = call(page, "read_local", stream=opened["stream"], first=first, since=0.0)
    more = call(page, "read_local", stream=opened["stream"], first=first, since=0.0)
    assert len(more["samples"]) >= len(again["samples"])
    call(page, "close", stream=opened["stream"])
    assert plugged.closed.is_set()
    assert len(page.service) == 0


@pytest.mark.slow
def test_a_page_that_has_gone_lets_the_microphone_go(
    page: Live, plugged: FakeMicrophone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_microphone, "IDLE_S", 0.2)
    opened = call(page, "open_local", device=3)
    listening = page._local.find(opened["stream"])
    wait_until(plugged.closed.is_set)
    wait_until(lambda: len(page.service) == 0)
    assert len(listening.fetch(0)) == 0  # what was heard is forgotten too
    assert call(page, "read_local", stream=opened["stream"], first=0, since=0.0)["gone"] is True


def test_an_unplugged_desk_microphone_says_what_to_do(page: Live, plugged: FakeMicrophone) -> None:
    opened = call(page, "open_local", device=3)
    plugged.unplugged = True
    wait_until(plugged.closed.is_set)
    told = call(page, "read_local", stream=opened["stream"], first=0, since=0.0)
    assert "plug it in again" in told["refused"]


@pytest.mark.parametrize(
    ("request_", "sits"),
    [
        (visitor(), True),
        (visitor("::1", "localhost:7860", "http://localhost:7860"), True),
        (visitor(host="[::1]:7860"), True),
        (visitor("192.168.1.7", "192.168.1.2:7860"), False),
        (visitor(host="abc.gradio.live"), False),
        (visitor(origin="https://evil.example"), False),
        (visitor(origin="null"), False),
        (visitor(origin="http://127.0.0.1:3000"), False),  # another page of this machine
        (visitor("127.0.0.1", "evil.example:7860"), False),  # a name that leads to this machine
        # A proxy on this machine that names it as host: nothing but the origin tells
        (visitor(origin="https://serdemo.example"), False),
        (SimpleNamespace(client=SimpleNamespace(host="127.0.0.1"), headers=UNSAID), False),
        *[(visitor(**{name: "203.0.113.7"}), False) for name in HANDED_ON],
        (visitor("testclient"), False),
        (SimpleNamespace(client=None, headers={}), False),
    ],
)
def test_the_desks_microphone_is_for_whom_sits_there(
    page: Live, plugged: FakeMicrophone, request_: Any, sits: bool
) -> None:
    told = page.call({"call": "list_local"}, request_)
    assert bool(told["microphones"]) is sits
    opened = page.call({"call": "open_local", "device": 3}, request_)
    assert ("stream" in opened) is sits
    if not sits:
        assert "only at the computer it belongs to" in opened["refused"]
    page.call({"call": "close", "stream": opened.get("stream", "")}, request_)


def test_a_space_offers_no_microphone_of_its_own(
    page: Live, plugged: FakeMicrophone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPACE_ID", "somebody/serdemo")
    assert call(page, "list_local") == {"microphones": []}


def test_without_a_sound_system_none_is_offered(
    page: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Any:
        raise SerdemoError("The microphone needs the PortAudio library.")

    monkeypatch.setattr(microphone, "devices", missing)
    assert call(page, "list_local") == {"microphones": []}


# Load


@pytest.fixture(scope="module")
def served(predictor: Predictor) -> Iterator[str]:
    page = build(lambda: predictor)
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    yield address
    page.close()


@pytest.mark.slow
def test_many_visitors_at_once_lose_nothing_and_get_the_labels_of_the_file(
    served: str, tiny_checkpoint: Path
) -> None:
    told = load_bench.load(3, 4.0, served, tiny_checkpoint)
    assert told["lost_samples"] == 0
    assert told["windows"]["answered"] > 3 * 4
    assert told["windows"]["skipped"] == 0
    assert told["labels_as_file"] == {"mean": 1, "streams": [1, 1, 1]}
    assert told["models"] == {"tiny": 3}
    assert 0 < told["delay_s"]["p50"] <= told["delay_s"]["p99"] < 5
    assert told["rss_mb"] == {"start": None, "minute": None, "end": None}


@pytest.mark.slow
def test_bench_load_prints_one_document(served: str, tiny_checkpoint: Path) -> None:
    options = ("--streams", 1, "--seconds", 3, "--url", served, "--checkpoint", tiny_checkpoint)
    told = here("bench", "load", *options, "--json").json()
    assert told["streams"] == 1
    assert told["seconds"] == 3
    assert {"lost_samples", "delay_s", "rss_mb"} <= told.keys()


def test_bench_load_says_what_is_wrong_with_an_address(unused_tcp_port: int) -> None:
    ran = here("bench", "load", "--url", f"http://127.0.0.1:{unused_tcp_port}")
    assert ran.code == 1
    assert "cannot be reached" in ran.err

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"components": []}')

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as other:
        threading.Thread(target=other.handle_request, daemon=True).start()
        ran = here("bench", "load", "--url", f"http://127.0.0.1:{other.server_port}")
    assert ran.code == 1
    assert "is no page of serdemo" in ran.err


@pytest.fixture
def unused_tcp_port() -> int:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as probe:
        return probe.server_port


# Getting used to a voice


@pytest.fixture(scope="module")
def adapting(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """A model with a prior, whose means of emotions lie far from what it hears."""
    labels = description.read_description(tiny_checkpoint).labels
    means = {label: [3.0 + n] * 8 for n, label in enumerate(labels)}
    prior = {"class_means": means, "discriminants": [[100.0] * 8], "offset_scale": 1e-3}
    return described(tiny_checkpoint, tmp_path_factory.mktemp("adapting"), speaker_prior=prior)


def described(checkpoint: Path, folder: Path, **entries: Any) -> Predictor:
    """The model of a copy of a checkpoint with other entries in its description."""
    shutil.copytree(checkpoint, folder / "tiny")
    copied = description.read_description(folder / "tiny")
    description.write_description(folder / "tiny", replace(copied, **entries))
    return Predictor(folder / "tiny", device="cpu")


@contextmanager
def page_of(model: Predictor) -> Iterator[Live]:
    made = Live(Visitors(WarmPredictor(lambda: model)))
    yield made
    made.services.shutdown()


@pytest.fixture
def adapting_page(adapting: Predictor) -> Iterator[Live]:
    with page_of(adapting) as made:
        yield made


@pytest.mark.slow
def test_a_voice_grows_is_given_to_the_page_and_taken_back_from_it(adapting_page: Live) -> None:
    page, sound = adapting_page, np.concatenate([voice(), voice()])
    opened = call(page, "open", rate=waveform.SAMPLE_RATE, adapt=True)
    assert opened["model"] == "tiny" and opened["instead"] == ""
    assert opened["voice"]["adapts"] and not opened["voice"]["calibrates"]
    plain_stream = call(page, "open", rate=waveform.SAMPLE_RATE)["stream"]
    plain = say(page, plain_stream, sound)
    assert plain["adapted_s"] == 0
    used = say(page, opened["stream"], sound)
    assert 2 < used["adapted_s"] <= len(sound) / waveform.SAMPLE_RATE
    assert 0 < used["adaptation"] <= 1
    moved = [abs(used["probabilities"][k] - plain["probabilities"][k]) for k in used["labels"]]
    assert max(moved) > 0.02

    known = call(page, "voice", stream=opened["stream"])
    assert known["adapted_s"] == used["adapted_s"]
    assert known["voice"]["model"] == opened["voice"]["fingerprint"]
    assert len(json.dumps(known)) < 20_000  # it goes to the browser every few seconds
    again = call(page, "open", rate=waveform.SAMPLE_RATE, adapt=True)["stream"]
    assert call(page, "restore", stream=again, voice=known["voice"]) == {}
    later = call(page, "voice", stream=again)["voice"]
    assert later == known["voice"]
    seconds = push(page, again, 0, np.zeros(0, np.float32))["adapted_s"]
    assert seconds == pytest.approx(known["adapted_s"], abs=1e-3)

    assert call(page, "forget", stream=again) == {}
    assert call(page, "voice", stream=again) == {
        "voice": None,
        "adapted_s": 0,
        "adaptation": 0,
        "voice_changes": 0,
    }
    assert call(page, "adapt", stream=opened["stream"], adapt=False) == {}
    assert call(page, "voice", stream=opened["stream"])["voice"] is None


def test_a_voice_of_another_model_or_no_voice_is_refused(adapting_page: Live) -> None:
    opened = call(adapting_page, "open", rate=waveform.SAMPLE_RATE, adapt=True)
    good = {"model": opened["voice"]["fingerprint"], "counts": [3.0, 1.0, 0.0]}
    good |= {"mean": [0.0] * 8, "scatter": [0.0]}
    restore = {"call": "restore", "stream": opened["stream"], "voice": good}
    assert adapting_page.call(restore, visitor()) == {}
    for wrong in (
        "text",
        {**good, "model": "another"},
        {**good, "mean": [0.0] * 7},
        {**good, "mean": [1e400] * 8},
        {**good, "counts": ["3", 1.0, 0.0]},
    ):
        asked = {"call": "restore", "stream": opened["stream"], "voice": wrong}
        assert adapting_page.call(asked, visitor())["refused"].endswith(".")
    wrong = {"call": "adapt", "stream": opened["stream"], "adapt": "no"}
    assert "of type bool" in adapting_page.call(wrong, visitor())["refused"]


@pytest.mark.slow
def test_an_everyday_voice_is_the_labelled_case(tiny_checkpoint: Path, tmp_path: Path) -> None:
    model = described(tiny_checkpoint, tmp_path, neutral=[3.0] * 8)
    with page_of(model) as page:
        opened = call(page, "open", rate=waveform.SAMPLE_RATE, adapt=True)
        assert not opened["voice"]["adapts"] and opened["voice"]["calibrates"]
        stream = opened["stream"]
        assert "Nothing was heard yet" in call(page, "calibrate", stream=stream)["refused"]
        sound = np.concatenate([voice(), voice()])
        assert say(page, stream, sound)["adapted_s"] == 0
        known = call(page, "calibrate", stream=stream)
        assert all(isinstance(warning, str) for warning in known["warnings"])
        taken = call(page, "voice", stream=stream)["voice"]
        assert 2 < taken["counts"][0] <= 6.1
        silent = call(page, "open", rate=waveform.SAMPLE_RATE)["stream"]
        say(page, silent, np.zeros(waveform.SAMPLE_RATE, np.float32))
        assert "speech were heard" in call(page, "calibrate", stream=silent)["refused"]


def test_a_model_without_a_prior_says_so(page: Live) -> None:
    opened = call(page, "open", rate=waveform.SAMPLE_RATE, adapt=True)
    assert opened["voice"] == {"adapts": False, "calibrates": False, "fingerprint": ""}
    assert call(page, "voice", stream=opened["stream"])["voice"] is None


# Which model answers


def test_the_smallest_model_stands_in_for_a_default_that_is_too_slow(
    tiny_checkpoint: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Predictor(tiny_checkpoint, device="cpu")
    folders = {"big": predictor.folder, "small": tiny_checkpoint}
    visitors = Visitors(WarmPredictor(lambda: predictor))
    monkeypatch.setattr(visitors, "at", lambda folder: small)
    monkeypatch.setattr(handlers, "SHIPPED", "big")
    monkeypatch.setattr(handlers, "SMALLEST", "small")
    monkeypatch.setattr(handlers, "bundled_checkpoint", lambda name="big": folders[name])
    cost_s = {predictor: 0.05, small: 0.01}
    monkeypatch.setattr(speed, "window_cost_s", cost_s.__getitem__)
    page = Live(visitors)

    def opened() -> tuple[bool, str]:
        told = call(page, "open", rate=waveform.SAMPLE_RATE)
        return told["stream"] in page.services.of(small), told["instead"]

    # Nine streams take nine tenths of the time; with a tenth none would be answered in time.
    assert [opened() for _ in range(9)] == [(False, "")] * 9
    is_small, sentence = opened()
    assert is_small and sentence.startswith("tiny answers: tiny would come late")
    visitors.choose("anna", predictor.folder)  # who chose the model gets it
    told = call(page, "open", rate=waveform.SAMPLE_RATE, visitor="anna")
    assert told["instead"] == ""
    monkeypatch.setattr(handlers, "SMALLEST", "big")
    assert opened() == (False, "")
    page.services.shutdown()


def test_the_expected_delay_grows_with_the_streams() -> None:
    delays = [speed.expected_delay_s(0.05, n * 0.05 / 0.5) for n in (1, 5, 8, 9)]
    assert delays == sorted(delays)
    assert delays[0] == pytest.approx(speed.PIECE_S + 0.05 * (1 + 0.1 / 1.8))
    assert delays[-1] < speed.MAX_DELAY_S
    assert speed.expected_delay_s(0.05, 1.0) == float("inf")
