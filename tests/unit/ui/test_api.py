"""Endpoints for programs, called without a server: files, refusals, what is left behind."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
import soundfile
from starlette.requests import Request
from support.asynchronous import run_async

from serdemo.audio import waveform
from serdemo.inference.predictor import Predictor
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.ui import build, launch
from serdemo.ui.api import endpoints as endpoints_module
from serdemo.ui.api import live, mcp
from serdemo.ui.api.endpoints import Endpoints
from serdemo.ui.api.files import discard, received
from serdemo.ui.shell.call_errors import EXCEPTION_HANDLERS
from serdemo.ui.shell.page import Page

FILE = {"meta": {"_type": "gradio.FileData"}}
LOCAL = {"host": "127.0.0.1:7860"}


def caller(address: str = "127.0.0.1", **headers: str) -> Any:
    """A program's request, by default one from this machine."""
    client = SimpleNamespace(host=address)
    return SimpleNamespace(client=client, headers={**LOCAL, **headers}, session_hash="s")


VISITOR = caller("192.0.2.1")


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Gradio's upload folder, moved to where the test can see it."""
    folder = tmp_path / "uploads"
    folder.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    monkeypatch.setenv("SERDEMO_RUNS", str(tmp_path / "runs"))
    return folder


def upload(folder: Path, name: str = "a.wav", seconds: float = 2.0) -> dict[str, Any]:
    """A tone that was uploaded, as gradio's FileData."""
    path = folder / f"hash-{name}-{seconds}" / name
    path.parent.mkdir()
    time = np.arange(int(seconds * 16_000)) / 16_000
    soundfile.write(path, 0.4 * np.sin(2 * np.pi * 220 * time), 16_000)
    return {**FILE, "path": str(path), "orig_name": name}


def left(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.name != "vibe_edit_history"]


@pytest.fixture(scope="module")
def page() -> Page:
    return build(lambda: Predictor(device="cpu"))


@pytest.fixture
def endpoints(page: Page) -> Endpoints:
    return Endpoints(page)


# Files


@pytest.mark.parametrize(
    "item",
    [
        {**FILE, "path": "/etc/passwd"},
        {**FILE, "path": "a.wav", "url": "file:///etc/passwd"},
        {**FILE, "path": "http://127.0.0.1:1/a.wav", "url": "http://127.0.0.1:1/a.wav"},
        {**FILE, "path": "{uploads}/../secret.wav"},
        {**FILE, "path": "{uploads}"},
        {"path": ["a"], "orig_name": 5},
        {"url": "https://example.org/a.wav"},
        "https://example.org/gradio_api/file=/etc/passwd",
        "/etc/passwd",
        "a\0b.wav",
        "/" + "x" * 100_000,
        "data:audio/wav;base64,####",
        7,
        None,
        [[{"a": {"b": []}}]],
    ],
)
def test_what_was_not_uploaded_is_refused_and_stays(uploads: Path, item: Any) -> None:
    secret = uploads.parent / "secret.wav"
    secret.write_bytes(b"secret")
    if isinstance(item, dict) and "{uploads}" in str(item.get("path")):
        item = {**item, "path": item["path"].format(uploads=uploads)}
    (recording,) = received([item])
    assert recording.path is None and 20 < len(recording.refusal) < 400
    assert recording.refusal.count(". ") == 0
    discard(recording)
    assert secret.exists() and left(uploads) == []


def test_a_file_is_named_by_its_path_its_address_or_its_bytes(uploads: Path) -> None:
    file = upload(uploads, "my voice.wav")
    data = Path(file["path"]).read_bytes()
    address = f"https://some.host/demo/gradio_api/file={file['path'].replace(' ', '%20')}"
    inline = "data:audio/x-wav;base64," + base64.b64encode(data).decode()
    recordings = received([file, file["path"], address, inline])
    assert [recording.name for recording in recordings] == [*["my voice.wav"] * 3, "sound.wav"]
    assert all(one.path and one.path.read_bytes() == data for one in recordings)
    for recording in recordings:
        discard(recording)
    assert left(uploads) == []


def test_a_single_file_needs_no_list_and_too_many_are_refused_and_deleted(uploads: Path) -> None:
    file = upload(uploads)
    assert len(received(file)) == 1
    with pytest.raises(UsageError, match="50 files, not 51"):
        received([file] * 51)
    assert left(uploads) == []
    for nothing in ([], None):
        with pytest.raises(UsageError, match="at least one"):
            received(nothing)


# Answers


