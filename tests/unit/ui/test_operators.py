"""What operators see of a page: its health, its metrics, its log."""

from __future__ import annotations

import logging
import re
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from support.asynchronous import run_async

from serdemo import __version__
from serdemo.inference.predictor import Predictor
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.ui import build
from serdemo.ui.live.handlers import Live
from serdemo.ui.shell import activity, metrics
from serdemo.ui.shell.activity import Activity, note_refusal
from serdemo.ui.shell.page import Page
from serdemo.ui.shell.session import WarmPredictor
from serdemo.ui.shell.uploads import FAULT

README = Path(__file__).resolve().parents[3] / "serdemo/ui/README.md"
CALLER = SimpleNamespace(
    client=SimpleNamespace(host="192.0.2.1"),
    headers={"host": "serdemo.example", "x-forwarded-for": "203.0.113.9"},
    session_hash="session",
)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Gradio's upload folder and that of the runs, of this test alone."""
    folder = tmp_path / "uploads"
    folder.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    monkeypatch.setenv("SERDEMO_RUNS", str(tmp_path / "runs"))
    return folder


def figures(page: Page) -> dict[str, float]:
    """What is served for a page, by name and labels."""
    text = generate_latest(metrics.registry(page)).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation and family.type != "unknown"
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def change(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """What differs, without the process's own figures, times and the shapes of histograms."""
    return {
        name: value - before.get(name, 0.0)
        for name, value in after.items()
        if value != before.get(name, 0.0) and not re.search(r"^process_|_sum|_bucket", name)
    }


def answer(page: Page, name: str, *inputs: Any) -> Any:
    """The last output of the page's function of that name for a visitor, as gradio calls it."""
    function = next(one for one in page.fns.values() if one.api_name == name)
    output = run_async(page.process_api(function, list(inputs), request=CALLER))
    while output["is_generating"]:
        iterator = output["iterator"]
        output = run_async(page.process_api(function, [], request=CALLER, iterator=iterator))
    return output["data"]


def sent(folder: Path, name: str, samples: np.ndarray[Any, Any] | None) -> dict[str, Any]:
    """An upload: a sound, or bytes that are none."""
    path = folder / "a-hash" / name
    path.parent.mkdir(exist_ok=True)
    if samples is None:
        path.write_bytes(b"no sound")
    else:
        soundfile.write(path, samples, 16_000)
    return {"path": str(path), "orig_name": name, "meta": {"_type": "gradio.FileData"}}


@pytest.fixture(scope="module")
def predictor(tiny_checkpoint: Path) -> Predictor:
    return Predictor(tiny_checkpoint, device="cpu")


@pytest.fixture
def page(predictor: Predictor) -> Iterator[Page]:
    made = build(lambda: predictor)
    yield made
    made.visitors.live_services.shutdown()


# Metrics


def test_requests_are_counted_by_what_became_of_them(page: Page, folders: Path) -> None:
    tone = 0.4 * np.sin(np.arange(32_000) / 10)
    before = figures(page)
    answer(page, "predict", [sent(folders, "a.wav", tone)])
    answer(page, "predict", [sent(folders, "b.wav", tone)])
    with pytest.raises(gr.Error, match="There is no model 'none' here"):
        answer(page, "embed", [sent(folders, "c.wav", tone)], "none")
    answer(page, "on_example")  # a generator
    counted = "serdemo_requests_total{call=%s,outcome=%s,tab=%s}"
    timed = "serdemo_request_duration_seconds_count{call=%s,tab=%s}"
    assert change(before, figures(page)) == {
        counted % ("predict", "answered", "api"): 2,
        timed % ("predict", "api"): 2,
        counted % ("embed", "refused", "api"): 1,
        timed % ("embed", "api"): 1,
        counted % ("example", "answered", "recognise"): 1,
        timed % ("example", "recognise"): 1,
        "serdemo_model_ready": 1,
        "serdemo_models_loaded": 1,
    }


def test_a_fault_of_ours_fails_with_its_place_alone(
    page: Page, folders: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("of voice of Ada.wav")

    monkeypatch.setattr("serdemo.ui.api.endpoints.received", broken)
    with pytest.raises(gr.Error) as raised:
        answer(page, "predict", [], False, "compact")
    assert raised.value.message == FAULT and not raised.value.print_exception
    with caplog.at_level(logging.INFO), pytest.raises(gr.Error, match="Something went wrong"):
        answer(page, "embed", [], "compact")
    record = caplog.records[-1]
    assert (record.levelname, record.fields["outcome"]) == ("ERROR", "failed")
    assert record.getMessage().startswith("a request failed: Traceback")
    assert record.getMessage().endswith("RuntimeError")


def test_live_sound_is_counted_to_the_sample(page: Page) -> None:
    live = Live(page.visitors)
    visit = SimpleNamespace(client=None, headers={})
    before = figures(page)
    assert before["serdemo_live_streams"] == 0 < before["serdemo_live_places"]
    opened = live.call({"call": "open", "rate": 16_000}, visit)
    stream = opened["stream"]
    noise = (3_000 * np.random.default_rng(0).standard_normal(24_000)).astype("<i2")
    for number, piece in enumerate(np.array_split(noise, 10)):
        push = {"call": "push", "stream": stream, "sequence": number, "samples": piece}
        assert "refused" not in live.call({**push, "since": 0}, visit)
    assert "refused" in live.call({**push, "stream": "another", "since": 0}, visit)
    assert "refused" in live.call({"call": "no"}, visit)
    page.visitors.live_services.find(stream).flush(stream, 20)
    state = page.visitors.live_services.find(stream).state(stream)
    found = change(before, figures(page))
    assert found["serdemo_live_samples_total"] == 24_000
    assert found["serdemo_live_streams"] == 1
    windows = "serdemo_live_windows_total{outcome=%s}"
    for outcome, count in (("scored", state.n_scored), ("silent", state.n_silent)):
        assert found.get(windows % outcome, 0) == count
    assert found.get("serdemo_live_delay_seconds_count", 0) == state.n_scored
    counted = "serdemo_requests_total{call=%s,outcome=%s,tab=live}"
    assert found[counted % ("push", "answered")] == 10
    assert found[counted % ("push", "refused")] == 1
    assert found[counted % ("unknown", "refused")] == 1
    assert found[counted % ("open", "answered")] == 1
    live.call({"call": "close", "stream": stream}, visit)
    assert figures(page)["serdemo_live_streams"] == 0


def test_two_pages_of_a_process_count_apart(page: Page, predictor: Predictor) -> None:
    other = build(lambda: predictor)
    before = figures(other)
    Live(page.visitors).call({"call": "open", "rate": 16_000}, SimpleNamespace(headers={}))
    answer(page, "models")
    assert change(before, figures(other)) == {}
    assert figures(page)["serdemo_live_streams"] == 1


def test_uploads_and_runs_are_measured(page: Page, folders: Path) -> None:
    (folders / "a").mkdir()
    (folders / "a" / "sound.wav").write_bytes(b"x" * 1234)
    found = figures(page)
    assert found["serdemo_uploads_bytes"] == 1234
    assert found["serdemo_runs{state=waiting}"] == found["serdemo_runs{state=running}"] == 0
    assert found[f"serdemo_build_info{{version={__version__}}}"] == 1


def test_the_readme_lists_what_is_served(page: Page) -> None:
    Live(page.visitors).call({"call": "none"}, SimpleNamespace(headers={}))
    text = generate_latest(metrics.registry(page)).decode()
    served = {
        line.split()[2]
        for line in text.splitlines()
        if line.startswith("# TYPE serdemo_") and not line.endswith("_created gauge")
    }
    section = README.read_text(encoding="utf-8").split("| metric |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(serdemo_\w+)`", section)) == served
    for name in re.findall(r"`(process_\w+)`", section):
        assert f"\n{name} " in text


def test_metrics_are_served_on_a_port_of_their_own(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERDEMO_METRICS_PORT", "0")
    server = metrics.serve(page)
    try:
        assert server.server_address[0] == "127.0.0.1"
        address = f"http://127.0.0.1:{server.server_port}/metrics"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(address, timeout=20) as response:
            assert b"\nserdemo_live_streams 0.0\n" in response.read()
    finally:
        server.shutdown()
        server.server_close()


def test_where_metrics_cannot_be_served_a_sentence_says_so(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    for port in ("-1", "65536", "http", "9600.0"):
        monkeypatch.setenv("SERDEMO_METRICS_PORT", port)
        with pytest.raises(UsageError, match=f"SERDEMO_METRICS_PORT is '{port}': set it to a num"):
            metrics.serve(page)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("SERDEMO_METRICS_PORT", str(taken.getsockname()[1]))
        with pytest.raises(SerdemoError, match=r"served on 127\.0\.0\.1, port .* in use"):
            metrics.serve(page)
    monkeypatch.setenv("SERDEMO_METRICS_PORT", "0")
    monkeypatch.setenv("SERDEMO_METRICS_NAME", "no such name")
    with pytest.raises(SerdemoError, match="cannot be served on no such name, port 0 "):
        metrics.serve(page)


# Requests


def test_an_outcome_is_what_leaves_or_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    counts = Activity()
    with caplog.at_level(logging.DEBUG, "serdemo"):
        with counts.request("models", "pull"):
            pass
        with counts.request("models", "push"):
            pass
        with counts.request("models", "pull"):
            try:
                raise UsageError("Name a model of voice of Ada.")
            except UsageError:
                note_refusal()
        with counts.request("models", "pull"):
            try:
                raise OSError
            except OSError:
                note_refusal()
        for problem in (KeyError("x"), gr.Error("no"), GeneratorExit()):
            with pytest.raises(type(problem)), counts.request("api", "predict"):
                raise problem
    note_refusal()  # outside of a request it is nothing
    assert counts.outcomes == {
        ("models", "pull", "answered"): 1,
        ("models", "push", "answered"): 1,
        ("models", "pull", "refused"): 1,
        ("models", "pull", "failed"): 1,
        ("api", "predict", "failed"): 1,
        ("api", "predict", "refused"): 1,
        ("api", "predict", "stopped"): 1,
    }
    assert counts.durations_s["models", "pull"].cumulated[-1] == 3
    levels = [record.levelname for record in caplog.records]
    assert levels == ["INFO", "DEBUG", "INFO", "ERROR", "ERROR", "INFO", "INFO"]
    assert "Ada" not in str([record.fields for record in caplog.records])


def test_a_refusal_names_its_line_of_code() -> None:
    counts = Activity()
    with pytest.raises(UsageError), counts.request("live", "push") as request:
        Live(SimpleNamespace(activity=counts)).on_push({}, None)  # type: ignore[arg-type]
    assert re.fullmatch(r"serdemo/ui/shell/rpc.py:\d+", request.raised_at)


def test_functions_are_named_by_their_package(page: Page) -> None:
    assert activity.names(Live.on_push) == ("live", "push")
    assert activity.names(Page.foot) == ("page", "foot")
    tabs = {activity.names(one.fn)[0] for one in page.fns.values()}
    assert tabs == {"recognise", "finetune", "adapt", "models", "api", "page"}
    assert activity.names(None) == ("page", "other")


# Health


def health(page: Page) -> tuple[int, dict[str, Any]]:
    page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    try:
        with TestClient(page.app) as client:
            response = client.get("/healthz")
            assert response.headers["cache-control"] == "no-store"
            return response.status_code, response.json()
    finally:
        page.close()


def test_health_follows_the_model(predictor: Predictor) -> None:
    found: list[Any] = [SerdemoError("There is no checkpoint /home/ada/voice."), predictor]

    def factory() -> Predictor:
        if isinstance(problem := found.pop(0), Exception):
            raise problem
        return problem

    with Page(model := WarmPredictor(factory)) as page:
        gr.HTML()
    code, state = health(page)
    assert (code, state["status"], state["model_loaded"]) == (503, "starting", False)
    assert state["version"] == __version__ and 0 <= state["uptime_s"] < 600
    with pytest.raises(SerdemoError):
        model.get()
    code, state = health(page)
    assert (code, state["status"], state["model_loaded"]) == (503, "failing", False)
    assert "could not be loaded" in state["reason"] and "ada" not in str(state)
    model.get()
    code, state = health(page)
    assert (code, state["status"], state["model_loaded"]) == (200, "ok", True)
    assert set(state) == {"status", "version", "uptime_s", "model_loaded"}


def test_health_fails_where_live_sound_is_no_longer_answered(page: Page) -> None:
    page.model.get()
    service = page.visitors.live_services.of(page.model.get())
    service.open(16_000)
    assert page.visitors.live_works
    service._worker = SimpleNamespace(is_alive=lambda: False, join=lambda: None)  # type: ignore[assignment]
    assert not page.visitors.live_works
