"""A page as its operator runs it: health from the start, metrics, and a log without a visitor's words."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file
from support.app_server import App

from serdemo.ui.shell.examples import EXAMPLES_DIR

pytestmark = pytest.mark.slow
NAME = "voice-of-Ada"


@pytest.fixture(scope="module")
def metrics_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, metrics_port: int) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("operated")
    settings = {"SERDEMO_LOG": "json", "SERDEMO_METRICS_PORT": str(metrics_port)}
    running = App(folder, settings)
    yield running
    running.end()


def get(address: str) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=20) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as problem:
        return problem.code, problem.read().decode()


def test_health_answers_as_soon_as_the_page_is_served(app: App) -> None:
    app.wait()
    states: list[dict[str, Any]] = []
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and (not states or states[-1]["status"] != "ok"):
        code, text = get(f"{app.address}/healthz")
        states.append(json.loads(text))
        assert (code == 200) == (states[-1]["status"] == "ok")
        assert states[-1]["status"] in ("starting", "ok")
        time.sleep(0.1)
    assert states[-1]["model_loaded"]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc, as Linux has it")
def test_a_page_that_nobody_visits_sleeps(app: App) -> None:
    """gradio's queue would look for calls a thousand times a second."""

    def wakes() -> int:
        tasks = Path(f"/proc/{app.process.pid}/task").glob("*/status")
        lines = [line for task in tasks for line in task.read_text().splitlines()]
        return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary"))

    before, began = wakes(), time.monotonic()
    time.sleep(3)
    assert (wakes() - before) / (time.monotonic() - began) < 400


def test_metrics_and_log_count_the_calls_and_name_nobody(
    app: App, metrics_port: int, tmp_path: Path
) -> None:
    good, bad = tmp_path / f"{NAME}.flac", tmp_path / f"{NAME}.wav"
    good.write_bytes((EXAMPLES_DIR / "polish-even.flac").read_bytes())
    bad.write_bytes(b"no sound")
    client = Client(app.address, verbose=False)
    entries = client.predict(files=[handle_file(good), handle_file(bad)], api_name="/predict")
    assert entries[0]["label"] and "error" in entries[1]
    with pytest.raises(Exception, match="There is no model"):
        client.predict(files=[handle_file(good)], model=NAME, api_name="/predict")
    assert get(f"{app.address}/{NAME}")[0] == 404
    _, text = get(f"http://127.0.0.1:{metrics_port}/metrics")
    counted = 'serdemo_requests_total{call="predict",outcome="%s",tab="api"} 1.0'
    assert counted % "answered" in text and counted % "refused" in text
    lines = [json.loads(line) for line in app.log.read_text().splitlines()]
    assert {"time", "level", "logger", "event"} <= set.intersection(*map(set, lines))
    assert [line["outcome"] for line in lines if line.get("call") == "predict"] == [
        "answered",
        "refused",
    ]
    served = app.log.read_text() + text
    assert NAME not in served and "session_hash" not in served