def test_predict_gives_what_the_command_line_gives(uploads: Path, endpoints: Endpoints) -> None:
    files = [upload(uploads, "a.wav"), {**FILE, "path": "/etc/passwd"}, upload(uploads, "b.wav", 9)]
    expected = list(endpoints.page.model.get().predict_many([files[0]["path"], files[2]["path"]]))
    first, refused, last = endpoints.predict(caller(), files)
    for entry, prediction in zip((first, last), expected, strict=True):
        assert not isinstance(prediction, SerdemoError)
        values = json.loads(json.dumps(prediction.to_json()))
        assert json.loads(json.dumps(entry)) == values
    assert list(refused) == ["file", "error"] and refused["file"] == "passwd"
    assert left(uploads) == []


def test_embed_gives_the_vector_of_the_clip(uploads: Path, endpoints: Endpoints) -> None:
    file = upload(uploads)
    (output,) = endpoints.page.model.get().embed_many([file["path"]])
    assert not isinstance(output, SerdemoError)
    (entry,) = endpoints.embed(VISITOR, [file])
    assert np.allclose(entry["embedding"], output.embedding, atol=1e-6)
    (voice,) = endpoints.embed(VISITOR, [upload(uploads)], "speaker")
    assert len(voice["embedding"]) == 192 and voice["model"] == "speaker"
    assert left(uploads) == []


def test_compare_sets_two_models_side_by_side(uploads: Path, endpoints: Endpoints) -> None:
    voice = Path(waveform.__file__).parent / "examples" / "polish-even.flac"
    text = "data:audio/flac;base64," + base64.b64encode(voice.read_bytes()).decode()
    entry, refused = endpoints.compare(VISITOR, [text, "x"], "compact", "compact")
    assert entry["a"] == entry["b"] and entry["agree"] and entry["a"]["file"] == "sound.flac"
    assert set(refused) == {"file", "error"}
    assert left(uploads) == []


def test_models_lists_the_default_with_its_figures(uploads: Path, endpoints: Endpoints) -> None:
    rows = endpoints.models(VISITOR)
    assert [row["key"] for row in rows if row["default"]] == ["base"]
    assert all(len(row["labels"]) == 7 and 1 < row["size_mb"] < 20 for row in rows)
    assert all(0 < figure["value"] < 1 for row in rows for figure in row["figures"].values())
    assert str(Path.home()) not in json.dumps(rows)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"same_speaker": "yes"}, "same_speaker"),
        ({"same_speaker": True}, "two or more"),
        ({"model": 5}, "model"),
        ({"model": "../secret"}, "no model"),
        ({"model": "speaker"}, "no emotion classifier"),
        ({"model": "x" * 10_000}, "no model"),
    ],
)
def test_wrong_arguments_end_in_a_sentence_and_leave_nothing(
    uploads: Path, endpoints: Endpoints, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(gr.Error, match=words) as raised:
        endpoints.predict(VISITOR, [upload(uploads)], **arguments)
    assert len(raised.value.message) < 300 and not raised.value.print_exception
    assert left(uploads) == []


def test_a_fault_inside_leaves_as_a_sentence_and_no_file(
    uploads: Path, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret path /home/me")

    monkeypatch.setattr(endpoints.page.model.get(), "predict_many", fail)
    with pytest.raises(gr.Error, match="went wrong") as raised:
        endpoints.predict(VISITOR, [upload(uploads)])
    assert "secret" not in raised.value.message and left(uploads) == []


def test_a_visitor_has_limits_that_a_local_program_has_not(
    uploads: Path, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, name: str) -> None:
        raise UsageError(f"{name} is too large.")

    monkeypatch.setattr(endpoints_module, "check_size", refuse)
    (entry,) = endpoints.predict(VISITOR, [upload(uploads)])
    assert entry == {"file": "a.wav", "error": "a.wav is too large."}
    (entry,) = endpoints.predict(caller(), [upload(uploads)])
    assert "error" not in entry
    assert left(uploads) == []


@pytest.mark.parametrize(
    ("request_", "local"),
    [
        (caller(), True),
        (caller(origin="http://127.0.0.1:7860"), True),
        (caller(origin="https://evil.example"), False),
        (caller(host="serdemo.example"), False),
        (VISITOR, False),
        (caller(**{"x-forwarded-for": "192.0.2.1"}), False),
        (caller(**{"x-gradio-user": "mcp"}), False),  # gradio itself, for whatever agent
    ],
)
def test_who_is_a_program_on_this_machine(page: Page, request_: Any, local: bool) -> None:
    assert page.is_local_program(request_) is local


# What gradio hands over


def test_arguments_arrive_as_sent_with_the_defaults_of_the_last(page: Page) -> None:
    (predict,) = (fn for fn in page.fns.values() if fn.api_name == "predict")
    sent = [[{**FILE, "path": "http://127.0.0.1:1/a.wav"}]]
    assert run_async(page.preprocess_data(predict, sent, None)) == [*sent, False, ""]
    for wrong in ([], [1, 2, 3, 4]):
        with pytest.raises(gr.Error, match="arguments"):
            run_async(page.preprocess_data(predict, wrong, None))


def test_every_argument_is_described(page: Page) -> None:
    page.config = page.get_config_file()
    described = page.get_api_info()["named_endpoints"]
    assert set(described) == {f"/{fn.api_name}" for fn in page.fns.values() if _is_public(fn)}
    for name, endpoint in described.items():
        assert len(endpoint["description"]) > 40, name
        for parameter in endpoint["parameters"]:
            assert parameter["label"] == parameter["parameter_name"]
            assert len(parameter["python_type"]["description"]) > 20, (name, parameter["label"])
        assert all(given["type"] for given in endpoint["returns"]), name


def _is_public(function: Any) -> bool:
    return bool(function.api_visibility == "public")


@pytest.mark.parametrize(
    ("problem", "path", "status"),
    [
        (KeyError("/nothing"), "/gradio_api/call/v2/nothing", 404),
        (KeyError(184), "/demo/gradio_api/queue/join", 404),
        (TypeError("No value provided for required argument: files"), "/x/call/v2/predict", 422),
    ],
)
def test_calls_that_reach_no_endpoint_are_told_why(
    problem: Exception, path: str, status: int
) -> None:
    handler = EXCEPTION_HANDLERS[type(problem)]
    request = Request({"type": "http", "path": path, "headers": [], "server": ("host", 80)})
    response = handler(request, problem)
    assert response.status_code == status and len(json.loads(response.body)["detail"]) > 20
    # A fault elsewhere stays one, also below a proxy's path that looks like a call's.
    elsewhere = {
        "type": "http",
        "path": "/api/gradio_api/file=a",
        "headers": [],
        "server": ("h", 80),
    }
    with pytest.raises(type(problem)):
        handler(Request(elsewhere), problem)


# Agents


def test_without_the_package_mcp_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp, "find_spec", lambda name: None)
    with pytest.raises(SerdemoError, match=r'pip install "serdemo\[mcp\]"'):
        launch(mcp=True)
    monkeypatch.setenv("GRADIO_MCP_SERVER", "True")
    with pytest.raises(SerdemoError, match="mcp"):
        launch()


# Live


def test_a_stream_gives_states_and_the_prediction_of_the_whole(page: Page) -> None:
    own = live.LiveEndpoints(Endpoints(page))
    voice = Path(waveform.__file__).parent / "examples" / "english-quick-high.flac"
    samples = waveform.to_int16(waveform.decode(voice).samples)
    opened = own.live_open(VISITOR, 16_000, "compact")
    assert opened["model"] == "compact"
    for number, start in enumerate(range(0, len(samples), 8000)):
        piece = base64.b64encode(samples[start : start + 8000].astype("<i2").tobytes()).decode()
        for _ in range(2):  # one that is sent again is taken once
            state = own.live_push(opened["stream"], number, piece, 1)
    assert state["received_s"] == pytest.approx(len(samples) / 16_000, abs=0.01)
    assert state["skipped"] == 0 and all(part["end_s"] > 1 for part in state["segments"])
    whole = own.live_close(opened["stream"])
    expected = page.visitors.at(endpoints_folder("compact")).predict(voice)
    assert whole["label"] == expected.label
    assert whole["confidence"] == pytest.approx(expected.confidence, abs=0.02)
    with pytest.raises(gr.Error, match="closed"):
        own.live_push(opened["stream"], 99, "")


def endpoints_folder(key: str) -> Path:
    from serdemo.nn.checkpoint_files import bundled_checkpoint

    return bundled_checkpoint(key)


def test_streams_of_programs_have_limits(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    own = live.LiveEndpoints(Endpoints(page))
    streams = [own.live_open(VISITOR, 16_000, "compact")["stream"] for _ in range(live.MAX_STREAMS)]
    with pytest.raises(gr.Error, match="16 streams"):
        own.live_open(VISITOR, 16_000, "compact")
    long = base64.b64encode(bytes(2 * 16_000 * 6)).decode()
    for arguments, words in (
        ((streams[0], 0, long), "5 s"),
        ((streams[0], "0", ""), "sequence"),
        ((streams[0], 0, "####"), "base64"),
        (("no stream", 0, ""), "closed"),
        ((streams[0], 0, "", "x"), "since"),
    ):
        with pytest.raises(gr.Error, match=words):
            own.live_push(*arguments)  # type: ignore[arg-type]
    for stream in streams:
        page.visitors.live_services.find(stream).close(stream)
    assert own.live_open(VISITOR, 16_000, "compact")["stream"] not in streams
    for rate in (0, -1, 10**9, 16_000.0, "x"):
        with pytest.raises(gr.Error):
            own.live_open(VISITOR, rate, "compact")  # type: ignore[arg-type]
